"""Names: buckets and objects, as users write them, as the wire carries them, as storage keys them.

A bucket is (provider, namespace, name). Its *uname* is the wire form that placement hashes
(`ais/@#/data/`), its *cname* the display form in messages (`ais://data`). An object name is
byte-exact UTF-8, 1 to 1,024 bytes: `a`, `a/b`, `a//b` and `dir/` are four different objects.
Storage knows buckets by number only, so that a bucket destroyed and created again under its old
name never shows old objects.
"""

import re
from typing import NamedTuple

from aisle.errors import InvalidName, InvalidProvider

OBJECT_NAME_BYTES_MAX = 1024
BUCKET_NAME_CHARS_MAX = 64

# Canonical provider -> scheme shown in messages (ais-native-api.md §4.1).
SCHEMES = {"ais": "ais", "aws": "s3", "gcp": "gs", "azure": "az", "oci": "oc", "ht": "ht"}
_ALIASES = {"s3": "aws", "gs": "gcp", "az": "azure", "oc": "oci"} | {name: name for name in SCHEMES}
_BUCKET_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_NAMESPACE = re.compile(r"(@[A-Za-z0-9_\-]*)?(#[A-Za-z0-9_\-]*)?")


class Bucket(NamedTuple):
    """A bucket's identity. `namespace` is in string form: empty, `#name`, `@uuid` or `@uuid#name`."""

    name: str
    provider: str = "ais"
    namespace: str = ""

    @property
    def uname(self) -> str:
        """The wire form, with a trailing slash: `ais/@#/data/`."""
        uuid, _, name = self.namespace.removeprefix("@").partition("#")
        return f"{self.provider}/@{uuid}#{name}/{self.name}/"

    @property
    def is_remote(self) -> bool:
        """Whether its bytes are elsewhere: at another provider, or in another cluster."""
        return self.provider != "ais" or self.namespace.startswith("@")

    @property
    def cname(self) -> str:
        """The display form: `ais://data`, `ais://@uuid#ns/data`, `s3://data`."""
        space = f"{self.namespace}/" if self.namespace else ""
        return f"{SCHEMES[self.provider]}://{space}{self.name}"


class ObjectName(NamedTuple):
    """What storage keys an object by: the bucket's number and the name's exact bytes."""

    bucket: int
    key: bytes


def parse_provider(text: str) -> str:
    """The canonical provider for a name or alias; empty means `ais`.

    Raises InvalidProvider for an unknown one.
    """
    provider = _ALIASES.get(text or "ais")
    if provider is None:
        raise InvalidProvider(text)
    return provider


def parse_bucket(name: str, provider: str = "", namespace: str = "") -> Bucket:
    """A checked bucket identity from the wire's three parts.

    Raises InvalidName for a name of other characters than letters, digits, `-`, `_`, `.` or with
    `..`, and InvalidProvider for an unknown provider.
    """
    if not _BUCKET_NAME.fullmatch(name) or ".." in name or not name.strip("."):
        raise InvalidName(
            f'bucket name "{name[:80]}" is invalid: may only contain letters, numbers, dashes (-), '
            f"underscores (_), and dots (.), 1 to {BUCKET_NAME_CHARS_MAX} of them"
        )
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidName(f'namespace "{namespace[:80]}" is invalid: expected @uuid#name')
    namespace = own_namespace(namespace)
    return Bucket(name, parse_provider(provider), "" if namespace in ("#", "@") else namespace)


def own_namespace(text: str) -> str:
    """A namespace in string form, without the `@` of an empty uuid.

    AIStore's clients write `@#name` for the namespace `#name` of this cluster (ais-native-api.md §4.1).
    """
    return text[1:] if text.startswith("@#") else text


def parse_object_key(raw: bytes) -> bytes:
    """The object name's bytes, checked.

    Raises InvalidName if it is empty, longer than 1,024 bytes, or not UTF-8.
    """
    if not raw:
        raise InvalidName("object name is empty")
    if len(raw) > OBJECT_NAME_BYTES_MAX:
        raise InvalidName(f"object name has {len(raw)} bytes, at most {OBJECT_NAME_BYTES_MAX} are allowed")
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidName("object name is not valid UTF-8") from error
    return raw


def display(bucket: Bucket, key: bytes) -> str:
    """An object's display name: `ais://data/a/b`."""
    return f"{bucket.cname}/{key.decode('utf-8', 'backslashreplace')}"
