import ipaddress

import pytest

from aisle.config import EgressConfig
from aisle.rules.egress import EgressPolicy, carried, egress_policy, kind_of, refusal

STRICT = EgressPolicy()
NEAR = EgressPolicy(allow_loopback=True, allow_private=True)

KINDS = {
    "8.8.8.8": "public",
    "1.1.1.1": "public",
    "2606:4700:4700::1111": "public",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "172.32.0.1": "public",
    "192.168.1.1": "private",
    "fc00::1": "private",
    "fdff::1": "private",
    "fec0::1": "private",
    "169.254.0.1": "link-local",
    "fe80::1": "link-local",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "168.63.129.16": "metadata",
    "100.100.100.200": "metadata",
    "fd00:ec2::254": "metadata",
    "fd00:c1::a9fe:a9fe": "metadata",
    "fd00:42::42": "metadata",
    "fd00:a9fe:a9fe::1": "metadata",
    "fd00:100::100:200": "metadata",
    "100.64.0.1": "shared",
    "100.127.255.255": "shared",
    "100.128.0.1": "public",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "ff02::1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "192.0.0.8": "reserved",
    "198.18.0.1": "reserved",
    "203.0.113.7": "reserved",
    "2001:db8::1": "reserved",
    "2002:7f00:1::": "tunnel",
    "2001:0:53aa:64c::1": "tunnel",
    "64:ff9b:1::1": "tunnel",
}
DISGUISED = {
    "::ffff:127.0.0.1": "127.0.0.1",
    "::ffff:10.0.0.1": "10.0.0.1",
    "::ffff:a9fe:a9fe": "169.254.169.254",
    "::127.0.0.1": "127.0.0.1",
    "64:ff9b::127.0.0.1": "127.0.0.1",
    "64:ff9b::a9fe:a9fe": "169.254.169.254",
    "64:ff9b::8.8.8.8": "8.8.8.8",
    "::1": "::1",
    "::": "::",
    "2606:4700::1": "2606:4700::1",
    "127.0.0.1": "127.0.0.1",
}


@pytest.mark.parametrize(("address", "kind"), KINDS.items())
def test_an_address_is_of_this_kind(address: str, kind: str) -> None:
    assert kind_of(ipaddress.ip_address(address)) == kind


@pytest.mark.parametrize(("address", "inside"), DISGUISED.items())
def test_an_address_may_carry_another(address: str, inside: str) -> None:
    assert carried(ipaddress.ip_address(address)) == ipaddress.ip_address(inside)


@pytest.mark.parametrize(
    ("address", "kind"), [*KINDS.items(), *((a, KINDS.get(b)) for a, b in DISGUISED.items())]
)
def test_only_public_addresses_pass_a_strict_guard(address: str, kind: str | None) -> None:
    assert (refusal(address, STRICT) is None) == (kind in ("public", None))


@pytest.mark.parametrize(("address", "kind"), KINDS.items())
def test_a_node_on_loopback_reaches_what_is_near_and_nothing_else_special(address: str, kind: str) -> None:
    assert (refusal(address, NEAR) is None) == (kind in ("public", "loopback", "private"))


def test_disguises_of_loopback_pass_where_loopback_does() -> None:
    assert refusal("::ffff:127.0.0.1", NEAR) is None
    assert refusal("::ffff:127.0.0.1", STRICT) is not None


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "2130706433", "0x7f.1", "1.2.3.4.5", "/run/x.sock"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert "not an IP address" in str(refusal(text, NEAR))


def test_a_zone_does_not_hide_an_address() -> None:
    assert "link-local" in str(refusal("fe80::1%eth0", STRICT))


def test_listed_networks_are_allowed_in_any_form() -> None:
    policy = egress_policy(
        EgressConfig(allow=("169.254.169.254/32", "100.64.0.0/10", "64:ff9b:1::/48")),
        listens_on_loopback_only=False,
    )
    assert refusal("169.254.169.254", policy) is None
    assert refusal("::ffff:169.254.169.254", policy) is None
    assert refusal("169.254.169.253", policy) is not None
    assert refusal("100.100.1.1", policy) is None
    assert refusal("64:ff9b:1::5", policy) is None
    assert refusal("10.0.0.1", policy) is not None


@pytest.mark.parametrize(
    ("config", "on_loopback", "loopback", "private"),
    [
        (EgressConfig(), True, True, True),
        (EgressConfig(), False, False, False),
        (EgressConfig(allow_private=True), False, False, True),
        (EgressConfig(allow_loopback=True), False, True, False),
    ],
)
def test_where_the_node_listens_decides_unless_the_settings_do(
    config: EgressConfig, on_loopback: bool, loopback: bool, private: bool
) -> None:
    policy = egress_policy(config, listens_on_loopback_only=on_loopback)
    assert (policy.allow_loopback, policy.allow_private) == (loopback, private)


def test_a_refusal_says_how_to_allow() -> None:
    assert "set egress.allow_private = true, or list" in str(refusal("10.0.0.5", STRICT))
    assert '"10.0.0.5/32"' in str(refusal("10.0.0.5", STRICT))
    assert "set egress.allow_loopback = true" in str(refusal("::1", STRICT))
    assert 'egress.allow (for example "169.254.169.254/32")' in str(refusal("::ffff:169.254.169.254", NEAR))
    assert "allow_private" not in str(refusal("169.254.169.254", NEAR))
