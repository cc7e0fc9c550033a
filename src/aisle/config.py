"""Settings: frozen, typed, checked where they are made.

Each part receives its own struct, never the whole. Defaults < TOML file < environment < flags; the
merging loader lives in `aisle.node.settings`, because this module does no I/O. Units end the names.
A struct that is made with impossible values raises ConfigError with all its mistakes, each of which
begins with the setting's full key.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from aisle.errors import ConfigError

# Zero switches these off; every other number must be above it.
_ZERO_ALLOWED = frozenset(
    {
        "workers",
        "shutdown_grace_s",
        "http.slow_request_s",
        "storage.reserve_bytes",
        "storage.unlink_delay_s",
        "storage.index_copy_interval_s",
        "download.retries_max",
    }
)


def _check(section: str, settings: object, further: Iterable[str] = ()) -> None:
    """Raises ConfigError for numbers out of range and for the `further` mistakes."""
    mistakes = list(further)
    for item in fields(settings):  # type: ignore[arg-type]
        key, value = f"{section}{item.name}", getattr(settings, item.name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if value < 0 or (value == 0 and key not in _ZERO_ALLOWED):
            mistakes.append(
                f"{key}: must be {'at least' if key in _ZERO_ALLOWED else 'above'} 0, not {value}"
            )
    if mistakes:
        raise ConfigError(mistakes)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    return [] if value in allowed else [f"{key}: must be one of {', '.join(allowed)}, not {value!r}"]


WORKERS_MAX = 256
"""More serving processes than this are taken for a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Limits of the HTTP server; every one is enforced."""

    request_line_bytes_max: int = 16 * 1024  # a 1,024-byte name is 3,072 bytes when percent-encoded
    header_bytes_max: int = 64 * 1024
    header_count_max: int = 128
    header_timeout_s: float = 20.0
    body_idle_timeout_s: float = 60.0
    send_idle_timeout_s: float = 60.0
    keepalive_timeout_s: float = 75.0
    pipelined_requests_max: int = 16
    connections_max: int = 10_000  # per worker
    connections_per_address_max: int = 4_000  # per worker
    buffered_body_bytes_max: int = 256 * 1024 * 1024  # per worker; beyond it 503
    body_bytes_max: int = 5 * 1024**4
    json_bytes_max: int = 8 * 1024 * 1024
    range_count_max: int = 64
    sendfile: str = "auto"  # auto | aiofastnet | os | copy
    access_log: bool = False
    slow_request_s: float = 5.0  # 0 = no slow-request log

    def __post_init__(self) -> None:
        _check("http.", self, _one_of("http.sendfile", self.sendfile, ("auto", "aiofastnet", "os", "copy")))


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Certificate chain and key, PEM files, watched for change."""

    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            missing = "tls.key" if self.certificate else "tls.certificate"
            raise ConfigError([f"{missing}: must be set too: a certificate and its key go together"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """How the storage engine uses its mountpaths."""

    map_size_bytes: int = 1024**4
    reserve_bytes: int = 64 * 1024 * 1024  # below this much free space a failed commit is OutOfSpace
    group_size_max: int = 512  # operations per index transaction
    unlink_delay_s: float = 60.0  # readers that opened an old record still find its file
    reader_check_interval_s: float = 10.0
    data_sync: str = "immediate"  # immediate | delayed | never: payload files only
    index_copy_interval_s: float = 3600.0  # copy of the index to another mountpath; 0 = off

    def __post_init__(self) -> None:
        sync = _one_of("storage.data_sync", self.data_sync, ("immediate", "delayed", "never"))
        _check("storage.", self, sync)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressConfig:
    """Which outgoing addresses are allowed beside public ones."""

    allow: tuple[str, ...] = ()  # networks in CIDR form
    allow_loopback: bool = False  # the node allows it by itself while it listens on loopback only
    allow_private: bool = False

    def __post_init__(self) -> None:
        mistakes = []
        for network in self.allow:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                mistakes.append(f"egress.allow: {error}")
        if mistakes:
            raise ConfigError(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadConfig:
    """The downloader's own limits."""

    connections_max: int = 64
    connections_per_host_max: int = 32
    retries_max: int = 8
    stall_timeout_s: float = 30.0
    connect_timeout_s: float = 15.0
    part_bytes: int = 64 * 1024 * 1024  # a large file survives a restart up to its last part
    proxy: str = ""  # URL of an HTTP proxy for all downloads

    def __post_init__(self) -> None:
        mistakes = []
        if self.proxy and not self.proxy.startswith(("http://", "https://")):
            mistakes.append(f"download.proxy: must be an http or https URL, not {self.proxy!r}")
        _check("download.", self, mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """All settings of one node."""

    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    hosts: tuple[str, ...] = ()  # names, beside loopback, by which clients may address the node
    data: tuple[str, ...] = ("./aisle-data",)
    workers: int = 0  # 0 = one per core
    insecure: bool = False
    accept_missing: bool = False
    shutdown_grace_s: float = 30.0
    log_level: str = "info"
    http: HttpConfig = field(default_factory=HttpConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    egress: EgressConfig = field(default_factory=EgressConfig)
    download: DownloadConfig = field(default_factory=DownloadConfig)

    def __post_init__(self) -> None:
        mistakes = _one_of("log_level", self.log_level, ("debug", "info", "warning", "error"))
        for key, values in (("listen", self.listen), ("data", self.data)):
            if not values or not all(values):
                mistakes.append(f"{key}: at least one is needed, and none may be empty")
        if self.workers > WORKERS_MAX:
            mistakes.append(f"workers: at most {WORKERS_MAX}, not {self.workers}")
        _check("", self, mistakes)
