import asyncio
import socket

import pycurl
import pytest

from aisle.errors import EgressDenied
from aisle.rules.egress import EgressPolicy
from aisle.transfer.guard import EgressGuard


def opened(guard: EgressGuard, address: tuple[object, ...]) -> tuple[object, list[str]]:
    reasons: list[str] = []
    result = guard.open_socket(address, reasons.append)
    if isinstance(result, socket.socket):
        result.close()
    return result, reasons


PUBLIC = (socket.AF_INET, socket.SOCK_STREAM, 6, ("93.184.216.34", 80))
LOOPBACK = (socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", 80))
MAPPED = (socket.AF_INET6, socket.SOCK_STREAM, 6, ("::ffff:127.0.0.1", 80, 0, 0))
UNIX = (socket.AF_UNIX, socket.SOCK_STREAM, 0, b"/run/docker.sock")


def test_a_public_address_gets_a_socket_of_its_family() -> None:
    result, reasons = opened(EgressGuard(EgressPolicy()), PUBLIC)
    assert isinstance(result, socket.socket)
    assert result.family == socket.AF_INET
    assert reasons == []


@pytest.mark.parametrize("address", [LOOPBACK, MAPPED, UNIX])
def test_a_refused_address_gets_none(address: tuple[object, ...]) -> None:
    result, reasons = opened(EgressGuard(EgressPolicy()), address)
    assert result == pycurl.SOCKET_BAD
    assert len(reasons) == 1


def test_the_proxys_own_address_is_not_in_question() -> None:
    result, reasons = opened(EgressGuard(EgressPolicy(), proxy="http://127.0.0.1:80"), LOOPBACK)
    assert isinstance(result, socket.socket)
    assert reasons == []


@pytest.mark.parametrize(
    "link", ["http://127.0.0.1/x", "http://[::1]/x", "http://2130706433/x", "http://127.1:80/"]
)
def test_what_a_proxy_would_reach_is_checked(link: str) -> None:
    guard = EgressGuard(EgressPolicy(), proxy="http://192.0.2.1:80")
    with pytest.raises(EgressDenied):
        asyncio.run(guard.check_link(link))
