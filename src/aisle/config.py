"""Settings: frozen, typed, checked where they are made.

Each part receives its own struct, never the whole. Defaults < TOML file < environment < flags; the
merging loader lives in `aisle.node.settings`, because this module does no I/O. Units end the names.
A struct that is made with impossible values raises ConfigError with all its mistakes, each of which
begins with the setting's full key.
"""

import ipaddress
import re
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
        "download.bytes_per_second",
        "download.history_s",
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
    sendfile: str = "auto"  # auto | aiofastnet | os | copy
    forward_proxy: bool = False  # answer GET http://HOST/FILE of files that are in ht:// buckets
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
    connections_per_object_max: int = 16  # for a large object that comes slowly; 1 = never more than one
    bytes_per_second: int = 0  # of all jobs together; 0 = no limit
    retries_max: int = 8
    stall_timeout_s: float = 30.0
    connect_timeout_s: float = 15.0
    part_bytes: int = 64 * 1024 * 1024  # a large file survives a restart up to its last part
    proxy: str = ""  # URL of an HTTP proxy for all downloads
    history_s: float = 30 * 86_400.0  # how long jobs that have ended are remembered; 0 = until removed
    huggingface_endpoint: str = "https://huggingface.co"  # where hf:// addresses lead

    def __post_init__(self) -> None:
        mistakes = []
        if self.proxy and not self.proxy.startswith(("http://", "https://")):
            mistakes.append(f"download.proxy: must be an http or https URL, not {self.proxy!r}")
        hub = self.huggingface_endpoint
        if not hub.startswith(("http://", "https://")):
            mistakes.append(f"download.huggingface_endpoint: must be an http or https URL, not {hub!r}")
        _check("download.", self, mistakes)


_PROVIDERS = ("ais", "aws", "gcp", "azure", "oci", "ht")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """How S3 clients name buckets."""

    domains: tuple[str, ...] = ()  # BUCKET.DOMAIN is a bucket
    order: tuple[str, ...] = ("ais",)  # providers, as they take precedence where several have a name

    def __post_init__(self) -> None:
        mistakes = [
            f"s3.domains: {domain!r} is no name of a domain"
            for domain in self.domains
            if not _DOMAIN.fullmatch(domain)
        ]
        for provider in self.order:
            mistakes += _one_of("s3.order", provider, _PROVIDERS)
        if len(set(self.order)) < len(self.order):
            mistakes.append("s3.order: a provider stands there twice")
        if mistakes:
            raise ConfigError(mistakes)


_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_ACCESS_KEY = re.compile(r"[!-+\x2d-~]{3,128}")  # printable, without blanks and commas
SECRET_KEY_CHARS_MIN = 8
MASTER_KEY_CHARS_MIN = 32


def _check_key_pair(section: str, access_key: str, secret_key: str) -> list[str]:
    mistakes = []
    if not _ACCESS_KEY.fullmatch(access_key):
        mistakes.append(f"{section}access_key: must have 3 to 128 characters, no blanks and no commas")
    if len(secret_key) < SECRET_KEY_CHARS_MIN or not secret_key.isprintable():
        mistakes.append(f"{section}secret_key: must have at least {SECRET_KEY_CHARS_MIN} characters")
    return mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class RootConfig:
    """The key of the user who may do everything; setting it switches credentials on."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.access_key or self.secret_key:
            mistakes = _check_key_pair("root.", self.access_key, self.secret_key)
            if mistakes:
                raise ConfigError(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """A user that the configuration file names, one `[[users]]` table each."""

    name: str
    access_key: str
    secret_key: str = field(repr=False)
    id: str = ""  # what the user's buckets are marked with; the name if empty
    email: str = ""
    admin: bool = False

    def __post_init__(self) -> None:
        section = f"users ({self.name}): "
        mistakes = _check_key_pair(section, self.access_key, self.secret_key)
        for key, value in (("name", self.name), ("id", self.id or self.name)):
            if not _USER_NAME.fullmatch(value) or value == "root":
                mistakes.append(
                    f"{section}{key}: must have 1 to 64 letters, digits and ._@+- and begin with one of the "
                    "former two; root is another one"
                )
        if mistakes:
            raise ConfigError(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """How credentials are made and accepted."""

    master_key: str = field(default="", repr=False)  # secrets of users that are added later follow from it
    master_key_file: str = ""
    earlier_master_keys: tuple[str, ...] = field(default=(), repr=False)
    legacy_signatures: bool = True  # boto3 still presigns with it for endpoints that are not Amazon's

    def __post_init__(self) -> None:
        mistakes = []
        if self.master_key and self.master_key_file:
            mistakes.append("auth.master_key_file: auth.master_key is set too, and only one can hold")
        for key in (self.master_key, *self.earlier_master_keys):
            if key and len(key) < MASTER_KEY_CHARS_MIN:
                name = "auth.master_key" if key == self.master_key else "auth.earlier_master_keys"
                mistakes.append(f"{name}: must have at least {MASTER_KEY_CHARS_MIN} random characters")
        if mistakes:
            raise ConfigError(mistakes)


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
    promote: tuple[str, ...] = ("/var/lib/ais/promote",)  # folders whose files may become objects
    http: HttpConfig = field(default_factory=HttpConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    egress: EgressConfig = field(default_factory=EgressConfig)
    download: DownloadConfig = field(default_factory=DownloadConfig)
    s3: S3Config = field(default_factory=S3Config)
    root: RootConfig = field(default_factory=RootConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    users: tuple[UserConfig, ...] = ()

    @property
    def asks_for_credentials(self) -> bool:
        """Whether credentials exist, so that everybody has to show some."""
        return bool(self.root.access_key or self.users)

    def __post_init__(self) -> None:
        mistakes = _one_of("log_level", self.log_level, ("debug", "info", "warning", "error"))
        for key, values in (("listen", self.listen), ("data", self.data)):
            if not values or not all(values):
                mistakes.append(f"{key}: at least one is needed, and none may be empty")
        for what, shared in (
            ("access key", [self.root.access_key, *(user.access_key for user in self.users)]),
            ("name", [user.name for user in self.users]),
            ("id", [user.id or user.name for user in self.users]),
        ):
            if len(set(shared)) < len(shared):
                mistakes.append(f"users: two of them have the same {what}")
        if self.workers > WORKERS_MAX:
            mistakes.append(f"workers: at most {WORKERS_MAX}, not {self.workers}")
        _check("", self, mistakes)
