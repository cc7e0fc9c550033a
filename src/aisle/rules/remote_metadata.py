"""What an object that came from a remote bucket remembers of its source, in AIStore's names.

`source` is the provider, `ETag`, `version`, `md5`, `crc32c`, `LastModified`, `Last-Modified` what the
source told, user metadata stands under the provider's own prefix (ais-downloader-backends-s3.md §3.4).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Final, Protocol

from aisle.model.record import CUSTOM_BYTES_MAX, Attributes
from aisle.model.unwritten import is_unwritten

_USER_PREFIXES: Final = {
    "aws": "X-Amz-Meta-",
    "gcp": "X-Goog-Meta-",
    "azure": "X-Ms-Meta-",
    "oci": "Opc-Meta-",
}
_CHEAPEST: Final = (
    "xxhash2",
    "xxhash",
    "xxh3",
    "crc32c",
    "crc64nvme",
    "crc32",
    "md5",
    "sha1",
    "sha256",
    "sha512",
)
"""Digests that can be computed here, those first that cost least."""
_NATIVE: Final = frozenset({"xxhash", "xxhash2", "md5", "crc32c", "sha256", "sha512"})
_OF_SOURCES: Final = frozenset(
    {"source", "ETag", "version", "md5", "crc32c", "LastModified", "Last-Modified"}
    | {"orig_url", "orig_size", "Content-Length", "sha1", "sha256", "sha512"}
)
"""Custom metadata that tells where an object came from, and is not for its next place."""


CARRIED: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
"""Header fields that belong to an object and go with it from and to its source."""


class Told(Protocol):
    """What a source tells about an object."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def version(self) -> str:
        """The source's version, or empty."""

    @property
    def etag(self) -> str:
        """The entity tag without quotes, or empty."""

    @property
    def modified_ns(self) -> int:
        """Unix nanoseconds, 0 when not told."""

    @property
    def digests(self) -> Mapping[str, str]:
        """Lower-case hex by kind."""

    @property
    def custom(self) -> Mapping[str, str]:
        """User metadata."""

    @property
    def content_type(self) -> str:
        """The media type, or empty."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Those of `CARRIED` that the object has."""


def cheapest_digest(digests: Mapping[str, str]) -> str:
    """The kind of digest that is checked while an object comes in; empty if its source names none."""
    if not digests:
        return ""
    return next((kind for kind in _CHEAPEST if digests.get(kind)), "")


def digests_to_compute(told: Told, own: str) -> Sequence[str]:
    """What to compute of an object on its way in: the cheapest that its source names, else the own one."""
    kind = cheapest_digest(told.digests)
    if kind:
        return (kind,)
    return () if own in ("", "none") else (own,)


def attributes_of(told: Told, provider: str, computed: Mapping[str, str]) -> Attributes:
    """What is kept of an object with these digests, as computed on its way in."""
    known = {**computed, **{kind: value for kind, value in told.digests.items() if kind in _CHEAPEST}}
    if "md5" in told.digests:
        kept = "md5"  # as AIStore: clients compare it with the entity tag
    else:
        kept = next((kind for kind in _CHEAPEST if kind in _NATIVE and kind in told.digests), "")
        kept = kept or next((kind for kind in computed if kind in _NATIVE), "")
    return Attributes(
        checksum_type=kept,
        checksum_value=known.get(kept, ""),
        content_type=told.content_type,
        custom=custom_of(told, provider),
        user=dict(told.custom) if provider in _USER_PREFIXES else {},
        digests={kind: value for kind, value in known.items() if kind in told.digests},
        version=told.version,
        fields=dict(told.fields),
        etag="" if told.etag == told.digests.get("md5") else told.etag,
    )


def custom_of(told: Told, provider: str) -> dict[str, str]:
    """The custom metadata of an object of that provider."""
    prefix = _USER_PREFIXES.get(provider, "")
    custom = {
        f"{prefix}{_capitalized(name) if prefix else name}": value for name, value in told.custom.items()
    }
    custom["source"] = provider
    if told.etag:
        custom["ETag"] = told.etag
    if told.version:
        custom["version"] = told.version
    custom |= {kind: told.digests[kind] for kind in ("md5", "crc32c") if kind in told.digests}
    if told.modified_ns:
        custom["LastModified"], custom["Last-Modified"] = _dates(told.modified_ns // 1_000_000_000)
    return custom


@lru_cache(maxsize=1024)
def _dates(seconds: int) -> tuple[str, str]:
    """A time as RFC 3339 and as HTTP write it."""
    written = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return written, formatdate(seconds, usegmt=True)


def copied_custom(told: Told, provider: str) -> dict[str, str]:
    """The custom metadata of a copy in an own bucket: what the source told, then of the rest what fits."""
    every = custom_of(told, provider)
    kept: dict[str, str] = {}
    left = CUSTOM_BYTES_MAX
    for name in sorted(every, key=lambda name: name not in _OF_SOURCES):
        value = every[name]
        left -= len(name.encode()) + len(value.encode())
        if left < 0:
            break
        if name and name.isprintable() and value.isprintable():
            kept[name] = value
    return kept


def user_metadata(known: Told | Attributes) -> dict[str, str]:
    """What somebody has attached to an object, without what tells where it came from."""
    attached = known.user or known.custom if isinstance(known, Attributes) else known.custom
    return {name: value for name, value in attached.items() if name not in _OF_SOURCES}


def carried(fields: Mapping[str, str]) -> dict[str, str]:
    """Those of an object's header fields that go with it to another place."""
    return {name: fields[name] for name in CARRIED if fields.get(name)}


def known_digests(attributes: Attributes) -> dict[str, str]:
    """The digests of an object that is here, by kind."""
    own = {attributes.checksum_type: attributes.checksum_value} if attributes.checksum_value else {}
    return {**attributes.digests, **own}


def agree(some: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether digests of two objects show that their bytes are the same."""
    common = some.keys() & others.keys()
    return bool(common) and all(some[kind].lower() == others[kind].lower() for kind in common)


def is_same(attributes: Attributes, size: int, told: Told) -> bool:
    """Whether what is kept is what the source has now, or newer: nothing that both know may differ."""
    if is_unwritten(attributes):
        return True
    if told.size >= 0 and told.size != size:
        return False
    custom = attributes.custom
    compared = False
    # Where a listing tells no version, the entity tag stands for it.
    version = told.version if told.version != told.etag else ""
    for name, value in (("version", version), ("ETag", told.etag)):
        if value and custom.get(name):
            if custom[name] != value:
                return False
            compared = True
    for kind, value in told.digests.items():
        known = (
            attributes.checksum_value if kind == attributes.checksum_type else attributes.digests.get(kind)
        )
        if known:
            if known != value:
                return False
            compared = True
    return compared


def _capitalized(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
