"""What AIStore's clients read of nodes and of the cluster map, as JSON (ais-native-api.md §8).

One node plays both roles, and all three of AIStore's networks are the one that it listens on.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from aisle.api.native.configuration import Json
from aisle.gateway.activity import FileSystem
from aisle.gateway.information import Capacity, NodeInformation
from aisle.rules.placement import digest

MAP_VERSION: Final = "1"
_STATE_HEALTHY: Final = 6  # cluster started | node started
_PRIMARY: Final = 2  # AIStore marks its gateways as members of the information center


class NodeDocuments:
    """The documents of one node; `url` is always the address that the client is to use."""

    def __init__(
        self,
        node: NodeInformation,
        *,
        buckets_version: Callable[[], int],
        configuration_version: Callable[[], int],
        counters: Callable[[str], Mapping[str, int]],
    ) -> None:
        """`counters` gives the totals of what the node counts, by its role."""
        self._counters = counters
        self._node = node
        self._configuration_version = configuration_version
        self._identity = node.identity
        self._buckets_version = buckets_version

    def node(self, role: str, url: str, *, flags: int = 0) -> Json:
        """The node in one of its roles, `proxy` or `target` (Snode, §8.1)."""
        node_id = self._identity.target_id if role == "target" else self._identity.gateway_id
        host, _, port = url.partition("://")[2].rpartition(":")
        network = {"node_ip_addr": host, "daemon_port": port, "direct_url": url}
        return {
            "public_net": network,
            "intra_data_net": network,
            "intra_control_net": network,
            "daemon_type": role,
            "daemon_id": node_id,
            "flags": flags,
            "id_digest": digest(node_id.encode()),
        }

    def cluster_map(self, url: str) -> Json:
        """The cluster map (Smap, §8.1)."""
        primary = self.node("proxy", url, flags=_PRIMARY)
        created = datetime.fromtimestamp(self._identity.created_ns // 1_000_000_000, UTC)
        return {
            "pmap": {self._identity.gateway_id: primary},
            "proxy_si": primary,
            "tmap": {self._identity.target_id: self.node("target", url)},
            "uuid": self._identity.cluster_id,
            "creation_time": f"{created:%Y-%m-%d %H:%M:%S}",
            "version": MAP_VERSION,
        }

    def state(self, url: str) -> Json:
        """Versions of all that the node keeps, and how it is (NodeStateInfo, §8.2)."""
        primary = {"pub_url": url, "control_url": url, "id": self._identity.gateway_id}
        cluster_id = self._identity.cluster_id
        return {
            "smap": {"Primary": primary, "uuid": cluster_id, "version": MAP_VERSION},
            "bmd": {"uuid": cluster_id, "version": str(self._buckets_version())},
            "rmd": {"version": "0"},
            "config": {"version": str(self._configuration_version())},
            "etlmd": {"version": "0"},
            "flags": _STATE_HEALTHY,
        }

    def statistics(self, role: str, url: str) -> Json:
        """Counters and capacity in one role (§8.2); a gateway has no mountpaths."""
        always = {"state.flags": _STATE_HEALTHY, "up.ns.time": self._node.uptime_ns()}
        tracker = dict(sorted({**self._counters(role), **always}.items()))
        capacities = self._node.capacities() if role == "target" else {}
        capacity = _capacity_document(capacities, self._node.activity.file_systems)
        return {"snode": self.node(role, url), "tracker": tracker, "capacity": capacity}

    def disks(self) -> Json:
        """The target's disks and how busy they are (§8.2)."""
        activity = self._node.activity
        busy = {
            name: {
                "RBps": rates.read_rate,
                "Ravg": rates.read_average,
                "WBps": rates.write_rate,
                "Wavg": rates.write_average,
                "Util": rates.percent_busy,
            }
            for name, rates in activity.disks().items()
        }
        return {"AllDiskStats": busy, **_capacity_document(self._node.capacities(), activity.file_systems)}

    def system(self) -> Json:
        """The machine's memory and load, and the process's share (MemCPUInfo, §8.2)."""
        memory, process, load = self._node.memory(), self._node.process(), self._node.load()
        return {
            "mem_used": process.resident,
            "mem_avail": memory.available,
            "pct_mem_used": 100 * process.resident / max(1, memory.total),
            "pct_cpu_used": 0.0,
            "load_avg": {"One": load[0], "Five": load[1], "Fifteen": load[2]},
            "cpu_util": self._node.activity.processors_percent(),
            "mem": {
                "Total": memory.total,
                "Used": memory.total - memory.free,
                "Free": memory.free,
                "BuffCache": memory.cached,
                "ActualFree": memory.available,
                "ActualUsed": memory.total - memory.available,
                "SwapTotal": memory.swap_total,
                "SwapFree": memory.swap_free,
                "SwapUsed": memory.swap_total - memory.swap_free,
            },
            "proc": {
                "CPU": {
                    "User": process.user_ms,
                    "System": process.system_ms,
                    "Total": process.user_ms + process.system_ms,
                    "LastTime": 0,
                    "Percent": 0.0,
                },
                "Mem": {
                    "Size": process.virtual,
                    "Resident": process.resident,
                    "Share": process.shared,
                },
            },
        }

    def target_system(self) -> Json:
        """The same with the file systems of the mountpaths."""
        capacities = self._node.capacities().values()
        used = sum(each.used for each in capacities)
        total = used + sum(each.available for each in capacities)
        percent = round(100 * used / total) if total else 0
        return {**self.system(), "fs_used": str(used), "fs_capacity": str(total), "pct_fs_used": percent}


def _capacity_document(capacities: Mapping[str, Capacity], systems: Mapping[str, FileSystem]) -> Json:
    """Used and free space, by mountpath and together; a gateway has none."""
    percents = [each.percent_used for each in capacities.values()] or [0]
    mountpaths = {
        path: {
            "mountpath_label": "",
            "fs": {"Fs": systems[path].device, "FsType": systems[path].kind, "FsID": "0,0"},
            "disks": [systems[path].disk] if systems[path].disk else [],
            "used": str(each.used),
            "avail": str(each.available),
            "pct_used": each.percent_used,
        }
        for path, each in capacities.items()
    }
    return {
        "mountpaths": mountpaths or None,
        "cs_err": "",
        "total_used": str(sum(each.used for each in capacities.values())),
        "total_avail": str(sum(each.available for each in capacities.values())),
        "pct_max": max(percents),
        "pct_avg": round(sum(percents) / len(percents)),
        "pct_min": min(percents),
    }
