"""What a cluster tells of itself: its nodes, how they are, their counters and logs (ais-native-api.md §8)."""

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import field

from aisle.client.bodies import Body
from aisle.client.connections import Answer, Call
from aisle.client.node import Client
from aisle.errors import NodeFailed

_NODE_FIELD: Final = "Ais-Node-Id"
_Kind = TypeVar("_Kind")


class Network(msgspec.Struct, frozen=True):
    """Where a node listens."""

    url: str = field(name="direct_url", default="")


class Node(msgspec.Struct, frozen=True):
    """A node in one of its roles."""

    id: str = field(name="daemon_id")
    role: str = field(name="daemon_type")
    """`proxy` or `target`."""
    public: Network = field(name="public_net", default=Network())

    @property
    def name(self) -> str:
        """As AIStore shows nodes: `t[ID]`, `p[ID]`."""
        return f"{self.role[:1]}[{self.id}]"


class ClusterMap(msgspec.Struct, frozen=True):
    """Who belongs to the cluster."""

    gateways: dict[str, Node] = field(name="pmap", default_factory=dict)
    targets: dict[str, Node] = field(name="tmap", default_factory=dict)
    primary: Node = field(name="proxy_si", default=Node("", "proxy"))
    id: str = field(name="uuid", default="")
    version: str = "0"

    @property
    def nodes(self) -> dict[str, Node]:
        """Gateways and targets, by their ids."""
        return {**self.gateways, **self.targets}


class Mountpath(msgspec.Struct, frozen=True):
    """A mountpath's file system; sizes are in bytes."""

    used: str = "0"
    available: str = field(name="avail", default="0")
    percent_used: int = field(name="pct_used", default=0)
    disks: list[str] = []
    file_system: dict[str, str] = field(name="fs", default_factory=dict)


class Capacity(msgspec.Struct, frozen=True):
    """Used and free space of a node; sizes are in bytes."""

    mountpaths: dict[str, Mountpath] | None = None
    used: str = field(name="total_used", default="0")
    available: str = field(name="total_avail", default="0")
    percent_max: int = field(name="pct_max", default=0)
    percent_average: int = field(name="pct_avg", default=0)
    percent_min: int = field(name="pct_min", default=0)


class DiskActivity(msgspec.Struct, frozen=True):
    """How busy a disk is: bytes per second, bytes per request, percent."""

    read_rate: int = field(name="RBps", default=0)
    read_average: int = field(name="Ravg", default=0)
    write_rate: int = field(name="WBps", default=0)
    write_average: int = field(name="Wavg", default=0)
    percent_busy: int = field(name="Util", default=0)


class Disks(Capacity, frozen=True):
    """A target's space, and its disks where it tells how busy they are."""

    activity: dict[str, DiskActivity] = field(name="AllDiskStats", default_factory=dict)


class System(msgspec.Struct, frozen=True):
    """A node's memory and processors."""

    memory_available: int = field(name="mem_avail", default=0)
    """Bytes."""
    memory_percent: float = field(name="pct_mem_used", default=0.0)
    """Of the machine's memory, the node's part."""
    cpu_percent: int = field(name="cpu_util", default=0)
    load: dict[str, float] = field(name="load_avg", default_factory=dict)
    """Over one, five and fifteen minutes: `One`, `Five`, `Fifteen`."""


class Statistics(msgspec.Struct, frozen=True):
    """A node's counters since it started, by AIStore's names, and its space."""

    tracker: dict[str, int] = {}
    capacity: Capacity = Capacity()


class Status(Statistics, frozen=True):
    """How a node is."""

    status: str = ""
    """Empty where all is well."""
    version: str = field(name="ais_version", default="")
    build: str = field(name="build_time", default="")
    deployment: str = ""
    system: System = field(name="sys_info", default=System())

    @property
    def uptime_s(self) -> float:
        """Seconds since the node started."""
        return self.tracker.get("up.ns.time", 0) / 1e9


class Cluster:
    """Asks about the nodes of a cluster.

    Methods raise what those of `Client` do, and NotFound where there is no such node.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def map(self) -> ClusterMap:
        """Who belongs to the cluster."""
        return self._told("/v1/daemon", {"what": "smap"}, ClusterMap)

    def backends(self) -> list[str]:
        """The cloud backends that are configured."""
        return self._told("/v1/cluster", {"what": "backends"}, list[str])

    def status(self, node: str) -> Status:
        """How a node is."""
        return self._of_node(node, "node_status", Status)

    def statistics(self, node: str) -> Statistics:
        """A node's counters."""
        return self._of_node(node, "node_stats", Statistics)

    def kinds(self, node: str) -> dict[str, str]:
        """What each of a node's counters counts: `counter`, `size`, `total` and others."""
        return self._of_node(node, "metrics", dict[str, str])

    def disks(self, node: str) -> Disks:
        """A target's disks and mountpaths. Raises BadRequest for a gateway."""
        return self._of_node(node, "disk", Disks)

    def configuration(self, node: str) -> dict[str, object]:
        """A node's own configuration together with the cluster's."""
        return self._of_node(node, "config", dict[str, object])

    def set_configuration(self, node: str, changes: Mapping[str, object]) -> None:
        """Change a node's configuration, as a partial tree. Raises BadRequest, Unsupported."""
        message = {"action": "set-config", "name": "", "value": dict(changes)}
        call = Call(
            method="PUT",
            target="/v1/reverse/daemon",
            headers={"Content-Type": "application/json", _NODE_FIELD: node},
            body=Body(json.dumps(message).encode()),
        )
        self._client.open(call).close()

    def log(self, node: str, *, severity: str = "", offset: int = 0, whole: bool = False) -> Answer:
        """A node's current log from a byte offset on, or with `whole` an archive of all; to be closed.

        `severity` is `info`, `warning` or `error`. Raises BadRequest for an offset behind the end.
        """
        query = {"what": "log", "severity": severity, "offset": str(offset), "all": str(whole).lower()}
        return self._client.open(_question("/v1/reverse/daemon", query, node))

    def _of_node(self, node: str, what: str, kind: type[_Kind]) -> _Kind:
        return self._told("/v1/reverse/daemon", {"what": what}, kind, node=node)

    def _told(self, path: str, query: Mapping[str, str], kind: type[_Kind], *, node: str = "") -> _Kind:
        with closing(self._client.open(_question(path, query, node))) as answer:
            data = answer.read()
        try:
            return msgspec.json.decode(data, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NodeFailed(f"what answers at {self._client.endpoint} is not a node", status=200) from error


def _question(path: str, query: Mapping[str, str], node: str) -> Call:
    headers = {"Accept": "application/json"} | ({_NODE_FIELD: node} if node else {})
    return Call(method="GET", target=f"{path}?{urlencode(query)}", headers=headers)
