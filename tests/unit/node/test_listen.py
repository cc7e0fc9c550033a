"""Where a node may listen, decided from what the user wrote."""

import pytest

from aisle.errors import ConfigError, StartError
from aisle.node.listen import Address, is_loopback, parse_address, refuse_strangers, shown_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::1]:0", Address("::1", 0)),
        (":8080", Address("", 8080)),
        (" localhost:1 ", Address("localhost", 1)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8080", "want HOST:PORT"),
        ("127.0.0.1", "want HOST:PORT"),
        ("127.0.0.1:", "want HOST:PORT"),
        ("127.0.0.1:http", "want HOST:PORT"),
        ("127.0.0.1:65536", "want HOST:PORT"),
        ("127.0.0.1:-1", "want HOST:PORT"),
        ("::1:8080", "needs brackets"),
    ],
)
def test_what_is_no_address_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_needs_no_credentials(host: str) -> None:
    assert is_loopback(Address(host, 1))
    refuse_strangers([Address(host, 1)])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1"])
def test_any_other_address_is_refused_with_the_ways_out(host: str) -> None:
    assert not is_loopback(Address(host, 1))
    with pytest.raises(StartError) as caught:
        refuse_strangers([Address("127.0.0.1", 1), Address(host, 1)])
    assert "--insecure" in str(caught.value)
    assert "--listen 127.0.0.1:8080" in str(caught.value)


def test_addresses_are_shown_as_in_urls() -> None:
    assert shown_address("127.0.0.1", 80) == "127.0.0.1:80"
    assert shown_address("::1", 80) == "[::1]:80"
