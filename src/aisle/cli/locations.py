"""Where things are, as users write it: `ais://bucket/name`, or `bucket/name`.

All that follows the bucket and one slash is the object's name, byte for byte: `ais://b//x` names the
object `/x`, `ais://b/dir/` the object `dir/`, and nothing is percent-decoded.
"""

import os
import re
from typing import NamedTuple

from aisle.errors import BadRequest
from aisle.model.names import SCHEMES, Bucket, parse_bucket, parse_object_key, parse_provider

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]*):(?://)?")


class Location(NamedTuple):
    """A bucket, and the text behind it: an object's name, a prefix, or nothing."""

    bucket: Bucket
    path: str

    @property
    def key(self) -> bytes:
        """The object's name as bytes. Raises InvalidName if it cannot be one."""
        return parse_object_key(encoded(self.path))


def encoded(text: str) -> bytes:
    """The bytes that the user typed, whatever the terminal's encoding made of them."""
    return os.fsencode(text)


def parse_location(text: str) -> Location:
    """A bucket and what follows it. Raises InvalidName, BadRequest."""
    provider, rest = "ais", text
    if "://" in text:
        scheme, _, rest = text.partition("://")
        provider = parse_provider(scheme)
    namespace = ""
    if rest[:1] in ("@", "#"):
        namespace, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    return Location(parse_bucket(name, provider, namespace), path)


def parse_bucket_location(text: str) -> Bucket:
    """A bucket and nothing behind it. Raises InvalidName, BadRequest."""
    bucket, path = parse_location(text)
    if path:
        raise BadRequest(f'"{text}" names an object; the bucket is {bucket.cname}')
    return bucket


def parse_provider_only(text: str) -> str | None:
    """The provider of `ais:`, `s3://` and the like; None if a bucket is named.

    Raises BadRequest for an unknown one.
    """
    match = _SCHEME.fullmatch(text)
    return parse_provider(match[1]) if match else None


def object_uri(bucket: Bucket, name: str) -> str:
    """An object as users write it."""
    return f"{bucket.cname}/{name}"


def schemes() -> list[str]:
    """The schemes that name a bucket."""
    return [f"{scheme}://" for scheme in SCHEMES.values()]
