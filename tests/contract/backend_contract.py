"""The promises of BackendProvider, kept by every implementation.

A subclass gives the `provider` fixture; all of a test runs in one event loop.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from aisle.backends.provider import BackendProvider, RemoteObject, RemotePage, WriteCondition
from aisle.errors import BucketExists, ConditionFailed, NotFound, ObjectNotFound, SourceChanged

BUCKET = "data"

Result = TypeVar("Result")

_runners: list[asyncio.Runner] = []


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Let work of the present test be done, in the test's event loop."""
    return _runners[-1].run(work)


@pytest.fixture(autouse=True)
def event_loop() -> Iterator[None]:
    """One event loop for each test."""
    with asyncio.Runner() as runner:
        _runners.append(runner)
        yield
        _runners.pop()


async def chunked(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def put(provider: BackendProvider, key: str, content: bytes = b"x", **about: object) -> RemoteObject:
    return await provider.put(BUCKET, key, chunked(content), RemoteObject(key, len(content), **about))  # type: ignore[arg-type]


async def read(provider: BackendProvider, key: str) -> bytes:
    opened = await provider.get(BUCKET, key)
    return b"".join([chunk async for chunk in opened.chunks])


async def pages(provider: BackendProvider, limit: int, prefix: str = "") -> list[RemotePage]:
    found, token = [], ""
    while True:
        found.append(await provider.list_objects(BUCKET, prefix=prefix, token=token, limit=limit))
        token = found[-1].token
        if not token:
            return found


class ReadingContract:
    """Subclass it with a `provider` fixture that has one empty bucket, `data`."""

    keys: tuple[str, ...] = ("b", "a/1", "a/2", "a", "ä", "z", "\U0001f600", "a//x")
    """Names that the source can have all at once."""
    has_names_of_folders = True
    """Whether there can be an object whose name ends with a slash."""

    async def store(self, provider: BackendProvider, key: str, content: bytes = b"x") -> None:
        """Let the source have an object; through the provider, or behind its back where it is read-only."""
        await put(provider, key, content)

    def test_an_empty_object_is_an_object(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await self.store(provider, "empty", b"")
            assert (await provider.head(BUCKET, "empty")).size == 0
            assert await read(provider, "empty") == b""

        run(scenario())

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [(0, 3, b"012"), (3, 4, b"3456"), (8, 100, b"89"), (4, None, b"456789"), (0, 0, b"")],
    )
    def test_a_span_is_read_alone(
        self, provider: BackendProvider, offset: int, length: int | None, expected: bytes
    ) -> None:
        async def scenario() -> bytes:
            await self.store(provider, "digits", b"0123456789")
            opened = await provider.get(BUCKET, "digits", offset=offset, length=length)
            assert opened.about.size == 10
            return b"".join([chunk async for chunk in opened.chunks])

        assert run(scenario()) == expected

    def test_a_listing_begins_behind_a_name_that_need_not_exist(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            for key in ("a", "c/1", "c/2", "d"):
                await self.store(provider, key)
            page = await provider.list_objects(BUCKET, after="b")
            assert [about.key for about in page.objects] == ["c/1", "c/2", "d"]
            page = await provider.list_objects(BUCKET, after="c/", delimiter="/")
            assert ([about.key for about in page.objects], page.prefixes) == (["d"], [])

        run(scenario())

    @pytest.mark.parametrize("after", ["c/", "c/d/"])
    def test_a_listing_that_begins_behind_its_prefix_or_above_it_is_whole(
        self, provider: BackendProvider, after: str
    ) -> None:
        async def scenario() -> None:
            for key in ("a", "c/d/1", "c/d/e/2", "c/d/f", "d"):
                await self.store(provider, key)
            page = await provider.list_objects(BUCKET, prefix="c/d/", after=after, delimiter="/")
            assert [about.key for about in page.objects] == ["c/d/1", "c/d/f"]
            assert page.prefixes == ["c/d/e/"]

        run(scenario())

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_pages_hold_every_key_once_in_byte_order(self, provider: BackendProvider, limit: int) -> None:

        async def scenario() -> None:
            for key in self.keys:
                await self.store(provider, key)
            found = await pages(provider, limit)
            assert all(len(page.objects) <= limit for page in found)
            listed = [about.key for page in found for about in page.objects]
            assert listed == sorted(self.keys, key=str.encode)
            below = [about.key for page in await pages(provider, limit, "a/") for about in page.objects]
            assert below == sorted(key for key in self.keys if key.startswith("a/"))

        run(scenario())

    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_names_are_folded_at_a_delimiter(self, provider: BackendProvider, limit: int) -> None:
        async def scenario() -> None:
            folder = ["d/"] if self.has_names_of_folders else []
            for key in ("a", *folder, "d/1", "d/e/2", "d/e/3", "z"):
                await self.store(provider, key)

            async def all_of(prefix: str) -> tuple[list[str], list[str]]:
                objects, prefixes, token = [], [], ""
                while True:
                    page = await provider.list_objects(
                        BUCKET, prefix=prefix, delimiter="/", limit=limit, token=token
                    )
                    assert len(page.objects) + len(page.prefixes) <= limit
                    objects += [about.key for about in page.objects]
                    prefixes += page.prefixes
                    token = page.token
                    if not token:
                        return objects, prefixes

            assert await all_of("") == (["a", "z"], ["d/"])
            assert await all_of("d/") == ([*folder, "d/1"], ["d/e/"])

        run(scenario())

    def test_a_read_may_insist_on_the_object_it_knows(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await self.store(provider, "k", b"one")
            first = await provider.head(BUCKET, "k")
            opened = await provider.get(BUCKET, "k", etag=first.etag)
            assert b"".join([chunk async for chunk in opened.chunks]) == b"one"
            await self.store(provider, "k", b"another")
            with pytest.raises(SourceChanged):
                await provider.get(BUCKET, "k", etag=first.etag)
            with pytest.raises(SourceChanged):
                await provider.get(BUCKET, "k", length=0, etag=first.etag)

        run(scenario())

    def test_what_is_not_there_is_not_read(self, provider: BackendProvider) -> None:
        for call in (
            lambda: provider.head(BUCKET, "nothing"),
            lambda: provider.get(BUCKET, "nothing"),
            lambda: provider.get(BUCKET, "nothing", offset=5, length=3),
        ):
            with pytest.raises(ObjectNotFound):
                run(call())


class BackendProviderContract(ReadingContract):
    """The same for what can be written to."""

    keeps_fields = True
    """Whether what describes the bytes to readers is kept with them."""

    def test_buckets_are_listed_and_known(self, provider: BackendProvider) -> None:
        assert BUCKET in run(provider.buckets())
        run(provider.head_bucket(BUCKET))

    def test_what_is_put_is_read_back_with_what_was_said_about_it(self, provider: BackendProvider) -> None:
        content = bytes(range(256)) * 3000

        async def scenario() -> None:
            written = await put(provider, "a/b c", content, content_type="text/x", custom={"k": "v"})
            about = await provider.head(BUCKET, "a/b c")
            # A write's answer need not tell the time.
            assert about == written._replace(modified_ns=about.modified_ns)
            assert (about.key, about.size, about.content_type) == ("a/b c", len(content), "text/x")
            assert about.custom["k"] == "v"
            assert about.digests["md5"] == hashlib.md5(content).hexdigest()
            assert about.modified_ns > 0
            assert await read(provider, "a/b c") == content

        run(scenario())

    @pytest.mark.parametrize("size", [1000, 20_000_000])
    def test_what_describes_the_bytes_to_readers_goes_with_them(
        self, provider: BackendProvider, size: int
    ) -> None:
        if not self.keeps_fields:
            pytest.skip("the source has no place for it")
        fields = {
            "cache-control": "no-store",
            "content-disposition": 'attachment; filename="a b.csv"',
            "content-encoding": "zstd",
            "content-language": "de, en",
        }

        async def scenario() -> None:
            written = await put(provider, "k", b"x" * size, fields=fields)
            assert written.fields == fields
            assert (await provider.head(BUCKET, "k")).fields == fields
            opened = await provider.get(BUCKET, "k")
            assert opened.about.fields == fields
            assert sum([len(chunk) async for chunk in opened.chunks]) == size

        run(scenario())

    def test_an_overwrite_changes_version_and_content(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            first = await put(provider, "k", b"one")
            second = await put(provider, "k", b"two")
            assert first.version != second.version
            assert first.etag != second.etag
            assert await read(provider, "k") == b"two"

        run(scenario())

    def test_a_write_that_breaks_off_leaves_nothing(self, provider: BackendProvider) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise ConnectionResetError

        async def scenario() -> None:
            with pytest.raises(ConnectionResetError):
                await provider.put(BUCKET, "k", broken(), RemoteObject("k", 10))
            with pytest.raises(NotFound):
                await provider.head(BUCKET, "k")

        run(scenario())

    def test_deleting_removes_and_may_be_repeated(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k")
            await provider.delete(BUCKET, "k")
            await provider.delete(BUCKET, "k")
            with pytest.raises(NotFound):
                await provider.get(BUCKET, "k")

        run(scenario())

    def test_conditions_of_writes_hold(self, provider: BackendProvider) -> None:
        if not provider.capabilities.conditional_writes:
            pytest.skip("this source knows no conditions of writes")

        async def write(content: bytes, only_if: WriteCondition) -> RemoteObject:
            about = RemoteObject("k", len(content))
            return await provider.put(BUCKET, "k", chunked(content), about, only_if=only_if)

        async def scenario() -> None:
            first = await write(b"one", WriteCondition(is_absent=True))
            with pytest.raises(ConditionFailed):
                await write(b"two", WriteCondition(is_absent=True))
            with pytest.raises(ConditionFailed):
                await write(b"two", WriteCondition(etag="another"))
            await write(b"three", WriteCondition(etag=first.etag))
            assert await read(provider, "k") == b"three"

        run(scenario())

    def test_buckets_are_made_and_removed(self, provider: BackendProvider) -> None:
        if not provider.capabilities.creates_buckets:
            pytest.skip("this source makes no buckets")

        async def scenario() -> None:
            await provider.create_bucket("made-here")
            assert "made-here" in await provider.buckets()
            with pytest.raises(BucketExists):
                await provider.create_bucket("made-here")
            await provider.delete_bucket("made-here")
            with pytest.raises(NotFound):
                await provider.head_bucket("made-here")

        run(scenario())

    def test_what_is_not_there_is_not_found(self, provider: BackendProvider) -> None:
        for call in (
            lambda: provider.head_bucket("nothing"),
            lambda: provider.list_objects("nothing"),
            lambda: provider.head(BUCKET, "nothing"),
            lambda: provider.get(BUCKET, "nothing"),
            lambda: provider.delete("nothing", "k"),
        ):
            with pytest.raises(NotFound):
                run(call())
