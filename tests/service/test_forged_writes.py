"""What writes do that are signed for the source of a bucket, before that source has accepted them: nothing.

Whoever knows a bucket's name can send such a write; the signature is for the source to check.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from aisle.api.gate import authorize
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.pass_through import PassThrough
from aisle.api.s3.reading import ReadingOperations
from aisle.api.s3.signed_requests import Reply
from aisle.backends.provider import RemoteObject
from aisle.backends.registry import Providers
from aisle.errors import AisleError, SourceDenied, SourceFailed, SourceUnreachable
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
from support.bulk import until

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


class Failing(Account):
    """An account that may fail when the node asks what it has of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: AisleError | None = None

    async def head(self, bucket: str, key: str) -> RemoteObject:
        if self.failure is not None:
            self.asked.append(f"head {key}")
            raise self.failure
        return await super().head(bucket, key)


class Front:
    """A node with a copy of `k` in a bucket that passes on what is signed for its source."""

    def __init__(self) -> None:
        self.account = Failing()
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
        self.pauses: list[float] = []
        self.passing._unsure._pause = self._pause
        self.account.set("k", b"first")
        assert self.node("GET", url("k")).body == b"first"

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    @property
    def info(self) -> BucketInfo:
        return self.node.buckets.find(Bucket("data", "aws"))

    def rest(self, done: Callable[[], bool]) -> None:
        """Let what goes on in the background go on."""
        self.node.runner.run(until(done))

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


UNSURE: list[Reply | AisleError] = [
    Reply(500, {}),
    Reply(502, {}),
    Reply(504, {}),
    SourceUnreachable("the source dropped the connection"),
]
CHANGES = [("PUT", ""), ("PUT", "tagging"), ("DELETE", "")]


@pytest.mark.parametrize("says", UNSURE, ids=str)
@pytest.mark.parametrize(("method", "subresource"), CHANGES)
def test_a_write_of_unknown_outcome_drops_only_what_has_changed(
    front: Front, says: Reply | AisleError, method: str, subresource: str
) -> None:
    front.source.says = says

    def write() -> None:
        if isinstance(says, AisleError):
            with pytest.raises(SourceUnreachable):
                front(method, Chunks(b"x"), subresource)
        else:
            assert front(method, Chunks(b"x"), subresource).status == says.status

    front.account.asked.clear()
    write()
    assert front.holds()
    assert front.account.asked == ["head k"]
    # The write was done after all: that is found out before its client is answered.
    front.account.set("k", b"second")
    write()
    assert not front.holds()
    assert front.node("GET", url("k")).body == b"second"


@pytest.mark.parametrize("failure", [SourceDenied("no"), SourceFailed("bad")], ids=repr)
@pytest.mark.parametrize("changes", [True, False])
def test_a_copy_is_served_until_its_source_can_be_asked(
    front: Front, failure: AisleError, changes: bool
) -> None:
    front.source.says = Reply(500, {})
    front.account.failure = failure
    for _ in range(3):
        assert front("PUT", Chunks(b"x")).status == 500
    front.rest(lambda: len(front.pauses) > 8)
    assert front.node("GET", url("k")).body == b"first"
    assert front.pauses[:3] == [1.0, 2.0, 4.0]
    assert max(front.pauses) <= 60.0
    if changes:
        front.account.set("k", b"second")
    front.account.failure = None
    front.rest(lambda: not front.passing._unsure._tasks)
    assert front.holds() is not changes
    assert front.node("GET", url("k")).body == (b"second" if changes else b"first")


def test_whoever_goes_away_before_the_source_has_answered_drops_nothing(front: Front) -> None:
    async def leave() -> None:
        began = asyncio.Event()

        async def hang(*_: Any, **__: Any) -> Reply:
            began.set()
            await asyncio.Event().wait()
            raise AssertionError

        front.source.send = hang  # type: ignore[method-assign]
        request = Request("PUT", b"/s3/data/k", b"", {})
        request.body, request.caller = Chunks(b"x"), PASS_THROUGH
        call = S3Call(request, "data", b"k", {}, authorize, front.info)
        operation = Operation("PUT", Level.OBJECT, "", Action.PUT, lambda _: Response())
        task = asyncio.ensure_future(front.passing.answer(operation, call))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    front.node.runner.run(leave())
    assert front.holds()


def test_what_the_source_has_accepted_or_no_more_has_is_dropped(front: Front) -> None:
    front.source.says = Reply(204, {})
    assert front("DELETE", Chunks(b"")).status == 204
    assert not front.holds()
    assert front.node("GET", url("k")).body == b"first"
    front.source.says = Reply(500, {})
    del front.account._buckets["data"]["k"]
    assert front("DELETE", Chunks(b"")).status == 500
    assert not front.holds()
