"""Writing into buckets whose bytes are elsewhere: uploads in parts, appending, copies; over both dialects."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import ALWAYS, RemoteObject, WriteCondition
from aisle.errors import SourceUnreachable
from service.calling import Answer, Native

LARGE = bytes(range(256)) * 2048  # half a MiB
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Account(MemoryProvider):
    """A remote account whose writes can be held up, or fail."""

    def __init__(self) -> None:
        super().__init__(["data", "other"])
        self.puts: list[str] = []
        self.hold: asyncio.Event | None = None
        self.is_asked = asyncio.Event()
        self.is_down = False
        self.slow_answers: dict[bytes, asyncio.Event] = {}
        """By what is written: what its answer waits for, once it is there."""
        self.is_written = asyncio.Event()

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        self.puts.append(key)
        self.is_asked.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.is_down:
            raise SourceUnreachable("nobody answers")
        written = await super().put(bucket, key, chunks, about, only_if=only_if)
        self.is_written.set()
        content = self.read(key, bucket) or b""
        if (slow := self.slow_answers.get(content[:5])) is not None:
            await slow.wait()
        return written

    def set(self, key: str, content: bytes, **about: object) -> RemoteObject:
        async def once() -> AsyncIterator[bytes]:
            yield content

        told = RemoteObject(key, len(content))._replace(**about)
        return asyncio.run(MemoryProvider.put(self, "data", key, once(), told))

    def read(self, key: str, bucket: str = "data") -> bytes | None:
        found = self._buckets[bucket].get(key)
        return found[1] if found else None

    def about(self, key: str, bucket: str = "data") -> RemoteObject:
        return self._buckets[bucket][key][0]


@pytest.fixture
def account() -> Account:
    return Account()


class ReadOnly(Account):
    """A remote account that takes no writes."""

    capabilities = MemoryProvider.capabilities._replace(writes=False)


@pytest.fixture
def reader() -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: ReadOnly()})
    assert calling("HEAD", "/v1/buckets/data?provider=aws").status == 200
    yield calling
    calling.close()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    assert calling("HEAD", "/v1/buckets/data?provider=aws").status == 200
    assert calling("POST", "/v1/buckets/own", {"action": "create-bck"}).status == 200
    yield calling
    calling.close()


def url(key: str, more: str = "") -> str:
    return f"/v1/objects/data/{quote(key)}?provider=aws{more}"


def text(answer: Answer, name: str) -> str:
    found = ElementTree.fromstring(answer.body).findtext(f"{NAMESPACE}{name}")
    assert found is not None, answer.body
    return found


def code(answer: Answer) -> str:
    return ElementTree.fromstring(answer.body or b"<none/>").findtext("Code") or ""


def is_here(native: Native, key: str) -> bool:
    return native("HEAD", url(key, "&presence=2")).status == 200


PATH = "/v1/objects/data/k?provider=aws"


@pytest.mark.parametrize("then", ["PUT", "DELETE"])
@pytest.mark.parametrize("size", [5, 100_000])
def test_what_the_source_took_last_is_not_replaced_by_what_it_took_before(
    native: Native, account: Account, then: str, size: int
) -> None:
    """A write whose answer comes late, as from another worker, and one that overtakes it."""

    async def scenario() -> list[int]:
        account.slow_answers[b"first"] = asyncio.Event()
        slow = asyncio.create_task(native.send("PUT", PATH, b"first".ljust(size, b".")))
        await account.is_written.wait()
        later = await native.send(then, PATH, b"second" if then == "PUT" else b"")
        account.slow_answers[b"first"].set()
        return [later.status, (await slow).status]

    assert native.runner.run(scenario()) == [200, 200]
    there = b"second" if then == "PUT" else None
    assert account.read("k") == there
    got = native("GET", PATH)
    assert (got.status, got.body) == ((200, there) if there else (404, got.body))


class TestUploadsOverS3:
    def begin(self, native: Native, key: str = "k", **headers: str) -> str:
        answer = native("POST", f"/s3/data/{quote(key)}?uploads", **headers)
        assert answer.status == 200, answer.body
        return text(answer, "UploadId")

    def part(self, native: Native, upload: str, number: int, body: bytes, key: str = "k") -> str:
        target = f"/s3/data/{quote(key)}?partNumber={number}&uploadId={upload}"
        answer = native("PUT", target, body)
        assert answer.status == 200, answer.body
        return answer.headers["etag"]

    def document(self, *tags: str) -> bytes:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            for number, tag in enumerate(tags, 1)
        )
        return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()

    @pytest.mark.parametrize("key", ["k", "a b%41//é"])
    def test_the_parts_become_one_object_there_and_here(
        self, native: Native, account: Account, key: str
    ) -> None:
        upload = self.begin(native, key, content_type="text/x", x_amz_meta_colour="red")
        tags = [self.part(native, upload, 1, LARGE, key), self.part(native, upload, 2, b"end", key)]
        listed = native("GET", f"/s3/data/{quote(key)}?uploadId={upload}")
        assert listed.body.count(b"<Part>") == 2
        assert native("GET", "/s3/data?uploads").body.count(b"<Upload>") == 1
        assert account.read(key) is None
        done = native("POST", f"/s3/data/{quote(key)}?uploadId={upload}", self.document(*tags))
        assert done.status == 200, done.body
        assert account.read(key) == LARGE + b"end"
        about = account.about(key)
        assert (about.content_type, dict(about.custom)) == ("text/x", {"colour": "red"})
        md5 = hashlib.md5(LARGE + b"end").hexdigest()
        assert text(done, "ETag") == f'"{md5}"'
        assert is_here(native, key)
        assert native("GET", f"/s3/data/{quote(key)}").body == LARGE + b"end"
        assert native("HEAD", f"/s3/data/{quote(key)}").headers["etag"] == f'"{md5}"'
        assert native("HEAD", url(key)).headers["etag"] == f'"{md5}"'
        # Whoever did not get the answer asks again.
        again = native("POST", f"/s3/data/{quote(key)}?uploadId={upload}", self.document(*tags))
        assert (again.status, again.body) == (200, done.body)
        assert account.puts == [key]

    def test_who_asks_again_meanwhile_follows_the_write_under_way(
        self, native: Native, account: Account
    ) -> None:
        upload = self.begin(native)
        tag = self.part(native, upload, 1, LARGE)
        target = f"/s3/data/k?uploadId={upload}"

        async def scenario() -> None:
            account.hold = asyncio.Event()
            first = asyncio.create_task(native.send("POST", target, self.document(tag)))
            await account.is_asked.wait()
            first.cancel()  # it waits no longer
            second = asyncio.create_task(native.send("POST", target, self.document(tag)))
            for _ in range(20):
                await asyncio.sleep(0)
            account.hold.set()
            assert (await second).status == 200

        native.runner.run(scenario())
        assert account.puts == ["k"]
        assert account.read("k") == LARGE

    def test_a_source_that_is_down_leaves_the_upload_as_it_was(
        self, native: Native, account: Account
    ) -> None:
        upload = self.begin(native)
        tag = self.part(native, upload, 1, b"one")
        account.is_down = True
        assert native("POST", f"/s3/data/k?uploadId={upload}", self.document(tag)).status == 502
        assert not is_here(native, "k")
        account.is_down = False
        assert native("POST", f"/s3/data/k?uploadId={upload}", self.document(tag)).status == 200
        assert account.read("k") == b"one"

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_client_is_kept_waiting_for_a_slow_source(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch, fails: bool
    ) -> None:
        monkeypatch.setattr("aisle.api.s3.patience.PATIENCE_S", 0.0)
        monkeypatch.setattr("aisle.api.s3.patience.INTERVAL_S", 0.0)
        upload = self.begin(native)
        tag = self.part(native, upload, 1, LARGE)

        async def scenario() -> list[bytes]:
            account.hold = asyncio.Event()
            response = await native.ask("POST", f"/s3/data/k?uploadId={upload}", self.document(tag))
            assert response.status == 200
            chunks = response.body.chunks  # type: ignore[union-attr]
            first = [await anext(chunks) for _ in range(3)]
            account.is_down = fails
            account.hold.set()
            return [*first, *[chunk async for chunk in chunks]]

        begun, *waited, document = native.runner.run(scenario())
        assert begun.startswith(b"<?xml")
        assert waited
        assert not b"".join(waited).strip()
        root = ElementTree.fromstring(begun + b"".join(waited) + document)
        assert root.tag == ("Error" if fails else f"{NAMESPACE}CompleteMultipartUploadResult")
        assert (account.read("k") == LARGE) is not fails

    def test_conditions_hold_at_the_source(self, native: Native, account: Account) -> None:
        account.set("k", b"there")
        upload = self.begin(native)
        tag = self.part(native, upload, 1, b"one")
        target = f"/s3/data/k?uploadId={upload}"
        assert native("POST", target, self.document(tag), if_none_match="*").status == 412
        assert account.read("k") == b"there"
        etag = account.about("k").etag
        assert native("POST", target, self.document(tag), if_match=f'"{etag}"').status == 200
        assert account.read("k") == b"one"

    def test_an_upload_can_be_given_up(self, native: Native, account: Account) -> None:
        upload = self.begin(native)
        self.part(native, upload, 1, b"one")
        assert native("DELETE", f"/s3/data/k?uploadId={upload}").status == 204
        assert b"<Upload>" not in native("GET", "/s3/data?uploads").body
        assert account.read("k") is None

    def test_parts_are_copied_from_what_is_not_here(self, native: Native, account: Account) -> None:
        account.set("from", LARGE)
        upload = self.begin(native)
        target = f"/s3/data/k?partNumber=1&uploadId={upload}"
        copied = native("PUT", target, x_amz_copy_source="data/from", x_amz_copy_source_range="bytes=10-19")
        assert copied.status == 200, copied.body
        document = self.document(text(copied, "ETag"))
        assert native("POST", f"/s3/data/k?uploadId={upload}", document).status == 200
        assert account.read("k") == LARGE[10:20]

    def test_what_cannot_be_written_to_says_so(self, reader: Native) -> None:
        upload = self.begin(reader)
        tag = self.part(reader, upload, 1, b"one")
        answer = reader("POST", f"/s3/data/k?uploadId={upload}", self.document(tag))
        assert (answer.status, b"read-only" in answer.body) == (501, True)

    def test_tags_that_the_source_would_not_get_are_refused(self, native: Native, account: Account) -> None:
        answer = native("POST", "/s3/data/k?uploads", x_amz_tagging="a=b")
        assert answer.status == 501
        assert native("PUT", "/s3/data/k", b"x", x_amz_tagging="a=b").status == 501
        assert native("PUT", "/s3/data/k?tagging", b"x").status == 501
        assert account.read("k") is None


class TestNativeUploads:
    def test_the_parts_become_one_object_there_and_here(self, native: Native, account: Account) -> None:
        upload = native("POST", url("k"), {"action": "mpt-upload"}, ais_custom_md="colour=red").body.decode()
        for number, body in ((2, b"end"), (1, LARGE)):
            answer = native("PUT", url("k", f"&uploadId={upload}&partNumber={number}"), body)
            assert answer.status == 200, answer.body
        value = [{"part-number": 1}, {"part-number": 2}]
        done = native("POST", url("k", f"&uploadId={upload}"), {"action": "mpt-complete", "value": value})
        assert done.status == 200, done.body
        assert account.read("k") == LARGE + b"end"
        assert dict(account.about("k").custom) == {"colour": "red"}
        assert is_here(native, "k")
        got = native("GET", url("k"))
        assert got.body == LARGE + b"end"
        md5 = hashlib.md5(LARGE + b"end").hexdigest()
        assert got.headers["etag"] == f'"{md5}"'
        assert f"ETag={md5}" in got.headers["ais-custom-md"]
        assert "colour=red" in got.headers["ais-custom-md"]

    def test_an_upload_can_be_given_up(self, native: Native, account: Account) -> None:
        upload = native("POST", url("k"), {"action": "mpt-upload"}).body.decode()
        native("PUT", url("k", f"&uploadId={upload}&partNumber=1"), b"one")
        assert native("DELETE", url("k", f"&uploadId={upload}"), {"action": "mpt-abort"}).status == 200
        assert account.read("k") is None


class TestAppending:
    def append(self, native: Native, body: bytes, handle: str = "", key: str = "k") -> str:
        more = f"&append_type=append&append_handle={quote(handle)}"
        answer = native("PUT", url(key, more), body)
        assert answer.status == 200, answer.body
        return answer.headers["ais-append-handle"]

    def flush(self, native: Native, handle: str, key: str = "k") -> Answer:
        return native("PUT", url(key, f"&append_type=flush&append_handle={quote(handle)}"))

    def test_what_is_flushed_is_written_through(self, native: Native, account: Account) -> None:
        handle = self.append(native, b"one ")
        handle = self.append(native, LARGE, handle)
        assert account.read("k") is None
        assert self.flush(native, handle).status == 200
        assert account.read("k") == b"one " + LARGE
        assert native("GET", url("k")).body == b"one " + LARGE

    def test_it_begins_with_what_the_source_has_now(self, native: Native, account: Account) -> None:
        account.set("k", b"old ", content_type="text/x", custom={"colour": "red"})
        assert native("GET", url("k")).body == b"old "
        account.set("k", b"new ", content_type="text/x", custom={"colour": "blue"})
        handle = self.append(native, b"and more")
        assert self.flush(native, handle).status == 200
        assert account.read("k") == b"new and more"
        about = account.about("k")
        assert (about.content_type, dict(about.custom)) == ("text/x", {"colour": "blue"})

    def test_a_flush_that_does_not_reach_the_source_can_be_repeated(
        self, native: Native, account: Account
    ) -> None:
        handle = self.append(native, b"one")
        account.is_down = True
        assert self.flush(native, handle).status == 502
        account.is_down = False
        assert self.flush(native, handle).status == 200
        assert account.read("k") == b"one"

    def test_nothing_is_appended_to_what_is_read_only(self, reader: Native) -> None:
        assert reader("PUT", url("k", "&append_type=append"), b"x").status == 501


class TestFields:
    FIELDS: ClassVar = {"cache_control": "max-age=60", "content_encoding": "gzip", "expires": "0"}

    def test_what_readers_are_told_goes_to_the_source_and_comes_from_it(
        self, native: Native, account: Account
    ) -> None:
        assert native("PUT", "/s3/data/k", b"x", **self.FIELDS).status == 200
        assert dict(account.about("k").fields) == {
            name.replace("_", "-"): value for name, value in self.FIELDS.items()
        }
        native("DELETE", url("k"), {"action": "evict-listrange"})
        for _ in ("cold", "warm"):
            for method in ("HEAD", "GET"):
                told = native(method, "/s3/data/k").headers
                for name, value in self.FIELDS.items():
                    assert told[name.replace("_", "-")] == value, (method, name)

    def test_a_storage_class_is_no_part_of_the_object(self, native: Native, account: Account) -> None:
        assert native("PUT", "/s3/data/k", b"x", x_amz_storage_class="STANDARD_IA").status == 200
        assert dict(account.about("k").fields) == {}


class TestRemovingOverS3:
    @pytest.mark.parametrize(
        "meant",
        [
            {"if_match": '"other"'},
            {"x_amz_if_match_size": "7"},
            {"x_amz_if_match_last_modified_time": "Thu, 01 Jan 2015 00:00:00 GMT"},
        ],
        ids=lambda meant: next(iter(meant)),
    )
    def test_what_cannot_be_compared_is_not_removed(
        self, native: Native, account: Account, meant: dict[str, str]
    ) -> None:
        account.set("k", b"there")
        refused = native("DELETE", "/s3/data/k", **meant)
        assert (refused.status, code(refused)) == (501, "NotImplemented")
        assert account.read("k") == b"there"

    def test_another_version_than_the_one_that_there_is_removes_nothing(
        self, native: Native, account: Account
    ) -> None:
        account.set("k", b"there")
        refused = native("DELETE", "/s3/data/k?versionId=7")
        assert (refused.status, code(refused)) == (404, "NoSuchVersion")
        assert account.read("k") == b"there"
        assert native("DELETE", "/s3/data/k?versionId=null").status == 204
        assert account.read("k") is None


class TestCopiesOverS3:
    def copy(self, native: Native, target: str, source: str, **headers: str) -> Answer:
        return native("PUT", f"/s3/{target}", x_amz_copy_source=quote(source), **headers)

    def test_an_own_object_into_a_remote_bucket(self, native: Native, account: Account) -> None:
        for body in (b"small", LARGE):
            native("PUT", "/s3/own/o", body, content_type="text/x", x_amz_meta_colour="red")
            copied = self.copy(native, "data/copy", "own/o")
            assert copied.status == 200, copied.body
            assert account.read("copy") == body
            about = account.about("copy")
            assert (about.content_type, dict(about.custom)) == ("text/x", {"colour": "red"})
            assert text(copied, "ETag") == f'"{hashlib.md5(body).hexdigest()}"'
            assert native("GET", "/s3/data/copy").body == body

    @pytest.mark.parametrize("is_warm", [True, False])
    def test_a_remote_object_into_an_own_and_a_remote_bucket(
        self, native: Native, account: Account, is_warm: bool
    ) -> None:
        account.set("o", LARGE, content_type="text/x", custom={"colour": "red"})
        if is_warm:
            native("GET", url("o"))
        assert self.copy(native, "own/copy", "data/o").status == 200
        assert native("GET", "/s3/own/copy").body == LARGE
        assert native("HEAD", "/v1/buckets/other?provider=aws").status == 200
        assert self.copy(native, "other/copy", "data/o").status == 200
        assert account.read("copy", "other") == LARGE
        assert dict(account.about("copy", "other").custom) == {"colour": "red"}
        assert self.copy(native, "data/again", "data/o").status == 200
        assert account.read("again") == LARGE

    def test_metadata_can_be_replaced(self, native: Native, account: Account) -> None:
        account.set("o", b"x", content_type="text/x", custom={"colour": "red"})
        how = {"x_amz_metadata_directive": "REPLACE", "content_type": "text/y", "x_amz_meta_size": "big"}
        assert self.copy(native, "data/o", "data/o", **how).status == 200
        about = account.about("o")
        assert (about.content_type, dict(about.custom)) == ("text/y", {"size": "big"})

    def test_conditions_hold_at_both_ends(self, native: Native, account: Account) -> None:
        account.set("o", b"there")
        native("PUT", "/s3/own/o", b"own")
        assert self.copy(native, "data/o", "own/o", if_none_match="*").status == 412
        assert self.copy(native, "data/o", "own/o", x_amz_copy_source_if_match='"none"').status == 412
        assert account.read("o") == b"there"

    def test_what_has_tags_is_copied_without_them_on_demand_only(
        self, native: Native, account: Account
    ) -> None:
        native("PUT", "/s3/own/o", b"own", x_amz_tagging="a=b")
        assert self.copy(native, "data/o", "own/o").status == 501
        assert account.read("o") is None
        assert self.copy(native, "data/o", "own/o", x_amz_tagging_directive="REPLACE").status == 200
        assert account.read("o") == b"own"

    def test_a_source_that_is_down_leaves_all_as_it_was(self, native: Native, account: Account) -> None:
        native("PUT", "/s3/own/o", b"own")
        account.is_down = True
        assert self.copy(native, "data/o", "own/o").status == 502
        assert not is_here(native, "o")
        account.is_down = False
        assert account.read("o") is None
        assert native("GET", url("o")).status == 404
