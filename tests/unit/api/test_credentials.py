"""A signed request that was right once is right again only word for word, in time, with the same key."""

import sys

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aisle.api.credentials import authenticate
from aisle.errors import ClockSkewed, SignatureMismatch, Unauthenticated, UnknownAccessKey
from aisle.gateway.users import Key
from aisle.httpd.request import Request
from aisle.model.principal import USER, Principal
from aisle.rules.signatures_v4 import read_header

ALICE = Principal("alice", USER, "alice-id")


class Ring:
    """One key, until it is taken away or replaced."""

    accepts_version_2 = True

    def __init__(self, secret: str) -> None:
        self.key: Key | None = Key(secret, ALICE)

    def find(self, access_key: str) -> Key | None:
        return self.key

    def bearer(self, token: str, *, now_s: float) -> Principal:
        raise AssertionError


def signed(path: str = "/bucket/key") -> Request:
    request = AWSRequest(
        "GET", f"http://127.0.0.1:8080{path}", headers={"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
    )
    SigV4Auth(Credentials("key", "secret"), "s3", "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request("GET", path.encode(), b"", {**headers, "host": "127.0.0.1:8080"})


def time_of(request: Request) -> float:
    return read_header(request, request.headers["authorization"]).signed_s


@pytest.fixture
def request_() -> Request:
    return signed()


def test_the_same_again_is_right_again(request_: Request) -> None:
    ring, now_s = Ring("secret"), time_of(request_)
    first = authenticate(request_, ring, now_s=now_s)
    again = Request("GET", b"/bucket/key", b"", dict(request_.headers))
    assert authenticate(again, ring, now_s=now_s + 899) == first
    assert first[0] is ALICE


@pytest.mark.parametrize(
    ("method", "path", "query", "header", "value"),
    [
        ("PUT", b"/bucket/key", b"", "", ""),
        ("GET", b"/bucket/other", b"", "", ""),
        ("GET", b"/bucket/key", b"acl", "", ""),
        ("GET", b"/bucket/key", b"", "host", "127.0.0.1:8081"),
        ("GET", b"/bucket/key", b"", "x-amz-content-sha256", "0" * 64),
        ("GET", b"/bucket/key", b"", "x-amz-acl", "public-read"),
        ("GET", b"/bucket/key", b"", "x-amz-copy-source", "/b/k"),
    ],
)
def test_anything_else_with_the_same_signature_is_not(
    request_: Request, method: str, path: bytes, query: bytes, header: str, value: str
) -> None:
    ring, now_s = Ring("secret"), time_of(request_)
    authenticate(request_, ring, now_s=now_s)
    headers = {**request_.headers, header: value} if header else request_.headers
    with pytest.raises(Unauthenticated):
        authenticate(Request(method, path, query, headers), ring, now_s=now_s)


@pytest.mark.parametrize("more", [0, 10_000])
def test_long_requests_are_not_remembered(request_: Request, more: int) -> None:
    headers = dict(request_.headers) | {"x-unsigned": "x" * more}
    request = Request("GET", b"/bucket/key", b"", headers)
    ring, now_s = Ring("secret"), time_of(request)
    references = sys.getrefcount(headers)
    assert authenticate(request, ring, now_s=now_s)[0] is ALICE
    assert sys.getrefcount(headers) == references + (not more)


def test_the_same_too_late_is_not(request_: Request) -> None:
    ring, now_s = Ring("secret"), time_of(request_)
    authenticate(request_, ring, now_s=now_s)
    for later_s in (now_s + 901, now_s - 901):
        with pytest.raises(ClockSkewed):
            authenticate(request_, ring, now_s=later_s)


def test_the_same_with_a_key_that_is_gone_or_changed_is_not(request_: Request) -> None:
    ring, now_s = Ring("secret"), time_of(request_)
    authenticate(request_, ring, now_s=now_s)
    ring.key = Key("another", ALICE)
    with pytest.raises(SignatureMismatch):
        authenticate(request_, ring, now_s=now_s)
    ring.key = None
    with pytest.raises(UnknownAccessKey):
        authenticate(request_, ring, now_s=now_s)


def test_the_caller_is_who_the_key_belongs_to_now(request_: Request) -> None:
    ring, now_s = Ring("secret"), time_of(request_)
    authenticate(request_, ring, now_s=now_s)
    renamed = Principal("alice", USER, "another-id")
    ring.key = Key("secret", renamed)
    assert authenticate(request_, ring, now_s=now_s)[0] is renamed
