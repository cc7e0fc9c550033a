"""The cluster's configuration on the wire: shown whole, changed in parts (ais-native-api.md §8.6).

Two forms change it: an action whose value is a partial tree, and a query of dotted names
(`set-config?checksum.type=md5`), which is what AIStore's command line sends. The node's own forms of
both (`/v1/daemon`, `/v1/reverse/daemon`) do the same: one node is the cluster.
"""

from typing import Final

import msgspec

from aisle.api.gate import Action
from aisle.api.messages import ActionMessage
from aisle.api.router import Elements, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, Unsupported
from aisle.gateway.configuration import Configuration
from aisle.gateway.information import NodeIdentity
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.configuration import Auth, Backend, ClusterConfiguration, Proxy
from aisle.model.trees import leaf_names, tree_of

Json = dict[str, object]

_NODES_LATER: Final = (
    *("start-maintenance", "stop-maintenance", "shutdown-node", "decommission-node", "rm-unsafe"),
    *("shutdown", "decommission", "reset-stats", "rotate-logs", "clear-lcache", "reload-creds"),
)
"""Actions on the cluster's nodes that AIStore knows and this version does not."""
_NOT_PROPERTIES: Final = frozenset({"transient"})
_LEAVES: Final = frozenset(name.lower() for name in leaf_names(ClusterConfiguration))


class ConfigurationVerbs:
    """Handlers that change the configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        admin = Action.ADMIN
        by_query = "/v1/cluster/set-config", "/v1/daemon/set-config", "/v1/reverse/daemon/set-config"
        by_action = "/v1/cluster", "/v1/daemon", "/v1/reverse/daemon"
        return [
            *(Route("PUT", path, admin, self.set_by_query) for path in by_query),
            *(Route("PUT", path, admin, self.set, "action=set-config") for path in by_action),
            *(Route("PUT", path, admin, self.reset, "action=reset-config") for path in by_action),
            *(Route("PUT", "/v1/cluster", admin, None, f"action={verb}") for verb in _NODES_LATER),
        ]

    async def set(self, request: Request, _elements: Elements, message: ActionMessage) -> Response:
        """Change what the value, a partial tree, names."""
        if not isinstance(message.value, dict | None):
            raise BadRequest("set-config: the value must be an object")
        _refuse_transient(parse_query(request.query).get("transient", ""))
        await self._configuration.set(message.value or {})
        return Response(200)

    async def set_by_query(self, request: Request, _elements: Elements) -> Response:
        """Change what the query's dotted names say."""
        query = parse_query(request.query)
        _refuse_transient(query.get("transient", ""))
        pairs = [(name, value) for name, value in query.items() if name not in _NOT_PROPERTIES]
        for name, _ in pairs:
            if name.lower() not in _LEAVES:
                raise BadRequest(f'unknown property "{name}"')
        await self._configuration.set(tree_of(pairs))
        return Response(200)

    async def reset(self, _request: Request, _elements: Elements, _message: ActionMessage) -> Response:
        """Back to the defaults."""
        await self._configuration.reset()
        return Response(200)


def cluster_configuration(
    identity: NodeIdentity, url: str, configuration: Configuration, *, is_guarded: bool
) -> Json:
    """The configuration that all nodes share; `url` is the primary gateway's.

    `is_guarded` tells whether callers need credentials.
    """
    current = configuration.get()
    values = current.values
    http = msgspec.structs.replace(values.net.http, use_https=url.startswith("https:"))
    whole = msgspec.structs.replace(
        values,
        uuid=identity.cluster_id,
        last_changed=_go_time(current.changed_ns or identity.created_ns),
        proxy=Proxy(primary_url=url, original_url=url),
        net=msgspec.structs.replace(values.net, http=http),
        backend=Backend(ais=configuration.attached() or None),
        auth=Auth(client_auth_required=is_guarded),
        config_version=str(current.version),
    )
    shown: Json = msgspec.to_builtins(whole)
    return shown


def node_configuration(
    identity: NodeIdentity, url: str, configuration: Configuration, *, is_guarded: bool
) -> Json:
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
        **cluster_configuration(identity, url, configuration, is_guarded=is_guarded),
    }


def _refuse_transient(text: str) -> None:
    if is_true(text):
        raise Unsupported("transient: a change that is forgotten at the next start is not built")


def _go_time(time_ns: int) -> str:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 1_000_000_000:09} +0000 UTC"
