"""Attachments: the other clusters whose buckets can be reached through this one."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

from aisle.model.job import Sealed

Json = dict[str, object]

CLUSTER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a cluster may call itself: it becomes a part of buckets' names and of keys of documents."""


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
        return list(dict.fromkeys([*self.urls, *self._told("pmap", "public_net")]))

    @property
    def targets(self) -> list[str]:
        """URLs to which its gateways may send a request on."""
        nets = ("public_net", "intra_data_net", "intra_control_net")
        return list(dict.fromkeys(url for net in nets for url in self._told("tmap", net)))

    @property
    def redirects(self) -> bool:
        """Whether bytes are asked for at other addresses than the gateways'."""
        return not set(self._told("tmap", "public_net")) <= set(self.gateways)

    def _told(self, members: str, net: str) -> Iterator[str]:
        """Addresses of its map, but for those that are not its own to give.

        A cluster that is reached over TLS sends nobody to where there is none, and one that is elsewhere
        sends nobody to this machine.
        """
        is_secure = all(url.startswith("https://") for url in self.urls)
        is_here = any(map(_leads_here, self.urls))
        for url in _urls(self.map, members, net):
            if (url.startswith("https://") or not is_secure) and (is_here or not _leads_here(url)):
                yield url

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


def _leads_here(url: str) -> bool:
    """Whether an address is one of the machine itself, or of its own link."""
    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ip_address(host)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


encode_attachment = msgspec.json.Encoder().encode
decode_attachment = msgspec.json.Decoder(Attachment).decode
