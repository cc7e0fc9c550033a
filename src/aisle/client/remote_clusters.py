"""Other clusters that are attached to the one that is asked."""

from collections.abc import Sequence
from contextlib import closing

import msgspec
from msgspec import field

from aisle.client.cluster import ClusterMap
from aisle.client.connections import Call
from aisle.client.node import Client
from aisle.errors import NodeFailed


class RemoteCluster(msgspec.Struct, frozen=True):
    """A cluster that is attached."""

    alias: str
    url: str
    """Several are separated by commas."""
    uuid: str = ""
    """Empty, as the map is None, until it has been reached once."""
    map: ClusterMap | None = field(name="smap", default=None)
    online: bool | None = None
    """None where the node does not tell."""
    uptime_ns: int = 0


class _Told(msgspec.Struct, frozen=True):
    clusters: list[RemoteCluster] = field(name="a", default_factory=list)


class RemoteClusters:
    """Attaches and shows clusters. Methods raise what those of `Client` do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def attach(self, alias: str, urls: Sequence[str], *, token: str = "", ca_file: str = "") -> None:
        """Attach a cluster, or look again at one. Raises BadRequest for what is none, or another one.

        `ca_file` is a file of the node with certificates to trust.
        """
        headers = {"Ais-Remote-Ais-Alias": alias, "Ais-Remote-Ais-Url": ",".join(urls)}
        headers |= {"Aisle-Remote-Token": token} if token else {}
        headers |= {"Aisle-Remote-Ca": ca_file} if ca_file else {}
        self._put("attach", headers)

    def detach(self, name: str) -> None:
        """Forget a cluster, by its alias or UUID. Raises NotFound."""
        self._put("detach", {"Ais-Remote-Ais-Alias": name})

    def all(self) -> list[RemoteCluster]:
        """All clusters that are attached; each is looked at again."""
        call = Call(method="GET", target="/v1/cluster?what=remote", headers={"Accept": "application/json"})
        with closing(self._client.open(call)) as answer:
            data = answer.read()
        try:
            return msgspec.json.decode(data, type=_Told, strict=False).clusters
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NodeFailed(f"what answers at {self._client.endpoint} is not a node", status=200) from error

    def _put(self, verb: str, headers: dict[str, str]) -> None:
        self._client.open(
            Call(method="PUT", target=f"/v1/cluster/{verb}?what=remote", headers=headers)
        ).close()
