"""What writes do that are signed for the source of a bucket, before that source has accepted them: nothing.

Whoever knows a bucket's name can send such a write; the signature is for the source to check.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from aisle.api.gate import authorize
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.pass_through import PassThrough
from aisle.api.s3.reading import ReadingOperations
from aisle.api.s3.signed_requests import Reply
from aisle.backends.registry import Providers
from aisle.errors import AisleError
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import Bucket, ObjectName
from aisle.model.principal import PASS_THROUGH, Action
from aisle.rules.eviction import Usage
from aisle.target import room as rooms
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.room import CacheRoom
from aisle.telemetry import COLD_EXPECTED_BYTES, COLD_NOT_KEPT, Telemetry
from service.calling import Chunks, Native
from service.test_remote import Account, url

MIB = 1024 * 1024
HUGE = 5 * 1024**3
DENIED = Reply(403, {}, b"<Error><Code>AccessDenied</Code></Error>")


class Disk:
    """A disk of 1,000 MiB, above its level or below it."""

    used = 900 * MIB

    def mountpath_of(self, _name: ObjectName) -> str:
        return "/mountpath"

    def usage(self, _mountpath: str) -> Usage:
        return Usage(1000 * MIB, self.used)

    def reusable(self, _mountpath: str) -> int:
        return 0


class Announced(Chunks):
    """A body that is said to be long."""

    def __init__(self, pieces: list[bytes | Exception], length: int) -> None:
        super().__init__(pieces)
        self.length = length


class Source:
    """Answers what is sent on to it as it is told to, once it has read the body."""

    def __init__(self) -> None:
        self.says: Reply | AisleError = DENIED
        self.seen: list[int] = []
        self.telemetry = Telemetry.private()

    async def send(self, _call: S3Call, body: AsyncIterator[bytes] | bytes = b"", **_: Any) -> Reply:
        if not isinstance(body, bytes):
            async for _chunk in body:
                self.seen.append(self.telemetry.slots[COLD_EXPECTED_BYTES])
        if isinstance(self.says, AisleError):
            raise self.says
        return self.says


class Front:
    """A node with a copy of `k` in a bucket that passes on what is signed for its source."""

    def __init__(self) -> None:
        self.account = Account()
        self.node = Native(providers={"aws": lambda _: self.account})
        self.source = Source()
        remote = RemoteBuckets(self.node.buckets, Providers({"aws": lambda _: self.account}))
        objects = TargetObjects(self.node.engine)
        passing: Any = self.source
        self.passing = PassThrough(
            passing,
            RemoteObjects(objects, remote.provider, queue=self.node.queue),
            ReadingOperations(objects, self.source.telemetry),
            counters=self.source.telemetry,
        )
        self.account.set("k", b"first")
        assert self.node("GET", url("k")).body == b"first"

    @property
    def info(self) -> BucketInfo:
        return self.node.buckets.find(Bucket("data", "aws"))

    def holds(self) -> bool:
        return self.node.engine.look_up(ObjectName(self.info.number, b"k")) is not None

    def __call__(self, method: str, body: Any, subresource: str = "", **headers: str) -> Response:
        fields: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, b"/s3/data/k", b"", dict(fields))
        request.body, request.caller = body, PASS_THROUGH
        query = {subresource: ""} if subresource else {}
        call = S3Call(request, "data", b"k", query, authorize, self.info)
        operation = Operation(method, Level.OBJECT, subresource, Action.PUT, lambda _: Response())
        return self.node.runner.run(self.passing.answer(operation, call))


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front()
    yield made
    made.node.close()


@pytest.fixture
def disk(front: Front, monkeypatch: pytest.MonkeyPatch) -> Disk:
    full = Disk()
    monkeypatch.setattr(rooms, "_of_this_process", CacheRoom(full, lambda: 95, front.source.telemetry))
    return full


@pytest.mark.parametrize("used", [900 * MIB, 990 * MIB], ids=["room", "full"])
def test_an_announced_length_neither_holds_nor_makes_room(front: Front, disk: Disk, used: int) -> None:
    disk.used = used
    for _ in range(3):
        body = Announced([bytes(MIB), bytes(MIB), bytes(MIB)], HUGE)
        assert front("PUT", body).status == 403
    slots = front.source.telemetry.slots
    assert (slots[COLD_NOT_KEPT], slots[COLD_EXPECTED_BYTES]) == (0, 0)
    assert set(front.source.seen) == {0}
    assert front.holds()


def test_a_write_that_fills_the_disk_is_passed_on_and_not_kept(front: Front, disk: Disk) -> None:
    def filling() -> Iterator[bytes]:
        for _ in range(8):
            disk.used += 20 * MIB  # by others
            yield bytes(MIB)

    front.source.says = Reply(200, {"etag": '"x"'})
    body = Announced([], 8 * MIB)
    body._pieces = filling()
    assert front("PUT", body).status == 200
    assert len(front.source.seen) == 8
    assert front.source.telemetry.slots[COLD_NOT_KEPT] == 0
    assert not front.holds()  # the source has another one now


@pytest.mark.parametrize("subresource", ["", "uploads"])
def test_a_write_that_no_source_takes_is_refused_at_once(front: Front, subresource: str) -> None:
    with pytest.raises(S3Error) as refused:
        front("PUT", Announced([], 2 * HUGE), subresource)
    assert (refused.value.code, front.source.seen) == ("EntityTooLarge", [])
    assert front.holds()
