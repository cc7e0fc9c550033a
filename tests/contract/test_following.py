"""What a process that fetches tells those that follow, over real sockets."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotFound,
    ObjectNotFound,
    OutOfSpace,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)
from aisle.model.names import ObjectName
from aisle.storage.memory import MemoryDraft
from aisle.target import following
from aisle.target.claims import Claims
from aisle.target.fetch import Fetch
from aisle.target.following import HolderGone, HolderHangs, SharedFetches

NAME = ObjectName(3, b"a b%\xc3\xa9")
PIECE = 1024 * 1024
CONTENT = [os.urandom(PIECE) for _ in range(9)]
WHOLE = b"".join(CONTENT)
ABOUT = RemoteObject("k", len(WHOLE), "v", "e", 5, {"md5": "0"}, {"x": "y"}, "text/x")

Story = Callable[["Two"], Coroutine[Any, Any, None]]


class Claimed:
    """The same process holds all claims."""

    def place(self, name: ObjectName) -> int:
        return hash(name)

    def take(self, _place: int) -> bool:
        return True

    def release(self, _place: int) -> None: ...

    def holder(self, _place: int) -> int:
        return os.getpid()


class Two:
    """A fetch, and one that follows it."""

    def __init__(self, folder: Path) -> None:
        claims = cast("Claims", Claimed())
        self.holder = SharedFetches(claims, str(folder))
        self.follower = SharedFetches(claims, str(folder))
        place = self.holder.place(NAME)
        self.fetch, self.mirror = Fetch("s3://b/k", place), Fetch("s3://b/k", place)
        self.path = folder / "draft"
        self.draft = MemoryDraft(b"g" * 16, None)  # type: ignore[arg-type]

    def begin(self) -> None:
        self.fetch.begin(ABOUT, self.draft)

    def bring(self, piece: bytes) -> None:
        """Bytes come from the source, and are in the draft's file at once."""
        with self.path.open("ab") as file:
            file.write(piece)
        self.draft.path = str(self.path)
        self.draft.filed += len(piece)
        self.fetch.take(piece)

    def follow(self) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.follower.follow(self.mirror, NAME))


def run(folder: Path, story: Story) -> None:
    async def scenario() -> None:
        two = Two(folder)
        await two.holder.listen()
        two.holder.take(two.fetch, NAME)
        try:
            await asyncio.wait_for(story(two), 60)
        finally:
            two.holder.close()

    asyncio.run(scenario())


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells what is waited for here
        await asyncio.sleep(0.001)


def test_who_follows_from_the_beginning_gets_everything_as_it_comes(tmp_path: Path) -> None:
    async def story(two: Two) -> None:
        ending = two.follow()
        await asyncio.sleep(0)
        two.begin()
        assert (await asyncio.shield(two.mirror.opened)) == ABOUT
        reading = asyncio.create_task(gathered(two.mirror.read()))
        for number, piece in enumerate(CONTENT, 1):
            two.bring(piece)
            await until(lambda number=number: two.mirror.received == number * PIECE)  # type: ignore[misc]
        await asyncio.sleep(0.01)
        assert not reading.done()
        two.fetch.check()
        assert await reading == WHOLE
        assert not ending.done()
        two.fetch.end(None)
        assert await ending is False

    run(tmp_path, story)


def test_who_comes_late_finds_the_beginning_in_the_file(tmp_path: Path) -> None:
    async def story(two: Two) -> None:
        two.begin()
        for piece in CONTENT[:-1]:
            two.bring(piece)
        ending = two.follow()
        await asyncio.shield(two.mirror.opened)
        reading = asyncio.create_task(gathered(two.mirror.read()))
        await until(lambda: two.mirror.received == 8 * PIECE)
        two.fetch.take(CONTENT[-1])
        two.fetch.check()
        assert await reading == WHOLE
        two.fetch.end(None)
        assert await ending is False

    run(tmp_path, story)


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_beginning_that_cannot_be_had_is_no_reason_to_follow(tmp_path: Path, *, is_gone: bool) -> None:
    async def story(two: Two) -> None:
        two.begin()
        for piece in CONTENT[:-1]:
            two.bring(piece)
        if is_gone:
            two.path.unlink()
        else:
            two.draft.filed = PIECE  # as of one who has taken over, and writes it down again
        with pytest.raises(HolderGone):
            await two.follow()
        assert two.mirror.received == 0

    run(tmp_path, story)


@pytest.mark.parametrize("have", [0, 1, PIECE, 5 * PIECE + 7, len(WHOLE)])
def test_what_a_follower_has_already_is_not_taken_twice(tmp_path: Path, have: int) -> None:
    async def story(two: Two) -> None:
        two.mirror.begin(ABOUT, MemoryDraft(b"h" * 16, None))  # type: ignore[arg-type]
        if have:
            two.mirror.take(WHOLE[:have])
        reading = asyncio.create_task(gathered(two.mirror.read()))
        two.begin()
        for piece in CONTENT[:3]:
            two.bring(piece)
        ending = two.follow()
        await until(lambda: two.mirror.received >= 3 * PIECE)
        for piece in CONTENT[3:]:
            two.bring(piece)
        two.fetch.check()
        assert await reading == WHOLE
        two.fetch.end(None)
        assert await ending is False

    run(tmp_path, story)


def test_another_object_under_the_same_name_is_no_continuation(tmp_path: Path) -> None:
    async def story(two: Two) -> None:
        two.mirror.begin(ABOUT._replace(etag="older"), MemoryDraft(b"h" * 16, None))  # type: ignore[arg-type]
        two.mirror.take(WHOLE[:100])
        two.begin()
        with pytest.raises(SourceChanged):
            await two.follow()

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (SourceFailed("a", status=500), SourceFailed("a", status=500)),
        (
            SourceThrottled("a", status=503, retry_after_s=2.0),
            SourceThrottled("a", status=503, retry_after_s=2.0),
        ),
        (SourceUnreachable("a"), SourceUnreachable("a")),
        (SourceChanged("a"), SourceChanged("a")),
        (SourceDenied("a"), SourceDenied("a")),
        (OutOfSpace("a"), OutOfSpace("a")),
        (ObjectNotFound("s3://b/k"), ObjectNotFound("s3://b/k")),
        (BucketNotFound("s3://b"), BucketNotFound("s3://b/k")),
        (BadRequest("a"), SourceFailed("a")),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_failure_is_the_same_for_who_follows(
    tmp_path: Path, error: AisleError, seen: AisleError, *, begun: bool
) -> None:
    async def story(two: Two) -> None:
        ending = two.follow()
        if begun:
            two.begin()
            await asyncio.shield(two.mirror.opened)
        else:
            await until(lambda: bool(two.fetch._watchers))
        two.fetch.fail(error)
        with pytest.raises(type(seen)) as caught:
            await ending
        assert type(caught.value) is type(seen)
        assert (str(caught.value), vars(caught.value)) == (str(seen), vars(seen))

    run(tmp_path, story)


def test_a_holder_that_leaves_has_not_failed(tmp_path: Path) -> None:
    async def story(two: Two) -> None:
        ending = two.follow()
        two.begin()
        await asyncio.shield(two.mirror.opened)
        two.fetch.leave()
        with pytest.raises(HolderGone):
            await ending
        assert not two.mirror.ended.done()
        two.holder.release(two.fetch)
        with pytest.raises(HolderGone):
            await two.follow()
        two.holder.close()
        with pytest.raises(HolderGone):
            await two.follow()

    run(tmp_path, story)


def test_another_object_at_the_same_place_is_not_followed(tmp_path: Path) -> None:
    async def story(two: Two) -> None:
        two.begin()
        two.bring(CONTENT[0])
        for other in (ObjectName(3, b"another"), ObjectName(4, NAME.key)):
            with pytest.raises(HolderGone):
                await two.follower.follow(two.mirror, other)
        assert two.mirror.received == 0

    run(tmp_path, story)


def test_a_holder_that_says_nothing_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SILENCE_S", 0.05)

    async def story(two: Two) -> None:
        with pytest.raises(HolderHangs):
            await two.follow()

    run(tmp_path, story)


def test_a_holder_that_waits_says_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BEAT_S", 0.01)

    async def story(two: Two) -> None:
        heard = asyncio.Event()
        apply = following._apply

        def noted(*how: Any) -> None:
            heard.set()
            apply(*how)

        monkeypatch.setattr(following, "_apply", noted)
        ending = two.follow()
        await heard.wait()
        assert not ending.done()
        two.fetch.fail(SourceUnreachable("gone"))
        with pytest.raises(SourceUnreachable):
            await ending

    run(tmp_path, story)


def test_a_follower_that_takes_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "UNSENT_BYTES_MAX", PIECE)

    async def story(two: Two) -> None:
        two.begin()
        hindered = asyncio.Event()
        receive = following._receive

        async def slowly(reader: asyncio.StreamReader) -> Any:
            await hindered.wait()
            return await receive(reader)

        monkeypatch.setattr(following, "_receive", slowly)
        ending = two.follow()
        await until(lambda: bool(two.fetch._watchers))
        for piece in CONTENT:
            two.bring(piece)
        await until(lambda: not two.fetch._watchers)
        hindered.set()
        with pytest.raises(HolderGone):
            await ending
        # It comes back for the rest.
        monkeypatch.undo()
        ending = two.follow()
        await until(lambda: two.mirror.received == len(WHOLE))
        two.fetch.check()
        assert await gathered(two.mirror.read()) == WHOLE
        two.fetch.end(None)
        assert await ending is False

    run(tmp_path, story)
