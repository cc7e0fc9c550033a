"""The cluster's configuration: AIStore's tree, its defaults and its rules (ais-native-api.md §8.6).

Every member is always present, in AIStore's order. New buckets take over the sections that they share
with it; `features` that a bucket can have go with them. What has no counterpart here is kept and shown
as it was set. What the node alone decides (its addresses, TLS, who may come in) is shown, and refused
here with the place where it is set.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from aisle.errors import BadRequest, Unsupported
from aisle.model.bucket import BucketProperties
from aisle.model.features import BUCKET_BITS, feature_mistakes
from aisle.model.names import Bucket
from aisle.model.quantities import Bits, Duration, Size, bits, duration_s, size_bytes
from aisle.model.sections import (
    ChecksumProperties,
    Chunks,
    Compression,
    Counter32,
    ErasureCoding,
    Lru,
    Mirror,
    RateLimit,
    Versioning,
    WritePolicy,
)
from aisle.model.trees import Tree, normalized, overlaid

Percent = Annotated[int, Meta(ge=0, le=100)]


class Bundle(Struct, frozen=True):
    """How many streams a kind of traffic between targets has."""

    compression: Compression = "never"
    bundle_multiplier: Counter32 = 2
    burst_buffer: Counter32 = 512


class Listing(Struct, frozen=True):
    """Listings over several targets."""

    compression: Compression = "never"
    bundle_multiplier: Counter32 = 1
    burst_buffer: Counter32 = 32
    walk_buffer: Counter32 = 128
    idle_time: Duration = "20s"
    quiescent: Duration = "5s"


class Heartbeat(Struct, frozen=True):
    """How often a node says that it lives."""

    name: str = "heartbeat"
    interval: Duration = "10s"
    factor: Counter32 = 3


class Keepalive(Struct, frozen=True):
    """When a node is taken for gone."""

    proxy: Heartbeat = Heartbeat()
    target: Heartbeat = Heartbeat()
    num_retries: Counter32 = 3
    retry_factor: Counter32 = 4


class Rebalance(Struct, frozen=True):
    """How objects move when the set of targets changes."""

    compression: Compression = "never"
    bundle_multiplier: Counter32 = 2
    burst_buffer: Counter32 = 1024
    dest_retry_time: Duration = "2m"
    enabled: bool = True


class Log(Struct, frozen=True):
    """AIStore's log files; a node here writes to its standard error."""

    level: str = "3"
    max_size: Size = "64MiB"
    max_total: Size = "512MiB"
    flush_time: Duration = "1m"
    stats_time: Duration = "3m"
    to_stderr: bool = True

    def mistakes(self) -> Iterator[str]:
        """Sizes that do not go together."""
        each, total = size_bytes(self.max_size) or 0, size_bytes(self.max_total) or 0
        if not 1000 <= each <= 1024**3:
            yield f'log.max_size: "{self.max_size}" is not between 1KB and 1GiB'
        if total < 2 * each:
            yield "log.max_total must be at least twice log.max_size"


class GetBatch(Struct, frozen=True):
    """Answers with many objects at once."""

    compression: Compression = "never"
    bundle_multiplier: Counter32 = 2
    burst_buffer: Counter32 = 512
    max_wait: Duration = "20s"
    warmup_workers: int = -1
    max_soft_errs: Counter32 = 8
    max_gfn: Counter32 = 5


class Space(Struct, frozen=True):
    """At which fill level of the disks something is done, percent."""

    cleanupwm: Percent = 65
    lowwm: Percent = 75
    highwm: Percent = 90
    out_of_space: Percent = 95
    batch_size: Counter32 = 32_768
    dont_cleanup_time: Duration = "30m"

    def mistakes(self) -> Iterator[str]:
        """Levels out of order."""
        if not 0 < self.cleanupwm <= self.lowwm <= self.highwm <= self.out_of_space:
            yield "space: want 0 < cleanupwm <= lowwm <= highwm <= out_of_space <= 100"


class Transport(Struct, frozen=True):
    """Streams between targets."""

    max_header: Counter32 = 4096
    burst_buffer: Counter32 = 1024
    idle_teardown: Duration = "4s"
    quiescent: Duration = "10s"
    lz4_block: Size = "256KiB"
    lz4_frame_checksum: bool = False


class Disk(Struct, frozen=True):
    """How disk utilization is measured, and what counts as much, percent."""

    disk_util_low_wm: Percent = 20
    disk_util_high_wm: Percent = 80
    disk_util_max_wm: Percent = 95
    iostat_time_long: Duration = "2s"
    iostat_time_short: Duration = "100ms"
    iostat_time_smooth: Duration = "8s"

    def mistakes(self) -> Iterator[str]:
        """Levels out of order."""
        if not 0 < self.disk_util_low_wm < self.disk_util_high_wm < self.disk_util_max_wm:
            yield "disk: want 0 < disk_util_low_wm < disk_util_high_wm < disk_util_max_wm <= 100"


class DiskHealth(Struct, frozen=True):
    """When a disk is taken for broken."""

    test_files: Counter32 = 4
    error_limit: Counter32 = 2
    io_err_limit: Counter32 = 10
    io_err_time: Duration = "10s"
    enabled: bool = True


class Periodic(Struct, frozen=True):
    """What is done again and again."""

    stats_time: Duration = "10s"
    retry_sync_time: Duration = "2s"
    notif_time: Duration = "30s"

    def mistakes(self) -> Iterator[str]:
        """Times out of their ranges."""
        yield from _outside("periodic", self, {"stats_time": (1, 60), "retry_sync_time": (0.01, 10)})
        yield from _outside("periodic", self, {"notif_time": (1, 60)})


class ClientTimes(Struct, frozen=True):
    """How long nodes wait for each other on behalf of a client."""

    client_timeout: Duration = "10s"
    client_long_timeout: Duration = "5m"
    list_timeout: Duration = "5m"

    def mistakes(self) -> Iterator[str]:
        """Times beyond half an hour."""
        yield from _outside("client", self, dict.fromkeys(self.__struct_fields__, (0, 1800)))


class Downloader(Struct, frozen=True):
    """Downloads."""

    timeout: Duration = "1h0m"


class Auth(Struct, frozen=True):
    """Whether callers need a token; the node's credentials decide it."""

    client_auth_required: bool = False


class Backend(Struct, frozen=True):
    """Remote clusters and clouds."""

    ais: dict[str, list[str]] | None = None


class Proxy(Struct, frozen=True):
    """The primary gateway."""

    primary_url: str = ""
    original_url: str = ""
    discovery_url: str = ""
    non_electable: bool = False


class L4(Struct, frozen=True):
    """TCP."""

    proto: str = "tcp"
    sndrcv_buf_size: Counter32 = 131_072


class Http(Struct, frozen=True):
    """HTTP; `use_https` follows the node's certificate."""

    server_crt: str = ""
    server_key: str = ""
    client_ca_tls: str = ""
    client_auth_tls: Counter32 = 0
    domain_tls: str = ""
    idle_conn_time: Duration = "6s"
    backend_idle_conn_time: Duration = "6s"
    idle_conns_per_host: Counter32 = 32
    idle_conns: Counter32 = 256
    write_buffer_size: Counter32 = 0
    read_buffer_size: Counter32 = 0
    use_https: bool = False
    skip_verify: bool = False
    chunked_transfer: bool = True


class Network(Struct, frozen=True):
    """What nodes listen with."""

    l4: L4 = L4()
    http: Http = Http()
    use_ipv6: bool = False


class Timeouts(Struct, frozen=True):
    """How long nodes wait for each other."""

    cplane_operation: Duration = "2s"
    max_keepalive: Duration = "5s"
    max_host_busy: Duration = "20s"
    startup_time: Duration = "1m"
    join_startup_time: Duration = "3m"
    send_file_time: Duration = "5m"
    ec_streams_time: Duration = "10m"
    object_md: Duration = "2h0m"
    cold_get_conflict: Duration = "5s"


class Memory(Struct, frozen=True):
    """AIStore's memory allocator."""

    min_free: Size = "2GiB"
    default_buf: Size = "32KiB"
    to_gc: Size = "4GiB"
    hk_time: Duration = "3m"
    min_pct_total: Percent = 0
    min_pct_free: Percent = 0


class Resilver(Struct, frozen=True):
    """How objects move when the set of a target's mountpaths changes."""

    enabled: bool = True


class ClusterConfiguration(Struct, frozen=True):
    """Everything that `what=cluster_config` shows, in its order."""

    write_policy: WritePolicy = WritePolicy()
    checksum: ChecksumProperties = ChecksumProperties()
    tcb: Bundle = Bundle()
    tco: Bundle = Bundle()
    arch: Bundle = Bundle()
    lso: Listing = Listing()
    rate_limit: RateLimit = RateLimit()
    keepalivetracker: Keepalive = Keepalive()
    rebalance: Rebalance = Rebalance()
    log: Log = Log()
    ec: ErasureCoding = ErasureCoding()
    get_batch: GetBatch = GetBatch()
    space: Space = Space()
    transport: Transport = Transport()
    disk: Disk = Disk()
    fshc: DiskHealth = DiskHealth()
    chunks: Chunks = Chunks()
    lru: Lru = Lru(enabled=True)
    """What remote buckets begin with; own ones begin with `enabled` false."""
    mirror: Mirror = Mirror()
    periodic: Periodic = Periodic()
    client: ClientTimes = ClientTimes()
    downloader: Downloader = Downloader()
    auth: Auth = Auth()
    backend: Backend = Backend()
    uuid: str = ""
    last_changed: str = field(name="lastupdate_time", default="")
    proxy: Proxy = Proxy()
    net: Network = Network()
    timeout: Timeouts = Timeouts()
    memsys: Memory = Memory()
    features: Bits = "0"
    config_version: str = "1"
    versioning: Versioning = Versioning()
    resilver: Resilver = Resilver()

    def mistakes(self) -> Iterator[str]:
        """Flags that there are not, and times that do not go together."""
        yield from feature_mistakes(bits(self.features) or 0, of_bucket=False)
        silent_s = duration_s(self.timeout.max_keepalive) or 0.0
        for name, beat in (("proxy", self.keepalivetracker.proxy), ("target", self.keepalivetracker.target)):
            interval_s = duration_s(beat.interval)
            if interval_s is not None and interval_s < silent_s:
                yield f"keepalivetracker.{name}.interval must be at least timeout.max_keepalive"


class ConfigurationDocument(Struct, frozen=True):
    """What the metadata store keeps under `config/cluster`: only what differs from the defaults.

    So a default that a later version changes for the better reaches clusters that never chose it.
    """

    changes: Tree = {}
    changed_ns: int = 0


encode_configuration = msgspec.json.Encoder().encode
decode_configuration = msgspec.json.Decoder(ConfigurationDocument).decode

_READ_ONLY: Final = ("uuid", "lastupdate_time", "config_version", "proxy")
_ELSEWHERE: Final = {
    "auth.client_auth_required": "it follows from whether the node has credentials",
    "net.http.use_https": "it follows the node's settings tls.certificate and tls.key",
    "net.http.server_crt": "it is the node's setting tls.certificate",
    "net.http.server_key": "it is the node's setting tls.key",
    "net.use_ipv6": "it follows the node's setting listen",
    "backend": "clusters are attached with `ais cluster remote-attach`, clouds need no setting",
}


def configured(changes: Tree) -> ClusterConfiguration:
    """The defaults with changes laid over them.

    Raises BadRequest for an unknown or read-only member, or a value that cannot be; Unsupported for what
    is set elsewhere.
    """
    asked = normalized(changes, ClusterConfiguration)
    for name in _READ_ONLY:
        if name in asked:
            raise BadRequest(f"property {name} cannot be set")
    for dotted, reason in _ELSEWHERE.items():
        if _has(asked, dotted):
            raise Unsupported(f"{dotted} cannot be set here: {reason}")
    return overlaid(ClusterConfiguration(), asked)


def new_properties(configuration: ClusterConfiguration, bucket: Bucket) -> BucketProperties:
    """What a new bucket begins with: the sections that it shares with the configuration."""
    lru = configuration.lru
    if not bucket.is_remote:
        # Evicting from a bucket that has no backend would lose data.
        lru = msgspec.structs.replace(lru, enabled=False)
    return BucketProperties(
        write_policy=configuration.write_policy,
        provider=bucket.provider,
        checksum=configuration.checksum,
        rate_limit=configuration.rate_limit,
        ec=configuration.ec,
        chunks=configuration.chunks,
        mirror=configuration.mirror,
        lru=lru,
        features=str((bits(configuration.features) or 0) & BUCKET_BITS),
        versioning=configuration.versioning,
    )


def _has(tree: Tree, dotted: str) -> bool:
    first, _, rest = dotted.partition(".")
    value = tree.get(first)
    if not rest or value is None:
        return first in tree
    return isinstance(value, dict) and _has(value, rest)


def _outside(section: str, struct: Struct, bounds: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name, (least, most) in bounds.items():
        value = duration_s(getattr(struct, name))
        if value is not None and not least <= value <= most:
            yield f"{section}.{name}: must be between {least:g} and {most:g} seconds"
