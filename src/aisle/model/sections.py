"""Sections that a bucket's properties and the cluster's configuration share (ais-native-api.md §4.2, §8.6).

A new bucket takes them over from the configuration. Their members stand in AIStore's order.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from aisle.model.quantities import Duration, Size, size_bytes

CHECKSUM_TYPES: Final = ("crc32c", "md5", "sha256", "sha512", "xxhash", "xxhash2", "none")

Counter32 = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Slices = Annotated[int, Meta(ge=1, le=32)]
Policy = Literal["immediate", "delayed", "never"]
BackendPolicy = Literal["immediate", "delayed"]
Compression = Literal["never", "always"]

_GIB: Final = 1024**3


class WritePolicy(Struct, frozen=True):
    """When payload files and records must be on disk, and writes of remote buckets at their source.

    Records always are on disk before a write is acknowledged, which is more than `md` can ask for.
    """

    data: Policy = "immediate"
    md: Policy = "immediate"
    backend: BackendPolicy | UnsetType = UNSET
    """Not shown where nobody has set it, as AIStore has no such policy: then it is `immediate`."""


class ChecksumProperties(Struct, frozen=True):
    """Which checksum a bucket's objects carry, and when it is checked."""

    type: str = "xxhash2"
    validate_cold_get: bool = False
    validate_warm_get: bool = False
    validate_obj_move: bool = False
    enable_read_range: bool = False

    def mistakes(self) -> Iterator[str]:
        """A type that there is not (the text is AIStore's)."""
        if self.type not in CHECKSUM_TYPES:
            yield f'invalid checksum type "{self.type}" (expecting [{" ".join(CHECKSUM_TYPES)}])'


class BackendRateLimit(Struct, frozen=True):
    """How fast this cluster may ask a backend."""

    interval: Duration = "1m"
    max_tokens: Counter32 = 1000
    enabled: bool = False
    num_retries: Counter32 = 3
    per_op_max_tokens: str | UnsetType = UNSET


class FrontendRateLimit(Struct, frozen=True):
    """How fast clients may ask this cluster."""

    interval: Duration = "1m"
    max_tokens: Counter32 = 1000
    enabled: bool = False
    burst_size: Counter32 = 375
    per_op_max_tokens: str | UnsetType = UNSET


class RateLimit(Struct, frozen=True):
    """Both rate limits."""

    backend: BackendRateLimit = BackendRateLimit()
    frontend: FrontendRateLimit = FrontendRateLimit()


class ErasureCoding(Struct, frozen=True):
    """How objects are spread over targets."""

    compression: Compression = "never"
    bundle_multiplier: Counter32 = 2
    burst_buffer: Counter32 = 512
    objsize_limit: Annotated[int, Meta(ge=-1)] = 262_144
    data_slices: Slices = 2
    parity_slices: Slices = 2
    enabled: bool = False
    disk_only: bool = False


class Chunks(Struct, frozen=True):
    """When an object is kept in chunks; sizes are IEC strings."""

    objsize_limit: Size = "0B"
    max_monolithic_size: Size = "1TiB"
    chunk_size: Size = "1GiB"
    checkpoint_every: Counter32 | UnsetType = UNSET
    flags: Counter32 | UnsetType = UNSET

    def mistakes(self) -> Iterator[str]:
        """Sizes beyond their bounds."""
        for name, least, most in (
            ("max_monolithic_size", _GIB, 1024 * _GIB),
            ("chunk_size", 1024, 5 * _GIB),
        ):
            text = getattr(self, name)
            size = size_bytes(text)
            if size is not None and not least <= size <= most:
                yield f'chunks.{name}: "{text}" is not between {_iec(least)} and {_iec(most)}'


class Mirror(Struct, frozen=True):
    """How many copies of an object a target keeps."""

    copies: Slices = 2
    burst_buffer: Counter32 = 512
    enabled: bool = False


class Lru(Struct, frozen=True):
    """When objects may be evicted."""

    dont_evict_time: Duration = "2h0m"
    capacity_upd_time: Duration = "10m"
    batch_size: Counter32 = 32_768
    enabled: bool = False


class Versioning(Struct, frozen=True):
    """Whether writes of an object are counted in its version."""

    enabled: bool = True
    validate_warm_get: bool = False
    synchronize: bool = False

    def mistakes(self) -> Iterator[str]:
        """What needs versions, without them."""
        for name in ("validate_warm_get", "synchronize"):
            if getattr(self, name) and not self.enabled:
                yield f"versioning.{name} needs versioning.enabled"


def _iec(size: int) -> str:
    for unit, name in ((1024**4, "TiB"), (_GIB, "GiB"), (1024, "KiB")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"
