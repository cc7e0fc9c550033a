"""Feature flags: bits of a cluster's and a bucket's `features`, by name (ais-native-api.md §8.6).

Few mean something here; the others are kept and shown, so that scripts written for AIStore go on.
"""

from typing import Final, NamedTuple

from aisle.errors import BadRequest


class Feature(NamedTuple):
    """One flag; its bit is its place in the table."""

    name: str
    tags: str
    description: str
    of_buckets: bool = False
    """Whether a bucket can have it too."""


FEATURES: Final = (
    Feature("Enforce-IntraCluster-Access", "security", "nodes answer each other only when they sign"),
    Feature("Skip-Loading-VersionChecksum-MD", "perf", "writes look at no earlier metadata", True),
    Feature("Do-not-Auto-Detect-FileShare", "promote", "promote takes no folder for a shared one"),
    Feature("S3-API-via-Root", "s3", "serve S3 at / too; always so here"),
    Feature("Fsync-PUT", "integrity", "sync each payload file, whatever write_policy says", True),
    Feature("LZ4-Block-1MB", "lz4", "blocks of 1 MiB in tar.lz4"),
    Feature("LZ4-Frame-Checksum", "lz4", "checksums of frames in tar.lz4"),
    Feature("Do-not-Allow-Passing-FQN-to-ETL", "etl,security", "transformers are not given paths of files"),
    Feature("Ignore-LimitedCoexistence-Conflicts", "jobs", "run jobs that would exclude each other"),
    Feature("S3-Presigned-Request", "s3,security", "pass signed requests on to S3", True),
    Feature("Do-not-Optimize-Listing-Virtual-Dirs", "list", "look at every name below a folder-like prefix"),
    Feature("Disable-Cold-GET", "perf", "never fetch from a remote bucket to answer a GET", True),
    Feature("Streaming-Cold-GET", "perf", "answer a cold GET while it is fetched", True),
    Feature("S3-Reverse-Proxy", "s3,net", "relay S3 requests between nodes; always so here"),
    Feature("S3-Use-Path-Style", "s3", "address S3 backends by path", True),
    Feature("Do-not-Delete-When-Rebalancing", "rebalance", "keep misplaced objects after rebalancing"),
    Feature("Do-not-Set-Control-Plane-ToS", "net", "leave the nodes' own traffic at normal priority"),
    Feature("Trust-Crypto-Safe-Checksums", "integrity", "take only strong checksums for proof of sameness"),
    Feature("S3-ListObjectVersions", "s3", "list S3 backends by their versions", True),
    Feature("Enable-Detailed-Prom-Metrics", "telemetry", "metrics of each bucket and job"),
    Feature("Force-Container-CPU-Mem", "", "reserved"),
    Feature("Resume-Interrupted-MPU", "mpu", "go on with interrupted multipart uploads", True),
    Feature("Keep-Unknown-FQN", "integrity", "cleanup leaves unknown files alone"),
    Feature("Load-Balance-GET", "perf", "read mirrored objects from the least busy disk"),
    Feature("Count-Object-NotFound-Stats", "telemetry", "count a GET of a missing object as an error", True),
    Feature("Enable-Go-Runtime-Metrics", "telemetry", "metrics of Go's runtime"),
    Feature("Dload-Allow-Private-Egress", "security", "downloads may reach private addresses"),
    Feature("S3-Redirect-Rebuild", "s3", "for clients that rebuild redirected requests"),
)

BUCKET_BITS: Final = sum(1 << bit for bit, feature in enumerate(FEATURES) if feature.of_buckets)
"""The flags that a bucket can have."""
ALL_BITS: Final = (1 << len(FEATURES)) - 1

_BITS: Final = {feature.name.lower(): 1 << bit for bit, feature in enumerate(FEATURES)}
_EXCLUSIVE: Final = (("Disable-Cold-GET", "Streaming-Cold-GET"), ("S3-Reverse-Proxy", "S3-Redirect-Rebuild"))

DISABLE_COLD_GET: Final = _BITS["disable-cold-get"]
FSYNC_PUT: Final = _BITS["fsync-put"]
S3_PRESIGNED: Final = _BITS["s3-presigned-request"]


def feature_names(flags: int) -> list[str]:
    """The names of the flags that are set, in the order of their bits."""
    return [feature.name for bit, feature in enumerate(FEATURES) if flags & (1 << bit)]


def feature_bits(text: str) -> int:
    """The flags of names separated by commas or blanks; `none` and `0` are no flags.

    A decimal number is taken as it is. Raises BadRequest for a name that there is not.
    """
    names = text.replace(",", " ").split()
    flags = 0
    for name in names:
        if name.isascii() and name.isdecimal():
            flags |= int(name)
        elif name.lower() != "none":
            bit = _BITS.get(name.lower())
            if bit is None:
                raise BadRequest(f'there is no feature "{name}"')
            flags |= bit
    return flags


def feature_mistakes(flags: int, *, of_bucket: bool) -> list[str]:
    """What is wrong with a set of flags, in words for users."""
    found = []
    allowed = BUCKET_BITS if of_bucket else ALL_BITS
    if beyond := flags & ~allowed:
        names = feature_names(beyond) or [str(beyond)]
        found.append(
            f"features: {', '.join(names)} {'cannot be set for one bucket' if of_bucket else 'is not known'}"
        )
    for one, other in _EXCLUSIVE:
        if all(flags & _BITS[name.lower()] for name in (one, other)):
            found.append(f"features: {one} and {other} exclude each other")
    return found
