"""Questions about the cluster and its nodes: health, maps, configuration, status (ais-native-api.md §8).

One node answers for both roles. It gives the address by which it was asked, unless one is configured:
behind a forwarded port or in a container that is the only address that its client can reach.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from aisle.api.gate import Action, authorize, permits
from aisle.api.native.buckets import JSON_TYPE
from aisle.api.native.configuration import (
    ConfigurationVerbs,
    Json,
    cluster_configuration,
    node_configuration,
)
from aisle.api.native.nodes import MAP_VERSION, NodeDocuments
from aisle.api.native.statistics import Statistics, metric_kinds
from aisle.api.native.told_properties import told_properties
from aisle.api.router import Elements, Handler, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, NotFound, Unavailable
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeInformation
from aisle.httpd.request import Request
from aisle.httpd.response import Response

AISTORE_VERSION: Final = "5.0."
"""The version of AIStore's API that is spoken, in the form of an unstamped build."""

_TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")


class ClusterQuestions:
    """Handlers of what clients ask before, beside and after their work on objects."""

    def __init__(
        self,
        node: NodeInformation,
        buckets: Buckets,
        *,
        is_ready: Callable[[], bool],
        metrics: Callable[[], str],
        statistics: Statistics,
        is_guarded: bool = False,
        backends: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`is_guarded` tells whether callers need credentials, `backends` which providers can be used."""
        self._backends = backends
        self._node = node
        self._identity = node.identity
        self._buckets = buckets
        self._configuration = buckets.configuration
        self._documents = NodeDocuments(
            node,
            buckets_version=buckets.revision,
            configuration_version=lambda: self._configuration.get().version,
            counters=statistics.tracker,
        )
        self._is_guarded = is_guarded
        self._is_ready = is_ready
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        show = Action.SHOW_CLUSTER
        daemon: dict[str, Handler] = {
            "smap": self.cluster_map,
            "bmd": self.bucket_metadata,
            "snode": self.gateway_node,
            "config": self.node_configuration,
            "node_stats": self.node_statistics,
            "node_status": self.node_status,
            "sysinfo": self.system_information,
            "software_version": self.software_version,
            "metrics": self.metric_kinds,
        }
        cluster: dict[str, Handler] = {
            "smap": self.cluster_map,
            "bmd": self.bucket_metadata,
            "snode": self.gateway_node,
            "cluster_config": self.cluster_configuration,
            "node_stats": self.cluster_statistics,
            "sysinfo": self.cluster_system_information,
            "mountpaths": self.mountpaths,
            "backends": self.backends,
            "target_ips": self.target_addresses,
        }
        relayed: dict[str, Handler] = {
            "snode": self.asked_node,
            "config": self.node_configuration,
            "node_stats": self.node_statistics,
            "node_status": self.node_status,
            "sysinfo": self.system_information,
            "smap": self.cluster_map,
            "bmd": self.bucket_metadata,
            "software_version": self.software_version,
            "metrics": self.metric_kinds,
            "disk": self.disks,
            "mountpaths": self.target_mountpaths,
        }
        return [
            Route("GET", "/v1/health", Action.OPEN, self.health),
            Route("HEAD", "/v1/health", Action.OPEN, self.health),
            Route("GET", "/metrics", show, self.metrics),
            Route("HEAD", "/metrics", show, self.metrics),
            *(Route("GET", "/v1/daemon", show, ask, f"what={what}") for what, ask in daemon.items()),
            *(Route("GET", "/v1/cluster", show, ask, f"what={what}") for what, ask in cluster.items()),
            *(Route("GET", "/v1/reverse/daemon", show, ask, f"what={what}") for what, ask in relayed.items()),
            Route("PUT", "/v1/cluster/{item}", Action.ADMIN, None),
            *ConfigurationVerbs(self._configuration).routes(),
        ]

    def health(self, request: Request, _elements: Elements) -> Response:
        """Whether the node lives; with `readiness`, `prr` or `apr`, whether it can serve."""
        query = parse_query(request.query)
        asked = any(is_true(query.get(name, "")) for name in ("readiness", "prr", "apr"))
        if asked and not self._is_ready():
            raise Unavailable("the node is starting or stopping")
        uptime = str(self._node.uptime_ns())
        headers = [("Ais-Cluster-Uptime", uptime), ("Ais-Node-Uptime", uptime)]
        if any(is_true(query.get(name, "")) for name in ("cii", "cii-apr")):
            authorize(request.caller, Action.SHOW_CLUSTER)
            return _json(self._documents.state(self._url(request)), headers)
        return Response(200, headers)

    def metrics(self, _request: Request, _elements: Elements) -> Response:
        """All counters of all processes, for Prometheus."""
        return Response(
            200, [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")], self._metrics().encode()
        )

    def cluster_map(self, request: Request, _elements: Elements) -> Response:
        """The cluster map."""
        return _json(self._documents.cluster_map(self._url(request)))

    def bucket_metadata(self, request: Request, _elements: Elements) -> Response:
        """The buckets that the caller may see, with their properties, by provider and namespace."""
        providers: dict[str, dict[str, Json]] = {"ais": {"@#": {}}}
        for info in self._buckets.select():
            if not permits(request.caller, Action.HEAD_BUCKET, info):
                continue
            space = info.bucket.uname.split("/")[1]
            spaces = providers.setdefault(info.bucket.provider, {})
            spaces.setdefault(space, {})[info.bucket.name] = told_properties(request.caller, info.properties)
        return _json(
            {
                "providers": providers,
                "uuid": self._identity.cluster_id,
                "version": str(self._buckets.revision()),
            }
        )

    def gateway_node(self, request: Request, _elements: Elements) -> Response:
        """The node as a gateway; asked for itself it shows no flags."""
        return _json(self._documents.node("proxy", self._url(request)))

    def asked_node(self, request: Request, _elements: Elements) -> Response:
        """The node in the role that the request names."""
        return _json(self._documents.node(self._role(request), self._url(request)))

    def node_configuration(self, request: Request, _elements: Elements) -> Response:
        """The node's own and the shared configuration."""
        url, current = self._url(request), self._configuration
        return _json(node_configuration(self._identity, url, current, is_guarded=self._is_guarded))

    def cluster_configuration(self, request: Request, _elements: Elements) -> Response:
        """The configuration that all nodes share."""
        url, current = self._url(request), self._configuration
        return _json(cluster_configuration(self._identity, url, current, is_guarded=self._is_guarded))

    def node_statistics(self, request: Request, _elements: Elements) -> Response:
        """The node's counters and capacity in the role that was asked."""
        role = self._role(request)
        return _json(self._documents.statistics(role, self._url(request)))

    def cluster_statistics(self, request: Request, _elements: Elements) -> Response:
        """The same of all nodes."""
        url = self._url(request)
        target = {self._identity.target_id: self._documents.statistics("target", url)}
        return _json({"proxy": self._documents.statistics("proxy", url), "target": target})

    def node_status(self, request: Request, _elements: Elements) -> Response:
        """All that `ais show cluster` shows of a node (§8.2), in the role that was asked."""
        url = self._url(request)
        return _json(
            {
                "status": "",
                "deployment": "linux",
                "ais_version": AISTORE_VERSION,
                "build_time": "",
                "k8s_pod_name": "",
                **self._documents.statistics(self._role(request), url),
                "cluster": self._documents.state(url),
                "sys_info": self._documents.system(),
                "smap_version": MAP_VERSION,
            }
        )

    def system_information(self, request: Request, _elements: Elements) -> Response:
        """The node's memory, processors and load; a target also tells its disks."""
        return _json(
            self._documents.target_system() if self._role(request) == "target" else self._documents.system()
        )

    def cluster_system_information(self, _request: Request, _elements: Elements) -> Response:
        """The same of all nodes but the one that answers, as AIStore has it."""
        return _json({"proxy": {}, "target": {self._identity.target_id: self._documents.target_system()}})

    def mountpaths(self, _request: Request, _elements: Elements) -> Response:
        """The mountpaths of all targets."""
        return _json({"targets": {self._identity.target_id: self._own_mountpaths()}})

    def target_mountpaths(self, request: Request, _elements: Elements) -> Response:
        """The mountpaths of the target that was asked; a gateway has none."""
        self._require_target(request, "mountpaths")
        return _json(self._own_mountpaths())

    def _own_mountpaths(self) -> Json:
        return {"available": list(self._identity.mountpaths), "waiting_dd": [], "disabled": []}

    def disks(self, request: Request, _elements: Elements) -> Response:
        """The disks of the target that was asked; a gateway has none."""
        self._require_target(request, "disk")
        return _json(self._documents.disks())

    def metric_kinds(self, request: Request, _elements: Elements) -> Response:
        """What each name in the node's statistics stands for, in the role that was asked."""
        return _json(metric_kinds(self._role(request)))

    def _require_target(self, request: Request, what: str) -> None:
        """Raise BadRequest, in AIStore's words, where a gateway is asked about a target's affairs."""
        if self._role(request) != "target":
            raise BadRequest(f"invalid '/v1/daemon' request: unrecognized 'what={what}' query")

    def backends(self, _request: Request, _elements: Elements) -> Response:
        """The remote backends that can be used."""
        return _json(list(self._backends()))

    def target_addresses(self, request: Request, _elements: Elements) -> Response:
        """The targets' addresses, comma separated."""
        host = self._url(request).partition("://")[2].rpartition(":")[0]
        return Response(200, [_TEXT_TYPE], ",".join([host] * 3).encode())

    def software_version(self, _request: Request, _elements: Elements) -> Response:
        """The version of AIStore's API that is spoken."""
        return Response(200, [_TEXT_TYPE], AISTORE_VERSION.encode())

    def _url(self, request: Request) -> str:
        if self._identity.public_url:
            return self._identity.public_url
        scheme = "https" if request.secure else "http"
        authority = request.headers.get("host", "") or "127.0.0.1"
        if not authority.rpartition(":")[2].isdecimal():
            authority += ":443" if request.secure else ":80"
        return f"{scheme}://{authority}"

    def _role(self, request: Request) -> str:
        """The role that `Ais-Node-Id` names on relayed questions; the gateway's elsewhere."""
        asked = request.headers.get("ais-node-id", "")
        if not request.path.startswith(b"/v1/reverse"):
            return "proxy"
        if not asked:
            raise BadRequest("missing node ID")
        if asked == self._identity.target_id:
            return "target"
        if asked != self._identity.gateway_id:
            raise NotFound(f"node {asked} does not exist")
        return "proxy"


def _json(value: object, headers: list[tuple[str, str]] | None = None) -> Response:
    return Response(200, [JSON_TYPE, *(headers or ())], msgspec.json.encode(value) + b"\n")
