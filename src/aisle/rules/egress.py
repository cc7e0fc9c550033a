"""The egress guard's decision: which addresses this node may connect to on a user's behalf.

A link is data that somebody else wrote. Without a guard it reaches the machine's own services, the
cloud's metadata service and the private network behind the node. The decision is about the address
that is actually connected to: names lie, and answer differently the second time.

Always refused unless a network is listed in `egress.allow`: the unspecified address (connecting to
it reaches this machine), link-local and metadata addresses, shared, reserved, multicast and
documentation ranges, and tunnels whose far end cannot be told. Addresses that carry an IPv4 address
are judged by it.
"""

import ipaddress
from dataclasses import dataclass

from aisle.config import EgressConfig

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# Metadata services that do not live in a link-local range: each cloud's own documentation names them.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
    )
)
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("shared", ("100.64.0.0/10",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("tunnel", ("2002::/16", "2001::/32", "64:ff9b:1::/48", "192.88.99.0/24")),
    (
        "reserved",
        (
            "192.0.0.0/24",
            "192.0.2.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "100::/64",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
        ),
    ),
)
_RANGES: tuple[tuple[IPNetwork, str], ...] = tuple(
    (ipaddress.ip_network(network), kind) for kind, networks in _KINDS for network in networks
)
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What is allowed beside public addresses, in the form that decisions need."""

    allow: tuple[IPNetwork, ...] = ()
    allow_loopback: bool = False
    allow_private: bool = False


def egress_policy(config: EgressConfig, *, listens_on_loopback_only: bool) -> EgressPolicy:
    """The policy of a node: one that only this machine can reach may itself reach what is near.

    Raises ValueError when `config.allow` holds something that is not a network.
    """
    return EgressPolicy(
        tuple(ipaddress.ip_network(network, strict=False) for network in config.allow),
        config.allow_loopback or listens_on_loopback_only,
        config.allow_private or listens_on_loopback_only,
    )


def refusal(address: str, policy: EgressPolicy) -> str | None:
    """Why `address` (numeric) must not be connected to, or None if it may be.

    The message says how to allow it.
    """
    try:
        asked = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"egress to {address!r} is refused: not an IP address"
    real = carried(asked)
    if any(candidate in network for network in policy.allow for candidate in {asked, real}):
        return None
    kind = kind_of(real)
    if kind == "public" or (kind == "loopback" and policy.allow_loopback):
        return None
    if kind == "private" and policy.allow_private:
        return None
    return f"egress to {address} ({kind} address) is refused: {_how_to_allow(kind, real)}"


def kind_of(address: IPAddress) -> str:
    """`public`, `metadata`, or the special range that the address belongs to."""
    if address in _METADATA:
        return "metadata"
    return next((kind for network, kind in _RANGES if address in network), "public")


def carried(address: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv6 address that stands for one, else the address itself.

    IPv4-mapped and -compatible addresses are connected to as IPv4; the well-known NAT64 prefix is
    translated on the way.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    # ::/128 and ::1/128 lie in the IPv4-compatible range but carry no IPv4 address.
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _how_to_allow(kind: str, address: IPAddress) -> str:
    network = f"{address}/{address.max_prefixlen}"
    switch = {"loopback": "egress.allow_loopback = true", "private": "egress.allow_private = true"}.get(kind)
    listed = f'list its network in egress.allow (for example "{network}")'
    return f"set {switch}, or {listed}" if switch else listed
