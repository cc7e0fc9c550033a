"""The cluster's configuration as AIStore's clients expect it: fully populated (ais-native-api.md §8.6).

The tree has AIStore's shape and default values. What has no counterpart here yet is shown with the
value that clients expect; the sections that buckets inherit are those of new buckets.
"""

from typing import Final

import msgspec

from aisle.gateway.information import NodeIdentity
from aisle.model.bucket import BucketProperties

Json = dict[str, object]

_NEW_BUCKET: Final[Json] = msgspec.to_builtins(BucketProperties())
_BUNDLE: Final[Json] = {"compression": "never", "bundle_multiplier": 2, "burst_buffer": 512}
_HEARTBEAT: Final[Json] = {"name": "heartbeat", "interval": "10s", "factor": 3}

_FIRST: Final[Json] = {
    "write_policy": _NEW_BUCKET["write_policy"],
    "checksum": _NEW_BUCKET["checksum"],
    "tcb": _BUNDLE,
    "tco": _BUNDLE,
    "arch": _BUNDLE,
    "lso": {
        "compression": "never",
        "bundle_multiplier": 1,
        "burst_buffer": 32,
        "walk_buffer": 128,
        "idle_time": "20s",
        "quiescent": "5s",
    },
    "rate_limit": _NEW_BUCKET["rate_limit"],
    "keepalivetracker": {
        "proxy": _HEARTBEAT,
        "target": _HEARTBEAT,
        "num_retries": 3,
        "retry_factor": 4,
    },
    "rebalance": {
        "compression": "never",
        "bundle_multiplier": 2,
        "burst_buffer": 1024,
        "dest_retry_time": "2m",
        "enabled": True,
    },
    "log": {
        "level": "3",
        "max_size": "64MiB",
        "max_total": "512MiB",
        "flush_time": "1m",
        "stats_time": "3m",
        "to_stderr": True,
    },
    "ec": _NEW_BUCKET["ec"],
    "get_batch": {
        **_BUNDLE,
        "max_wait": "20s",
        "warmup_workers": -1,
        "max_soft_errs": 8,
        "max_gfn": 5,
    },
    "space": {
        "cleanupwm": 65,
        "lowwm": 75,
        "highwm": 90,
        "out_of_space": 95,
        "batch_size": 32768,
        "dont_cleanup_time": "30m",
    },
    "transport": {
        "max_header": 4096,
        "burst_buffer": 1024,
        "idle_teardown": "4s",
        "quiescent": "10s",
        "lz4_block": "256KiB",
        "lz4_frame_checksum": False,
    },
    "disk": {
        "disk_util_low_wm": 20,
        "disk_util_high_wm": 80,
        "disk_util_max_wm": 95,
        "iostat_time_long": "2s",
        "iostat_time_short": "100ms",
        "iostat_time_smooth": "8s",
    },
    "fshc": {
        "test_files": 4,
        "error_limit": 2,
        "io_err_limit": 10,
        "io_err_time": "10s",
        "enabled": True,
    },
    "chunks": _NEW_BUCKET["chunks"],
    "lru": _NEW_BUCKET["lru"],
    "mirror": _NEW_BUCKET["mirror"],
    "periodic": {"stats_time": "10s", "retry_sync_time": "2s", "notif_time": "30s"},
    "client": {"client_timeout": "10s", "client_long_timeout": "5m", "list_timeout": "5m"},
    "downloader": {"timeout": "1h0m"},
    "auth": {"client_auth_required": False},
    "backend": {"ais": None},
}

_LAST: Final[Json] = {
    "timeout": {
        "cplane_operation": "2s",
        "max_keepalive": "5s",
        "max_host_busy": "20s",
        "startup_time": "1m",
        "join_startup_time": "3m",
        "send_file_time": "5m",
        "ec_streams_time": "10m",
        "object_md": "2h0m",
        "cold_get_conflict": "5s",
    },
    "memsys": {
        "min_free": "2GiB",
        "default_buf": "32KiB",
        "to_gc": "4GiB",
        "hk_time": "3m",
        "min_pct_total": 0,
        "min_pct_free": 0,
    },
    "features": "0",
    "config_version": "1",
    "versioning": _NEW_BUCKET["versioning"],
    "resilver": {"enabled": True},
}


def cluster_configuration(identity: NodeIdentity, url: str) -> Json:
    """The configuration that all nodes share; `url` is the primary gateway's."""
    return {
        **_FIRST,
        "uuid": identity.cluster_id,
        "lastupdate_time": _go_time(identity.created_ns),
        "proxy": {"primary_url": url, "original_url": url, "discovery_url": "", "non_electable": False},
        "net": _network(https=url.startswith("https:")),
        **_LAST,
    }


def node_configuration(identity: NodeIdentity, url: str) -> Json:
    """One node's configuration: its own paths and addresses, and what all nodes share."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return {
        "fspaths": dict.fromkeys(identity.mountpaths, ""),
        "confdir": "",
        "log_dir": "",
        "test_fspaths": {"root": "", "count": 0, "instance": 0},
        "host_net": {
            "hostname": host,
            "hostname_intra_control": host,
            "hostname_intra_data": host,
            "port": port,
            "port_intra_control": port,
            "port_intra_data": port,
        },
        **cluster_configuration(identity, url),
    }


def _network(*, https: bool) -> Json:
    return {
        "l4": {"proto": "tcp", "sndrcv_buf_size": 131072},
        "http": {
            "server_crt": "",
            "server_key": "",
            "client_ca_tls": "",
            "client_auth_tls": 0,
            "domain_tls": "",
            "idle_conn_time": "6s",
            "backend_idle_conn_time": "6s",
            "idle_conns_per_host": 32,
            "idle_conns": 256,
            "write_buffer_size": 0,
            "read_buffer_size": 0,
            "use_https": https,
            "skip_verify": False,
            "chunked_transfer": True,
        },
        "use_ipv6": False,
    }


def _go_time(time_ns: int) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 1_000_000_000:09} +0000 UTC"
