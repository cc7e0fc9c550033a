"""Delayed writes that overlap with what would make them forgotten: nothing that was acknowledged is lost."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.errors import SourceDenied, SourceFailed
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName
from aisle.model.unwritten import is_unwritten
from aisle.target.delayed_queue import DelayedQueue
from service.calling import START_NS, Answer, Native
from service.test_delayed_writes import (
    BUCKET,
    NS_PER_S,
    Account,
    gone,
    listed,
    pending,
    put,
    read,
    record,
    set_policy,
    url,
)

MIRROR = "/v1/buckets/mirror"
OF_MIRROR = "/v1/objects/mirror/k?provider=ais"
DETACHED = {"backend_bck": {"name": "", "provider": ""}}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    assert calling("HEAD", BUCKET).status == 200
    assert set_policy(calling, "delayed").status == 200
    account.asked.clear()
    yield calling
    calling.close()


def first(
    monkeypatch: pytest.MonkeyPatch, method: str, act: Callable[[], Awaitable[object]], on: Any = DelayedQueue
) -> None:
    """Have something happen right before the next call of a method."""
    real, done = getattr(on, method), []

    async def with_it(*given: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            await act()
        return await real(*given, **named)

    monkeypatch.setattr(on, method, with_it)


def mirror(native: Native) -> BucketInfo:
    (found,) = native.buckets.select(name="mirror")
    return found


def changed(native: Native, changes: dict[str, Any]) -> Awaitable[Answer]:
    return native.send("PATCH", MIRROR, {"action": "set-bprops", "value": changes})


class TestChangedBuckets:
    @pytest.mark.parametrize("has_queue", [False, True])
    @pytest.mark.parametrize(
        "changes",
        [DETACHED, {"backend_bck": {"name": "other", "provider": "aws"}}],
        ids=["detached", "another"],
    )
    def test_a_write_never_goes_where_it_was_not_sent(
        self,
        native: Native,
        account: Account,
        monkeypatch: pytest.MonkeyPatch,
        *,
        has_queue: bool,
        changes: dict[str, Any],
    ) -> None:
        account._buckets["other"] = {}
        assert native("POST", MIRROR, {"action": "create-bck"}).status == 200
        delayed = {"write_policy": {"backend": "delayed"}}
        attached = {"backend_bck": {"name": "data", "provider": "aws"}, **delayed}
        assert native.runner.run(changed(native, attached)).status == 200  # type: ignore[arg-type]
        if has_queue:
            assert native("PUT", OF_MIRROR, b"one").status == 200
            native.write_back()

        async def meanwhile() -> None:
            answer = await changed(native, changes)
            assert answer.status == 200, answer.body

        first(monkeypatch, "note_write", meanwhile)
        answer = native("PUT", OF_MIRROR, b"two")
        assert (answer.status, "try again" in answer.error()["message"]) == (503, True)
        info = mirror(native)
        assert not info.queue or not native.engine.counts(info.queue).objects
        assert native("PUT", OF_MIRROR, b"three").status == 200
        native.write_back()
        assert account.read("k") == (b"one" if has_queue else None)
        there = account._buckets["other"].get("k")
        assert there is None if changes is DETACHED else (there is not None and there[1] == b"three")
        assert native("DELETE", MIRROR, {"action": "destroy-bck"}).status == 200


def queued(native: Native) -> BucketInfo:
    (found,) = [info for info in native.buckets.select() if info.queue]
    return found


class TestListing:
    def test_what_is_written_while_the_source_is_asked_is_told(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account.set("again", b"old", at_s=-60)
        account.set("gone", b"old", at_s=-60)
        put(native, "again", b"longer")
        put(native, "new", b"x")
        assert native("DELETE", url("gone")).status == 200
        asked = MemoryProvider.list_objects

        async def slowly(*given: Any, **named: Any) -> Any:
            page = await asked(*given, **named)
            for key in (b"again", b"gone", b"new"):
                await native._delayed.write(queued(native), key)
            return page

        monkeypatch.setattr(account, "list_objects", slowly.__get__(account))
        answer = native("GET", BUCKET, {"action": "list", "value": {"props": "name,size"}}).json()
        told = [(entry["name"], int(entry["size"])) for entry in answer["entries"]]
        assert told == [("again", 6), ("new", 1)]

    @pytest.mark.parametrize("page", [1, 2, 5])
    def test_a_long_queue_is_told_in_pages(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch, page: int
    ) -> None:
        monkeypatch.setattr("aisle.target.delayed_view._SCANNED", 2)
        for folder in "abc":
            for number in range(0, 12, 3):
                account.set(f"{folder}/{number:02}", b"x", at_s=-60)
        for number in range(12):
            put(native, f"b/{number:02}", b"y")
            put(native, f"d/{number:02}", b"y")
        for number in range(6):
            assert native("DELETE", url(f"b/{number:02}")).status == 200
        names = [f"{folder}/{number:02}" for folder in "ac" for number in range(0, 12, 3)]
        names += [f"b/{number:02}" for number in range(6, 12)] + [f"d/{number:02}" for number in range(12)]
        assert listed(native) == sorted(names)

        def paged(query: str, element: str) -> list[str]:
            found: list[str] = []
            token = ""
            for _ in range(100):
                more = f"&continuation-token={quote(token, safe='')}" if token else ""
                body = native("GET", f"/s3/data?list-type=2&max-keys={page}{query}{more}").body.decode()
                found += re.findall(f"<{element}>(?:<Prefix>)?([^<]*)<", body)
                following = re.search("<NextContinuationToken>([^<]*)<", body)
                if following is None:
                    return found
                token = following[1]
            raise AssertionError(f"no end: {found}")

        assert paged("", "Key") == sorted(names)
        assert paged("&delimiter=/", "CommonPrefixes") == ["a/", "b/", "c/", "d/"]


class TestMetadata:
    def test_a_change_on_what_was_just_written_back_does_not_mark_it_again(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(native, "k", b"one")

        async def meanwhile() -> None:
            await native._delayed.write(queued(native), b"k")

        first(monkeypatch, "amend", meanwhile, on=native.engine)
        assert native("PATCH", url("k"), {"action": "", "value": {"colour": "red"}}).status == 200
        attributes = record(native, "k").attributes
        assert (is_unwritten(attributes), pending(native), account.read("k")) == (False, 0, b"one")
        assert (attributes.custom["colour"], attributes.custom["ETag"]) == ("red", account.about("k").etag)

    def test_a_change_in_the_last_moment_stays(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(native, "k", b"one")

        async def meanwhile() -> None:
            message = {"action": "", "value": {"colour": "red"}}
            assert (await native.send("PATCH", url("k"), message)).status == 200

        first(monkeypatch, "amend", meanwhile, on=native.engine)
        native.write_back()
        attributes = record(native, "k").attributes
        assert (is_unwritten(attributes), pending(native), account.read("k")) == (False, 0, b"one")
        assert attributes.custom["colour"] == "red"

    def test_what_gets_its_place_back_does_not_overwrite_what_came_later(
        self, native: Native, account: Account
    ) -> None:
        put(native, "k", b"ours")
        native.runner.run(gone(native, ObjectName(queued(native).queue, b"k")))
        account.set("k", b"theirs", at_s=60)
        native.ticks = itertools.count(START_NS + 3600 * NS_PER_S, 1_000_000)
        native.write_back()
        assert (account.read("k"), read(native, "k"), pending(native)) == (b"theirs", b"ours", 1)


class TestRemoving:
    @pytest.mark.parametrize("is_sent", [False, True])
    def test_a_removal_right_behind_a_write_reaches_the_source(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch, *, is_sent: bool
    ) -> None:
        """The writer settles, and the write perhaps reaches the source, between its note and its removal."""
        account.set("k", b"old", at_s=-60)
        settle = DelayedQueue.settle

        async def settled(queue: DelayedQueue, *given: Any) -> None:
            noted, going = asyncio.Event(), asyncio.Event()

            async def wait() -> None:
                noted.set()
                await going.wait()

            first(monkeypatch, "remove", wait, on=native.engine)
            removing = asyncio.create_task(native.send("DELETE", url("k")))
            await noted.wait()
            await settle(queue, *given)
            if is_sent:
                await native._delayed.write(queued(native), b"k")
            going.set()
            assert (await removing).status == 200

        monkeypatch.setattr(DelayedQueue, "settle", settled)
        assert native("PUT", url("k"), b"new").status == 200
        assert (read(native, "k"), listed(native)) == (None, [])
        monkeypatch.setattr("aisle.target.delayed_writing.GRACE_NS", -1)
        native.write_back()
        assert (account.read("k"), read(native, "k"), pending(native)) == (None, None, 0)

    def test_a_write_that_ends_after_a_removal_stays(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It reaches the source before its writer settles."""
        note = DelayedQueue.note_write

        async def noted(queue: DelayedQueue, *given: Any) -> Any:
            known = await note(queue, *given)
            assert (await native.send("DELETE", url("k"))).status == 200
            return known

        async def sent() -> None:
            await native._delayed.write(queued(native), b"k")
            assert account.read("k") == b"new"

        monkeypatch.setattr(DelayedQueue, "note_write", noted)
        first(monkeypatch, "settle", sent)
        put(native, "k", b"new")
        for _ in range(3):
            native.write_back()
        assert (account.read("k"), read(native, "k"), pending(native)) == (b"new", b"new", 0)

    def test_a_removal_holds_while_what_it_removed_is_sent(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And whoever writes it again dies before that is here."""
        put(native, "k", b"one")

        async def meanwhile() -> None:
            assert (await native.send("DELETE", url("k"))).status == 200
            await native.queue.note_write(queued(native), b"k", b"\0" * 16)

        account.meanwhile = meanwhile
        native.write_back()
        assert (account.read("k"), read(native, "k"), listed(native)) == (b"one", None, [])
        monkeypatch.setattr("aisle.target.delayed_writing.GRACE_NS", -1)
        native.write_back()
        assert (account.read("k"), pending(native)) == (None, 0)


class TestWriting:
    def test_a_write_that_was_given_up_too_early_keeps_its_place(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was noted long ago, and comes while its entry is dropped."""
        monkeypatch.setattr("aisle.target.delayed_writing.GRACE_NS", -1)
        note = DelayedQueue.note_write
        going = asyncio.Event()
        expiring: list[asyncio.Task[Any]] = []

        async def noted(queue: DelayedQueue, *given: Any) -> Any:
            known = await note(queue, *given)
            dropping = asyncio.Event()

            async def wait() -> None:
                dropping.set()
                await going.wait()

            first(monkeypatch, "drop", wait)
            expiring.append(asyncio.create_task(native._delayed.write(queued(native), b"k")))
            await dropping.wait()
            return known

        async def written() -> None:
            assert (await native.send("PUT", url("k"), b"late")).status == 200
            going.set()
            await expiring[0]

        monkeypatch.setattr(DelayedQueue, "note_write", noted)
        native.runner.run(written())
        assert (read(native, "k"), pending(native)) == (b"late", 1)
        native.runner.run(native._delayed.write(queued(native), b"k"))
        assert (account.read("k"), pending(native)) == (b"late", 0)

    @pytest.mark.parametrize(
        "error", [SourceDenied("not that one"), SourceFailed("too long a name", status=400)]
    )
    def test_what_its_source_refuses_stops_no_other(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        keys = [f"{number:02}" for number in range(30)]
        for key in keys:
            put(native, key, b"x")
        send = account.put

        async def refused(bucket: str, key: str, *given: Any, **named: Any) -> Any:
            if key < "20":
                raise error
            return await send(bucket, key, *given, **named)

        monkeypatch.setattr(account, "put", refused)
        native.write_back()
        assert sorted(account._buckets["data"]) == keys[20:]
