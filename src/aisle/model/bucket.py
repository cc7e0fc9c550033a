"""Buckets: their properties, and what the cluster remembers of each.

The properties have AIStore's JSON shape (ais-native-api.md §4.2): every key is always present, in the
order of a recorded answer, and 64-bit integers are decimal strings. Most of them have no effect yet;
they are kept and shown as they were set.
"""

from enum import Enum
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from aisle.errors import BadRequest, Unsupported
from aisle.model.names import Bucket

ALL_ACCESS: Final = str(2**64 - 1)
"""Every right on a bucket: the default."""
CHECKSUM_TYPES: Final = ("crc32c", "md5", "sha256", "sha512", "xxhash", "xxhash2", "none")

Counter32 = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Slices = Annotated[int, Meta(ge=1, le=32)]
Policy = Literal["immediate", "delayed", "never"]


class NamespaceShape(Struct, frozen=True):
    """A namespace as JSON shows it; both empty for the global one."""

    uuid: str = ""
    name: str = ""


class BucketShape(Struct, frozen=True):
    """A bucket's identity as JSON shows it."""

    name: str = ""
    provider: str = ""
    namespace: NamespaceShape = NamespaceShape()

    @classmethod
    def of(cls, bucket: Bucket) -> "BucketShape":
        """The shape of a bucket."""
        uuid, _, name = bucket.namespace.removeprefix("@").partition("#")
        return cls(bucket.name, bucket.provider, NamespaceShape(uuid, name))


class WritePolicy(Struct, frozen=True):
    """When payloads and records must be on disk."""

    data: Policy = "immediate"
    md: Policy = "immediate"


class ChecksumProperties(Struct, frozen=True):
    """Which checksum a bucket's objects carry, and when it is checked."""

    type: str = "xxhash2"
    validate_cold_get: bool = False
    validate_warm_get: bool = False
    validate_obj_move: bool = False
    enable_read_range: bool = False

    def __post_init__(self) -> None:
        if self.type not in CHECKSUM_TYPES:
            expected = " ".join(CHECKSUM_TYPES)
            raise BadRequest(f'invalid checksum type "{self.type}" (expecting [{expected}])')


class AwsProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach an S3 bucket; empty members are not shown."""

    cloud_region: str = ""
    endpoint: str = ""
    profile: str = ""
    max_pagesize: Annotated[int, Meta(ge=0, le=10_000)] = 0
    multipart_size: str | int = ""


class GcpProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach a Google bucket; empty members are not shown."""

    application_creds: str = ""


class OciProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach an Oracle bucket; empty members are not shown."""

    region: str = ""


class Extra(Struct, frozen=True):
    """What only one provider knows."""

    aws: AwsProperties = AwsProperties()
    gcp: GcpProperties = GcpProperties()
    oci: OciProperties = OciProperties()
    custom: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET


class BackendRateLimit(Struct, frozen=True):
    """How fast this cluster may ask a backend."""

    interval: str = "1m"
    max_tokens: Counter32 = 1000
    enabled: bool = False
    num_retries: Counter32 = 3
    per_op_max_tokens: str | UnsetType = UNSET


class FrontendRateLimit(Struct, frozen=True):
    """How fast clients may ask this cluster."""

    interval: str = "1m"
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

    compression: str = "never"
    bundle_multiplier: Counter32 = 2
    burst_buffer: Counter32 = 512
    objsize_limit: int = 262_144
    data_slices: Slices = 2
    parity_slices: Slices = 2
    enabled: bool = False
    disk_only: bool = False


class Chunks(Struct, frozen=True):
    """When an object is kept in chunks; sizes are IEC strings."""

    objsize_limit: str = "0B"
    max_monolithic_size: str = "1TiB"
    chunk_size: str = "1GiB"


class Mirror(Struct, frozen=True):
    """How many copies of an object a target keeps."""

    copies: Slices = 2
    burst_buffer: Counter32 = 512
    enabled: bool = False


class Lru(Struct, frozen=True):
    """When objects may be evicted."""

    dont_evict_time: str = "2h0m"
    capacity_upd_time: str = "10m"
    batch_size: Counter32 = 32_768
    enabled: bool = False


class Versioning(Struct, frozen=True):
    """Whether writes of an object are counted in its version."""

    enabled: bool = True
    validate_warm_get: bool = False
    synchronize: bool = False


class BucketProperties(Struct, frozen=True):
    """Everything that `Ais-Bucket-Props` shows, in its order."""

    backend_bck: BucketShape = BucketShape()
    write_policy: WritePolicy = WritePolicy()
    provider: str = "ais"
    renamed: str = field(name="Renamed", default="")
    checksum: ChecksumProperties = ChecksumProperties()
    extra: Extra = Extra()
    rate_limit: RateLimit = RateLimit()
    ec: ErasureCoding = ErasureCoding()
    chunks: Chunks = Chunks()
    mirror: Mirror = Mirror()
    lru: Lru = Lru()
    access: str = ALL_ACCESS
    features: str = "0"
    bid: str = "0"
    created: str = "0"
    versioning: Versioning = Versioning()


READ_ONLY: Final = frozenset({"provider", "Renamed", "bid", "created"})
"""Properties that nobody sets."""


class BucketState(Enum):
    """Where a bucket is in its life."""

    OPEN = "open"
    DESTROYING = "destroying"


class BucketDocument(Struct, frozen=True):
    """What the metadata store keeps of a bucket, under `bucket/<uname>`."""

    number: int
    created_ns: int
    properties: BucketProperties
    state: BucketState = BucketState.OPEN


class BucketInfo(Struct, frozen=True, gc=False):
    """A bucket that exists: its identity, its number in storage, and its properties."""

    bucket: Bucket
    number: int
    properties: BucketProperties


encode_properties = msgspec.json.Encoder().encode
encode_document = msgspec.json.Encoder().encode
decode_document = msgspec.json.Decoder(BucketDocument).decode

_Tree = dict[str, object]
_S = TypeVar("_S", bound=Struct)


def changed(properties: BucketProperties, changes: _Tree) -> BucketProperties:
    """The properties with a partial tree of changes applied; absent and null members stay.

    Raises BadRequest for an unknown or read-only member or a value that cannot be, and Unsupported
    for a property that would promise more protection than is built.
    """
    asked = {name: value for name, value in changes.items() if name != "force"}
    if wrong := READ_ONLY & asked.keys():
        raise BadRequest(f"property {min(wrong)} cannot be set")
    for name in ("access", "features"):
        if isinstance(asked.get(name), int):  # 64 bits, which JSON numbers hold only by luck
            asked[name] = str(asked[name])
    merged = _merged(msgspec.to_builtins(properties), asked, type(properties))
    result = converted(merged, BucketProperties)
    for name, section in (("mirror", result.mirror), ("ec", result.ec)):
        if section.enabled:
            raise Unsupported(f"{name}.enabled: this version keeps a single copy of each object")
    return result


def converted(tree: object, kind: type[_S]) -> _S:
    """Parsed JSON as a struct, decimal strings taken for numbers. Raises BadRequest."""
    try:
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        # What a struct's own check raises arrives wrapped; its text is made for users.
        if isinstance(error.__cause__, BadRequest):
            raise error.__cause__ from None
        raise BadRequest(f"invalid value: {error}") from error


def _merged(base: _Tree, changes: _Tree, kind: type[Struct]) -> _Tree:
    """`base` with `changes` laid over it, member by member."""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    result = dict(base)
    for name, value in changes.items():
        if name not in known:
            raise BadRequest(f"found unknown field: {name}")
        inner = known[name].type
        if value is None:
            continue
        if isinstance(inner, type) and issubclass(inner, Struct):
            if not isinstance(value, dict):
                raise BadRequest(f"{name}: expected an object")
            below = result.get(name)
            result[name] = _merged(below if isinstance(below, dict) else {}, value, inner)
        else:
            result[name] = value
    return result
