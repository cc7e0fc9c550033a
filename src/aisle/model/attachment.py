"""Attachments: the other clusters whose buckets can be reached through this one."""

from collections.abc import Iterator

import msgspec

from aisle.model.job import Sealed

Json = dict[str, object]


class Attachment(msgspec.Struct, frozen=True):
    """A cluster that is attached under an alias; the metadata store keeps it under `remote/ALIAS`."""

    alias: str
    urls: list[str]
    """Where it was said to be; each may be down as long as another one answers."""
    uuid: str = ""
    """Its own id; empty until it has been reached once."""
    map: Json = {}
    """Its cluster map as it was last seen, in AIStore's form (Smap)."""
    token: Sealed | None = None
    """The bearer token to show it, wrapped."""
    ca_file: str = ""
    """Certificates to trust for it instead of the machine's: a file of the node."""

    @property
    def gateways(self) -> list[str]:
        """URLs that take requests: the attached ones, then those of its map, each once."""
        return list(dict.fromkeys([*self.urls, *_urls(self.map, "pmap", "public_net")]))

    @property
    def targets(self) -> list[str]:
        """URLs to which its gateways may send a request on."""
        nets = ("public_net", "intra_data_net", "intra_control_net")
        return list(dict.fromkeys(url for net in nets for url in _urls(self.map, "tmap", net)))

    @property
    def redirects(self) -> bool:
        """Whether bytes are asked for at other addresses than the gateways'."""
        return not set(_urls(self.map, "tmap", "public_net")) <= set(self.gateways)

    @property
    def version(self) -> int:
        """The version of the map; 0 for none."""
        text = str(self.map.get("version", ""))
        return int(text) if text.isascii() and text.isdigit() else 0


def _urls(document: Json, members: str, net: str) -> Iterator[str]:
    """The addresses of a map's nodes; what does not have its form is left out."""
    nodes = document.get(members)
    for node in nodes.values() if isinstance(nodes, dict) else ():
        network = node.get(net) if isinstance(node, dict) else None
        url = network.get("direct_url") if isinstance(network, dict) else None
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            yield url.rstrip("/")


encode_attachment = msgspec.json.Encoder().encode
decode_attachment = msgspec.json.Decoder(Attachment).decode
