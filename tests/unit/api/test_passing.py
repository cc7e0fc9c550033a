"""What a caller may do whom only the source of a bucket can judge, and what of a request is sent on to it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aisle.api.gate import Action, authorize
from aisle.api.s3.origins import is_at
from aisle.api.s3.signed_requests import Chunks, Reply, fields_passed, passed_on
from aisle.errors import Denied
from aisle.httpd.request import Request
from aisle.model.bucket import BucketInfo, BucketProperties, BucketShape
from aisle.model.names import Bucket
from aisle.model.principal import PASS_THROUGH
from aisle.rules.s3_places import places_of

FEATURE = "512"
PASSING = BucketInfo(Bucket("b", "aws"), 1, BucketProperties(provider="aws", features=FEATURE))
OTHERS = [
    BucketInfo(Bucket("b", "aws"), 1, BucketProperties(provider="aws"), acl="public-read-write"),
    BucketInfo(Bucket("b"), 1, BucketProperties(features=FEATURE), acl="public-read-write"),
    BucketInfo(Bucket("b", "ht"), 1, BucketProperties(provider="ht", features=FEATURE)),
    BucketInfo(Bucket("b", "aws", "@other"), 1, BucketProperties(provider="aws", features=FEATURE)),
    None,
]
OBJECT_ACTIONS = [
    Action.GET,
    Action.HEAD_OBJECT,
    Action.PUT,
    Action.DELETE_OBJECT,
    Action.HEAD_BUCKET,
    Action.LIST_OBJECTS,
]


@pytest.mark.parametrize("action", OBJECT_ACTIONS)
def test_objects_of_such_buckets_are_left_to_their_source(action: Action) -> None:
    authorize(PASS_THROUGH, action, PASSING)
    for bucket in OTHERS:
        with pytest.raises(Denied):
            authorize(PASS_THROUGH, action, bucket)


@pytest.mark.parametrize(
    "action", [one for one in Action if one & ~(Action(0x3FF) & ~Action.PROMOTE & ~Action.MOVE_OBJECT)]
)
def test_all_else_is_denied(action: Action) -> None:
    with pytest.raises(Denied):
        authorize(PASS_THROUGH, action, PASSING)


def test_a_backend_counts_as_the_bucket_behind_it() -> None:
    mirror = BucketProperties(backend_bck=BucketShape("b", "aws"), features=FEATURE)
    authorize(PASS_THROUGH, Action.GET, BucketInfo(Bucket("mirror"), 1, mirror))


def test_what_a_property_closes_stays_closed() -> None:
    closed = BucketProperties(provider="aws", features=FEATURE, access=str(2**64 - 1 - int(Action.PUT)))
    bucket = BucketInfo(Bucket("b", "aws"), 1, closed)
    authorize(PASS_THROUGH, Action.GET, bucket)
    with pytest.raises(Denied):
        authorize(PASS_THROUGH, Action.PUT, bucket)


def test_hosts_name_places() -> None:
    (place, _) = places_of("b", endpoint="https://Store.example:443", region="", has_hosts=True)
    assert is_at(place, "store.example")
    assert is_at(place, "STORE.example:443")
    assert not is_at(place, "store.example:80")
    assert not is_at(place, "b.store.example")
    assert not is_at(place, "store.example.evil.example")


def test_what_is_about_a_connection_ends_with_it() -> None:
    told = {
        "etag": '"x"',
        "connection": "close, x-secret",
        "transfer-encoding": "chunked",
        "content-length": "5",
        "server": "s",
        "x-amz-request-id": "1",
        "x-amz-version-id": "v",
    }
    assert fields_passed(told)[:2] == [("etag", '"x"'), ("x-amz-version-id", "v")]
    assert not {"connection", "server", "x-amz-request-id"} & dict(fields_passed(told)).keys()
    head = passed_on(Reply(200, told), Request("HEAD", b"/s3/b/k"))
    assert (head.length, head.body) == (5, b"")
    unmodified = passed_on(Reply(304, told), Request("HEAD", b"/s3/b/k"))
    assert (unmodified.status, unmodified.length) == (304, None)


def test_an_answer_that_nobody_reads_is_given_back() -> None:
    closed: list[str] = []

    async def never_begun() -> AsyncGenerator[bytes, None]:
        yield b"x"

    async def work() -> list[bytes]:
        await Chunks(never_begun(), lambda: closed.append("unread")).aclose()
        begun = Chunks(never_begun(), lambda: closed.append("read"))
        read = [chunk async for chunk in begun]
        await begun.aclose()
        return read

    assert asyncio.run(work()) == [b"x"]
    assert closed == ["unread", "read"]
