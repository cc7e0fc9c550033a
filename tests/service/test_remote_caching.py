"""How buckets say what is kept of their remote objects, and what is served when a source is down."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemotePage, RemoteRead
from aisle.errors import SourceThrottled, SourceUnreachable
from service.calling import Answer, Native
from service.test_remote import BUCKET, LARGE, Account, settled, url


class Unsteady(Account):
    """An account that can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        self._fail()
        return await super().head_bucket(bucket)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        told = await super().head(bucket, key)
        self._fail()
        return told

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        self._fail()
        return opened

    async def list_objects(self, bucket: str, **how: Any) -> RemotePage:
        self._fail()
        return await MemoryProvider.list_objects(self, bucket, **how)


@pytest.fixture
def account() -> Unsteady:
    return Unsteady()


@pytest.fixture
def native(account: Unsteady) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    yield calling
    calling.close()


def set_properties(native: Native, **changes: Any) -> Answer:
    return native("PATCH", BUCKET, {"action": "set-bprops", "value": changes})


class TestRanges:
    """A read of a part, and the rest of the object."""

    @pytest.mark.parametrize(
        ("fill_ranges", "kept"),
        [(None, True), ("always", True), ("1KiB", False), ("1MiB", True), ("never", False)],
    )
    def test_a_property_decides_whether_it_is_brought(
        self, native: Native, account: Unsteady, fill_ranges: str | None, kept: bool
    ) -> None:
        account.set("a", LARGE)
        native("HEAD", url("a"))
        if fill_ranges is not None:
            assert set_properties(native, cache={"fill_ranges": fill_ranges}).status == 200
        for target in (url("a"), "/s3/data/a"):
            part = native("GET", target, range="bytes=100-1099")
            assert (part.status, part.body) == (206, LARGE[100:1100])
        settled(native)
        assert (native("HEAD", url("a", "&presence=2")).status == 200) is kept
        assert account.asked.count("get a") == (1 if kept else 0)
        # Who reads all of it brings it in any case.
        assert native("GET", url("a")).body == LARGE
        settled(native)
        assert native("HEAD", url("a", "&presence=2")).status == 200

    @pytest.mark.parametrize("wrong", ["", "sometimes", "-1", "4 parsecs"])
    def test_a_wrong_value_is_refused(self, native: Native, account: Unsteady, wrong: str) -> None:
        account.set("a", b"x")
        native("HEAD", url("a"))
        before = native("HEAD", BUCKET).headers["ais-bucket-props"]
        refused = set_properties(native, cache={"fill_ranges": wrong})
        assert (refused.status, "cache.fill_ranges" in refused.body.decode()) == (400, True)
        assert native("HEAD", BUCKET).headers["ais-bucket-props"] == before
        assert '"cache"' not in before


class TestSourceDown:
    """What is here while the source cannot be asked."""

    @pytest.fixture(params=[SourceUnreachable("gone"), SourceThrottled("less", retry_after_s=0.0)])
    def down(self, native: Native, account: Unsteady, request: pytest.FixtureRequest) -> Unsteady:
        account.set("a", b"here")
        account.set("z", b"not here")
        native("GET", url("a"))
        settled(native)
        assert set_properties(native, versioning={"validate_warm_get": True}).status == 200
        account.failure = request.param
        return account

    @pytest.mark.usefixtures("down")
    def test_it_is_an_error_by_default(self, native: Native) -> None:
        for target in (url("a"), "/s3/data/a"):
            assert native("GET", target).status in (502, 503)
        assert native("GET", BUCKET, {"action": "list", "value": {}}).status in (502, 503)
        assert native("GET", "/s3/data").status in (502, 503)

    def test_what_is_here_is_served_where_the_bucket_allows_it(self, native: Native, down: Unsteady) -> None:
        assert set_properties(native, cache={"serve_stale": True}).status == 200
        for method, target in (("GET", url("a")), ("GET", "/s3/data/a"), ("HEAD", "/s3/data/a")):
            answer = native(method, target)
            assert answer.status == 200
            assert answer.body == (b"here" if method == "GET" else b"")
            assert answer.headers["aisle-source"] == "unreachable"
        # Who wants to know what the source has is not told something else, nor what is not here.
        assert native("GET", url("a", "&latest-ver=true")).status in (502, 503)
        assert native("GET", url("z")).status in (502, 503)
        down.failure = None
        later = native("HEAD", url("a"))
        assert "aisle-source" not in later.headers

    @pytest.mark.usefixtures("down")
    def test_a_source_that_was_down_is_not_asked_at_once_again(self, native: Native, down: Unsteady) -> None:
        set_properties(native, cache={"serve_stale": True})
        native("GET", url("a"))
        asked = len(down.asked)
        for _ in range(3):
            assert native("GET", url("a")).body == b"here"
        assert len(down.asked) == asked

    def test_listings_show_what_is_here(self, native: Native, down: Unsteady) -> None:
        failure, down.failure = down.failure, None
        for key in ("b|c", "d%20e", "f"):
            down.set(key, b"x")
            native("GET", url(key.replace("%", "%25").replace("|", "%7C")))
        settled(native)
        assert set_properties(native, cache={"serve_stale": True}).status == 200
        down.failure = failure
        names: list[str] = []
        token = ""
        while True:
            value = {"pagesize": 1, "continuation_token": token}
            page = native("GET", BUCKET, {"action": "list", "value": value})
            assert (page.status, page.headers["aisle-source"]) == (200, "unreachable")
            names += [entry["name"] for entry in page.json()["entries"]]
            token = page.json()["continuation_token"]
            if not token:
                break
        assert names == ["a", "b|c", "d%20e", "f"]
        listed = native("GET", "/s3/data?list-type=2")
        assert (listed.status, listed.headers["aisle-source"]) == (200, "unreachable")
        assert listed.body.decode().count("<Key>") == 4
        down.failure = None
        page = native("GET", BUCKET, {"action": "list", "value": {}})
        assert "aisle-source" not in page.headers
        assert len(page.json()["entries"]) == 5


class TestSourceChanges:
    """An object that becomes another one between two questions."""

    @pytest.mark.parametrize("target", [url("a"), "/s3/data/a"])
    def test_a_range_is_then_one_of_the_newer_object(
        self, native: Native, account: Unsteady, target: str
    ) -> None:
        account.set("a", LARGE)
        native("HEAD", target)
        head = account.head
        changed = False

        async def changing(bucket: str, key: str) -> RemoteObject:
            nonlocal changed
            told = await head(bucket, key)
            if not changed:
                changed = True
                await account.put("data", "a", chunked(LARGE[::-1]), RemoteObject("a", len(LARGE)))
            return told

        account.head = changing  # type: ignore[method-assign]
        part = native("GET", target, range="bytes=0-9")
        assert (part.status, part.body) == (206, LARGE[:-11:-1])
        settled(native)
        assert native("GET", target).body == LARGE[::-1]

    def test_a_range_beside_a_fetch_of_the_older_object(self, native: Native, account: Unsteady) -> None:
        account.set("a", LARGE)

        async def story() -> None:
            account.hold = asyncio.Event()
            reading = asyncio.create_task(native.send("GET", url("a")))
            while "get a" not in account.asked:  # noqa: ASYNC110 - rounds of the event loop, no time
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            await account.put("data", "a", chunked(LARGE[::-1]), RemoteObject("a", len(LARGE)))
            part = asyncio.create_task(native.send("GET", url("a"), range="bytes=400000-400009"))
            for _ in range(50):
                await asyncio.sleep(0)
            account.hold.set()
            assert (await part).body == LARGE[::-1][400_000:400_010]
            assert (await reading).body == LARGE

        native.runner.run(story())
        settled(native)
        assert native("GET", url("a")).body == LARGE[::-1]


async def chunked(content: bytes) -> AsyncIterator[bytes]:
    yield content
