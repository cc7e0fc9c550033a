"""Buckets: their properties, and what the cluster remembers of each.

The properties have AIStore's JSON shape (ais-native-api.md §4.2): every key is always present, in the
order of a recorded answer, and 64-bit integers are decimal strings. What has no effect yet is kept and
shown as it was set.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from aisle.errors import BadRequest, Unsupported
from aisle.model.caching import USUAL, CacheProperties
from aisle.model.features import DISABLE_COLD_GET, FSYNC_PUT, S3_PRESIGNED, feature_mistakes
from aisle.model.names import SCHEMES, Bucket, parse_bucket
from aisle.model.quantities import BITS_MAX, Bits, bits, size_bytes
from aisle.model.sections import (
    CHECKSUM_TYPES,
    ChecksumProperties,
    Chunks,
    ErasureCoding,
    Lru,
    Mirror,
    RateLimit,
    Versioning,
    WritePolicy,
)
from aisle.model.trees import Tree, normalized, overlaid

__all__ = ["CHECKSUM_TYPES", "BucketDocument", "BucketInfo", "BucketProperties", "BucketShape", "BucketState"]

ALL_ACCESS: Final = str(BITS_MAX)
"""Every right on a bucket: the default."""

_AZURE_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_ADDRESS: Final = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
_PART_BYTES_MIN: Final = 5 * 1024**2
_PART_BYTES_MAX: Final = 5 * 1024**3


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

    def bucket(self) -> Bucket:
        """The bucket. Raises InvalidName, InvalidProvider."""
        space = self.namespace
        namespace = (space.uuid and f"@{space.uuid.removeprefix('@')}") + (space.name and f"#{space.name}")
        return parse_bucket(self.name, self.provider, namespace)


class AwsProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach an S3 bucket; empty members are not shown."""

    cloud_region: str = ""
    endpoint: str = ""
    profile: str = ""
    max_pagesize: Annotated[int, Meta(ge=0, le=10_000)] = 0
    multipart_size: str | int = ""
    virtual_hosts: bool = False
    """The endpoint knows buckets by their hosts too, so that requests signed so may be passed on to it."""

    def mistakes(self) -> Iterator[str]:
        """A part size that S3 would refuse; -1 and 0 stand for never and for the usual one."""
        text = str(self.multipart_size)
        size = -1 if text.strip() == "-1" else size_bytes(text or "0")
        if size is None or not (size in (-1, 0) or _PART_BYTES_MIN <= size <= _PART_BYTES_MAX):
            yield f'extra.aws.multipart_size: "{text}" is not -1, 0, or between 5MiB and 5GiB'
        if self.cloud_region and not _REGION.fullmatch(self.cloud_region):
            # It becomes a part of host names.
            yield f'extra.aws.cloud_region: "{self.cloud_region[:80]}" is no name of a region'
        if self.endpoint and not _ADDRESS.fullmatch(self.endpoint):
            # It is not shown: it may hold what must not be.
            yield "extra.aws.endpoint: expected http(s)://HOST[:PORT][/PATH], without a user or a query"


class GcpProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach a Google bucket; empty members are not shown."""

    application_creds: Annotated[str, Meta(max_length=4096)] = ""
    """Path of the file with the credentials, on the machine of the node."""

    def mistakes(self) -> Iterator[str]:
        """What is no plain path from the root on (as in AIStore)."""
        path = self.application_creds
        if path and (path[0] != "/" or not {"", ".", ".."}.isdisjoint(path[1:].split("/"))):
            yield f'extra.gcp.application_creds: "{path[:200]}" is not an absolute path without "." and ".."'


class AzureProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach a container of Azure; empty members are not shown."""

    account: Annotated[str, Meta(max_length=24)] = ""
    """The storage account, where it is not the node's usual one."""
    endpoint: Annotated[str, Meta(max_length=2048)] = ""
    """URL of its Blob service."""

    def mistakes(self) -> Iterator[str]:
        """What names no account, addresses that lead nowhere or hold secrets."""
        if self.account and not _AZURE_ACCOUNT.fullmatch(self.account):
            yield f'extra.azure.account: "{self.account}" is not 3 to 24 lower-case letters and digits'
        if self.endpoint and not _ADDRESS.fullmatch(self.endpoint):
            # It is not shown: it may hold what must not be.
            yield "extra.azure.endpoint: it is not like https://HOST[:PORT][/PATH], without password or token"


class OciProperties(Struct, frozen=True, omit_defaults=True):
    """How to reach an Oracle bucket; empty members are not shown."""

    region: Annotated[str, Meta(max_length=64)] = ""
    endpoint: Annotated[str, Meta(max_length=2048)] = ""
    """URL of the service; `{region}` in it stands for the region."""
    profile: Annotated[str, Meta(max_length=256)] = ""
    """The profile of the configuration file whose key is used."""

    def mistakes(self) -> Iterator[str]:
        """Regions that would lead to other places, addresses that lead nowhere."""
        if self.region and not _REGION.fullmatch(self.region):
            yield f'extra.oci.region: "{self.region}" is no region such as us-ashburn-1'
        if self.endpoint and not _ADDRESS.fullmatch(self.endpoint):
            yield f'extra.oci.endpoint: "{self.endpoint[:200]}" is not http://HOST or https://HOST'


class HttpProperties(Struct, frozen=True, omit_defaults=True):
    """Where a dataset on a web server is; empty members are not shown."""

    original_url: Annotated[str, Meta(max_length=2048)] = ""
    """URL of its folder."""
    manifest: Annotated[str, Meta(max_length=2048)] = ""
    """URL of the list of its files, perhaps relative to the folder; empty where its pages list them."""

    def mistakes(self) -> Iterator[str]:
        """Addresses that lead to no folder, or hold what must not be shown."""
        url = self.original_url
        authority = url.partition("://")[2].partition("/")[0]
        if url and (not url.lower().startswith(("http://", "https://")) or not authority):
            yield f'extra.http.original_url: "{url[:200]}" begins with neither http:// nor https://'
        elif "@" in authority or "?" in url or "#" in url:
            yield "extra.http.original_url: neither a password nor a query can be kept in it"
        if "@" in self.manifest.partition("://")[2].partition("/")[0]:
            yield "extra.http.manifest: no password can be kept in it"


class Extra(Struct, frozen=True):
    """What only one provider knows."""

    aws: AwsProperties = AwsProperties()
    gcp: GcpProperties = GcpProperties()
    oci: OciProperties = OciProperties()
    custom: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    http: HttpProperties | UnsetType = UNSET
    """Not shown where there is none, as AIStore has it no more."""
    azure: AzureProperties | UnsetType = UNSET
    """Not shown where there is none, as AIStore has no such properties."""


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
    access: Bits = ALL_ACCESS
    features: Bits = "0"
    bid: str = "0"
    created: str = "0"
    versioning: Versioning = Versioning()
    cache: CacheProperties | UnsetType = UNSET
    """Not shown where all is as usual, as AIStore has no such properties."""

    @property
    def caching(self) -> CacheProperties:
        """How objects of its source are kept here."""
        return self.cache or USUAL

    def mistakes(self) -> Iterator[str]:
        """Flags that a bucket cannot have."""
        yield from feature_mistakes(bits(self.features) or 0, of_bucket=True)


READ_ONLY: Final = frozenset({"provider", "Renamed", "bid", "created"})
"""Properties that nobody sets."""
OUTWARD: Final = frozenset({"extra", "backend_bck"})
"""Properties that say which remote bucket stands behind one, and how the node reaches it."""


class BucketState(Enum):
    """Where a bucket is in its life."""

    OPEN = "open"
    MOVING = "moving"
    """Still here, and about to be found under another name only."""
    CLOSING = "closing"
    """Still here, and gone as soon as storage has found it empty."""
    DESTROYING = "destroying"


class BucketDocument(Struct, frozen=True):
    """What the metadata store keeps of a bucket, under `bucket/<uname>`."""

    number: int
    created_ns: int
    properties: BucketProperties
    state: BucketState = BucketState.OPEN
    owner: str = ""
    """Id of the user whose bucket it is; empty for root's."""
    acl: str = "private"
    """Canned ACL of S3: what others than the owner may do."""
    queue: int = 0
    """Number in storage of the changes that its source does not have yet; 0 if there never were any."""


class BucketInfo(Struct, frozen=True, gc=False):
    """A bucket that exists: its identity, its number in storage, its properties, and whose it is."""

    bucket: Bucket
    number: int
    properties: BucketProperties
    owner: str = ""
    acl: str = "private"
    created_ns: int = 0
    queue: int = 0
    """See BucketDocument."""
    remote: Bucket | None = None
    """The remote bucket that stands behind it: itself, or what `backend_bck` names; None for others."""

    def __post_init__(self) -> None:
        # Asked with every request, found out once.
        backend = self.properties.backend_bck
        if self.bucket.is_remote:
            msgspec.structs.force_setattr(self, "remote", self.bucket)
        elif backend.name:
            msgspec.structs.force_setattr(self, "remote", backend.bucket())

    @property
    def passes_signed(self) -> bool:
        """Whether requests that are signed for its source are passed on to it (`S3-Presigned-Request`)."""
        remote, features = self.remote, self.properties.features
        if remote is None or features == "0" or remote.provider != "aws" or remote.namespace.startswith("@"):
            return False
        return bool((bits(features) or 0) & S3_PRESIGNED)

    @property
    def delays_writes(self) -> bool:
        """Whether writes are acknowledged before its source has them."""
        return self.remote is not None and self.properties.write_policy.backend == "delayed"

    @property
    def payload_sync(self) -> str:
        """When payload files must be on disk, as StorageEngine.draft takes it.

        What the bucket asks for beside the default holds, whatever the node is set to; the feature
        Fsync-PUT asks for it at once.
        """
        properties = self.properties
        if properties.features != "0" and (bits(properties.features) or 0) & FSYNC_PUT:
            return "immediate"
        if self.delays_writes:
            return "immediate"  # it is all that there is of the object for a while
        policy = properties.write_policy.data
        return policy if policy != "immediate" else ""


encode_properties = msgspec.json.Encoder().encode
encode_document = msgspec.json.Encoder().encode
decode_document = msgspec.json.Decoder(BucketDocument).decode


def changed(properties: BucketProperties, changes: Tree) -> BucketProperties:
    """The properties with a partial tree of changes applied; absent and null members stay.

    Raises BadRequest for an unknown or read-only member or a value that cannot be, and Unsupported
    for a property that would promise more than is built.
    """
    asked = {name: value for name, value in changes.items() if str(name).lower() != "force"}
    asked = normalized(asked, BucketProperties)
    if wrong := READ_ONLY & asked.keys():
        raise BadRequest(f"property {min(wrong)} cannot be set")
    result = overlaid(properties, asked)
    check_built(result.mirror, result.ec, result.rate_limit, features=result.features)
    _check_backend(result)
    return result


def reaches_out(properties: BucketProperties, changes: Tree) -> bool:
    """Whether changes alter where the node goes for the bucket, and with which of its own credentials.

    Raises BadRequest as `changed` does.
    """
    asked = {name: value for name, value in changes.items() if str(name).lower() in OUTWARD}
    after = overlaid(properties, normalized(asked, BucketProperties))
    return (after.extra, after.backend_bck) != (properties.extra, properties.backend_bck)


def check_built(mirror: Mirror, ec: ErasureCoding, rates: RateLimit, *, features: str) -> None:
    """Raise Unsupported for protection that would be promised and not given."""
    for name, section in (("mirror", mirror), ("ec", ec)):
        if section.enabled:
            raise Unsupported(f"{name}.enabled: this version keeps a single copy of each object")
    for name, is_limited in (("backend", rates.backend.enabled), ("frontend", rates.frontend.enabled)):
        if is_limited:
            raise Unsupported(f"rate_limit.{name}.enabled: this version limits no rates of requests")
    if (bits(features) or 0) & DISABLE_COLD_GET:
        raise Unsupported(
            "features: Disable-Cold-GET is not built: reading a remote bucket fetches what is not here"
        )


def _check_backend(properties: BucketProperties) -> None:
    backend = properties.backend_bck
    if not (backend.name or backend.provider):
        return
    if properties.provider != "ais":
        raise BadRequest("backend_bck: only a bucket of the cluster's own can have a backend")
    if not backend.name or backend.provider not in (*SCHEMES, *SCHEMES.values()):
        raise BadRequest(f'backend_bck: "{backend.provider}://{backend.name}" is not a remote bucket')
    if not backend.bucket().is_remote:
        raise BadRequest(f'backend_bck: "{backend.provider}://{backend.name}" is not a remote bucket')
