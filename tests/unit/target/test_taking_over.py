"""Cold reads that follow another process, and go on where it ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import Capabilities, RemoteObject, RemoteRead
from aisle.errors import SourceChanged, SourceUnreachable
from aisle.model.bucket import BucketInfo, BucketProperties
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes, Inline, Record
from aisle.rules.remote_metadata import attributes_of
from aisle.storage.memory import MemoryDraft, MemoryEngine
from aisle.target import cold
from aisle.target.cold import ColdReads
from aisle.target.fetch import Fetch
from aisle.target.following import HolderGone, HolderHangs

CONTENT = bytes(range(256)) * 2000
HALF = len(CONTENT) // 2
INFO = BucketInfo(Bucket("data", "aws", ""), 7, BucketProperties(provider="aws"))
NAME = ObjectName(INFO.number, b"k")

Follow = Callable[["Sharing", Fetch], None]


class Account(MemoryProvider):
    """An account that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(["data"])
        self.asked: list[tuple[int, str]] = []

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        self.asked.append((offset, etag))
        return await super().get(bucket, key, offset=offset, length=length, etag=etag)

    async def write(self, content: bytes) -> RemoteObject:
        async def once() -> AsyncIterator[bytes]:
            yield content

        return await self.put("data", "k", once(), RemoteObject("k", len(content)))


class Sharing:
    """Another process that has the claim, does as the test says, and is gone then."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self.is_held = True
        self.is_open = True
        self.epoch = 1
        self.released: list[Fetch] = []

    def place(self, _name: ObjectName) -> int:
        return self.epoch

    def outdate(self, _name: ObjectName) -> None:
        self.epoch += 1

    def take(self, _fetch: Fetch, _name: ObjectName) -> bool:
        return not self.is_held

    def release(self, fetch: Fetch) -> None:
        self.released.append(fetch)

    async def follow(self, fetch: Fetch, _name: ObjectName) -> bool:
        self._follow(self, fetch)
        self.is_held = False
        raise HolderGone


class Scene:
    """One process with its engine and its account."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, follow: Follow) -> None:
        self.sharing = Sharing(follow)
        monkeypatch.setattr(cold, "shared_fetches", lambda: self.sharing)
        self.account = Account()
        self.engine = MemoryEngine(lambda: 1_000)
        self.reads = ColdReads(self.engine, lambda _: self.account)

    async def read(self) -> bytes:
        fetch = self.reads.begin(INFO, b"k")
        await asyncio.shield(fetch.opened)
        content = b"".join([chunk async for chunk in fetch.read()])
        await asyncio.shield(fetch.ended)
        return content

    def kept(self) -> bytes | None:
        stored = self.engine.open(NAME)
        return stored.inline if stored else None


def half(about: RemoteObject) -> Follow:
    """Told of the object and sent the first half."""

    def follow(_sharing: Sharing, fetch: Fetch) -> None:
        fetch.begin(about, MemoryDraft(b"g" * 16, None))  # type: ignore[arg-type]
        fetch.take(CONTENT[:1000])
        fetch.take(CONTENT[1000:HALF])

    return follow


def run(monkeypatch: pytest.MonkeyPatch, story: Callable[[Scene, RemoteObject], Any], **about: Any) -> None:
    async def scenario() -> None:
        scene = Scene(monkeypatch, lambda sharing, fetch: None)
        await scene.engine.open_bucket(INFO.number)
        told = (await scene.account.write(CONTENT))._replace(**about)
        scene.sharing._follow = half(told)
        await story(scene, told)

    asyncio.run(scenario())


def test_it_goes_on_behind_what_it_has_if_the_object_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, told: RemoteObject) -> None:
        assert await scene.read() == CONTENT
        assert scene.account.asked == [(HALF, told.etag)]
        assert scene.kept() == CONTENT
        assert len(scene.sharing.released) == 1

    run(monkeypatch, story)


def test_it_begins_anew_where_nothing_had_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        scene.sharing._follow = lambda sharing, fetch: None
        assert await scene.read() == CONTENT
        assert scene.account.asked == [(0, "")]
        assert scene.kept() == CONTENT

    run(monkeypatch, story)


def test_an_object_that_changed_is_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        await scene.account.write(CONTENT[::-1])
        with pytest.raises(SourceChanged):
            await scene.read()
        assert scene.kept() is None
        scene.sharing._follow = lambda sharing, fetch: None
        assert await scene.read() == CONTENT[::-1]

    run(monkeypatch, story)


def test_what_has_no_entity_tag_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        with pytest.raises(SourceUnreachable):
            await scene.read()
        assert scene.account.asked == []
        assert scene.kept() is None

    run(monkeypatch, story, etag="")


def test_a_source_without_ranges_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        scene.account.capabilities = Capabilities(ranges=False)  # type: ignore[misc]
        with pytest.raises(SourceUnreachable):
            await scene.read()

    run(monkeypatch, story)


def test_all_that_had_come_is_checked_and_kept_without_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, told: RemoteObject) -> None:
        def whole(_sharing: Sharing, fetch: Fetch) -> None:
            fetch.begin(told, MemoryDraft(b"g" * 16, None))  # type: ignore[arg-type]
            fetch.take(CONTENT)

        scene.sharing._follow = whole
        assert await scene.read() == CONTENT
        assert scene.account.asked == []
        assert scene.kept() == CONTENT

    run(monkeypatch, story)


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure", "oci", "ht", "ais"])
def test_what_is_kept_tells_what_its_source_told(provider: str) -> None:
    about = RemoteObject(
        "k",
        3,
        version="7",
        etag="an-entity-tag",
        modified_ns=1_700_000_000_000_000_000,
        digests={"md5": "0" * 32, "crc32c": "1" * 8},
        custom={"colour": "red"},
        content_type="text/x",
        fields={"cache-control": "no-store"},
    )
    attributes = attributes_of(about, provider, {"crc32c": "1" * 8})
    record = Record(3, about.modified_ns, attributes, b"g" * 16, 1, Inline(1, b"x" * 8))
    assert cold._told_by("k", record) == about
    assert attributes_of(cold._told_by("k", record), provider, {}) == attributes


def test_what_another_process_has_kept_meanwhile_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        def keep(_sharing: Sharing, _fetch: Fetch) -> None:
            draft = scene.engine.draft(NAME)
            draft.write(CONTENT)
            draft.finish()
            scene.engine.commit(NAME, draft, Attributes(custom={"ETag": "e", "version": "3", "a": "b"}))

        scene.sharing._follow = keep
        fetch = scene.reads.begin(INFO, b"k")
        await asyncio.shield(fetch.opened)
        assert b"".join([chunk async for chunk in fetch.read()]) == CONTENT
        assert (fetch.about.etag, fetch.about.version, fetch.about.custom) == ("e", "3", {"a": "b"})
        assert scene.account.asked == []

    run(monkeypatch, story)


def test_a_holder_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        def hang(_sharing: Sharing, _fetch: Fetch) -> None:
            raise HolderHangs

        scene.sharing._follow = hang
        assert await scene.read() == CONTENT
        assert scene.account.asked == [(0, "")]
        assert scene.sharing.released == []

    run(monkeypatch, story)


def test_what_is_out_of_date_at_the_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene, _told: RemoteObject) -> None:
        scene.sharing.is_held = False
        fetch = scene.reads.begin(INFO, b"k")
        scene.sharing.outdate(NAME)  # by another process
        await asyncio.shield(fetch.opened)
        assert scene.reads.running(INFO, b"k") is None
        again = scene.reads.begin(INFO, b"k")
        assert again is not fetch
        assert b"".join([chunk async for chunk in fetch.read()]) == CONTENT
        assert await asyncio.shield(fetch.ended) is None
        assert await asyncio.shield(again.ended) is not None

    run(monkeypatch, story)
