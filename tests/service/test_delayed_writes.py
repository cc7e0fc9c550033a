"""Delayed writes: acknowledged here, shown as if they were at their source, and written to it later."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import ALWAYS, Capabilities, RemoteObject, RemoteRead, WriteCondition
from aisle.errors import SourceFailed, SourceUnreachable
from aisle.jobs.overview import JobView
from aisle.model.names import ObjectName
from aisle.model.unwritten import is_unwritten
from service.calling import START_NS, Answer, Native

LARGE = bytes(range(256)) * 2048  # half a MiB
BUCKET = "/v1/buckets/data?provider=aws"
NS_PER_S = 1_000_000_000


class Account(MemoryProvider):
    """A remote account that can be down, or lose its answers; its clock is set by the test."""

    capabilities: Capabilities = MemoryProvider.capabilities._replace(conditional_writes=True)

    def __init__(self) -> None:
        self.now_ns = START_NS
        super().__init__(["data"], clock=lambda: self.now_ns)
        self.asked: list[str] = []
        self.is_down = False
        self.loses_answers = False
        self.knows_conditions = True
        self.fails: set[str] = set()
        self.meanwhile: Any = None

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_down:
            raise SourceUnreachable("nobody answers")

    async def head(self, bucket: str, key: str) -> RemoteObject:
        self._ask(f"head {key}")
        return await super().head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        self._ask(f"get {key}")
        return await super().get(bucket, key, offset=offset, length=length, etag=etag)

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        self._ask(f"put {key}")
        if key in self.fails:
            raise SourceUnreachable(f"{key}: internal error", status=500)
        if only_if != ALWAYS and not self.knows_conditions:
            raise SourceFailed("not implemented", status=501)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        written = await super().put(bucket, key, chunks, about, only_if=only_if)
        if self.loses_answers:
            raise SourceUnreachable("the answer got lost")
        return written

    async def delete(self, bucket: str, key: str) -> None:
        self._ask(f"delete {key}")
        await super().delete(bucket, key)

    def set(self, key: str, content: bytes, *, at_s: float = 0.0) -> str:
        """Write past the node, some seconds after the start; the entity tag."""

        async def once() -> AsyncIterator[bytes]:
            yield content

        self.now_ns = START_NS + int(at_s * NS_PER_S)
        about = RemoteObject(key, len(content))
        return asyncio.run(MemoryProvider.put(self, "data", key, once(), about)).etag

    def read(self, key: str) -> bytes | None:
        found = self._buckets["data"].get(key)
        return found[1] if found else None

    def about(self, key: str) -> RemoteObject:
        return self._buckets["data"][key][0]


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


def set_policy(native: Native, policy: str) -> Answer:
    changes = {"write_policy": {"backend": policy}}
    return native("PATCH", BUCKET, {"action": "set-bprops", "value": changes})


def url(key: str, more: str = "") -> str:
    return f"/v1/objects/data/{quote(key)}?provider=aws{more}"


def put(native: Native, key: str, content: bytes, **headers: str) -> Answer:
    answer = native("PUT", url(key), content, **headers)
    assert answer.status == 200, answer.body
    return answer


def read(native: Native, key: str) -> bytes | None:
    answer = native("GET", url(key))
    return answer.body if answer.status == 200 else None


def listed(native: Native, **value: Any) -> list[str]:
    answer = native("GET", BUCKET, {"action": "list", "value": {"props": "name,size", **value}})
    assert answer.status == 200, answer.body
    return [entry["name"] for entry in answer.json()["entries"] or ()]


def listed_over_s3(native: Native, query: str = "") -> list[str]:
    page = native("GET", f"/s3/data?list-type=2{query}").body.decode()
    return [part.partition("</Key>")[0] for part in page.split("<Key>")[1:]]


def job(native: Native) -> JobView:
    """What is told of the bucket's delayed writes."""
    (found,) = native.delayed_jobs.all()
    return found


def pending(native: Native) -> int:
    (info,) = [info for info in native.buckets.select() if info.queue]
    return native.engine.counts(info.queue).objects


def record(native: Native, key: str) -> Any:
    (info,) = [info for info in native.buckets.select() if info.bucket.provider == "aws"]
    held = native.engine.look_up(ObjectName(info.number, key.encode()))
    return held.record if held else None


class TestWriting:
    @pytest.mark.parametrize("content", [b"", b"small", LARGE])
    @pytest.mark.parametrize("key", ["k", "a b//100%é", "n" * 1024])
    def test_a_write_is_here_at_once_and_there_later(
        self, native: Native, account: Account, content: bytes, key: str
    ) -> None:
        put(native, key, content, content_type="text/x", ais_custom_md="colour=red")
        assert account.asked == []
        assert is_unwritten(record(native, key).attributes)
        assert read(native, key) == content
        native.write_back()
        assert account.read(key) == content
        about = account.about(key)
        assert (about.content_type, dict(about.custom)) == ("text/x", {"colour": "red"})
        assert pending(native) == 0
        assert not is_unwritten(record(native, key).attributes)
        md5 = hashlib.md5(content).hexdigest()
        assert native("HEAD", url(key)).headers["etag"] == f'"{md5}"'
        assert record(native, key).attributes.version == about.version
        assert read(native, key) == content
        assert not [call for call in account.asked if call.startswith("get")]

    def test_a_source_that_is_down_keeps_nobody_from_writing_and_reading(
        self, native: Native, account: Account
    ) -> None:
        account.is_down = True
        put(native, "k", b"one")
        native.write_back()
        assert pending(native) == 1
        assert read(native, "k") == b"one"
        assert native("GET", url("k", "&latest-ver=true")).body == b"one"
        account.is_down = False
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"one", 0)

    def test_the_last_version_counts(self, native: Native, account: Account) -> None:
        for content in (b"one", b"two", b"three"):
            put(native, "k", content)
        assert pending(native) == 1
        native.write_back()
        assert account.read("k") == b"three"
        assert account.asked.count("put k") == 1

    def test_a_write_while_the_one_before_is_sent_is_not_lost(self, native: Native, account: Account) -> None:
        put(native, "k", b"one")

        async def again() -> None:
            assert (await native.send("PUT", url("k"), b"two")).status == 200

        account.meanwhile = again
        native.write_back()
        assert account.read("k") == b"one"
        assert read(native, "k") == b"two"
        assert pending(native) == 1
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"two", 0)

    def test_a_lost_answer_is_no_conflict(self, native: Native, account: Account) -> None:
        put(native, "k", LARGE)
        account.now_ns = START_NS + 3600 * NS_PER_S
        account.loses_answers = True
        native.write_back()
        assert pending(native) == 1
        account.loses_answers = False
        native.write_back()
        assert pending(native) == 0
        # What had arrived was found there.
        assert account.asked.count("put k") == 1
        put(native, "k", b"next")
        account.loses_answers = True
        native.write_back()
        put(native, "k", b"last")
        account.loses_answers = False
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"last", 0)

    def test_writes_over_s3_and_in_parts(self, native: Native, account: Account) -> None:
        assert native("PUT", "/s3/data/plain", b"x", x_amz_meta_colour="red").status == 200
        begun = native("POST", "/s3/data/parts?uploads").body.decode()
        upload = begun.partition("<UploadId>")[2].partition("<")[0]
        tag = native("PUT", f"/s3/data/parts?partNumber=1&uploadId={upload}", LARGE).headers["etag"]
        listing = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
        document = f"<CompleteMultipartUpload>{listing}</CompleteMultipartUpload>".encode()
        assert native("POST", f"/s3/data/parts?uploadId={upload}", document).status == 200
        assert native("PUT", "/s3/data/copy", x_amz_copy_source="data/parts").status == 200
        assert account.asked == []
        assert listed_over_s3(native) == ["copy", "parts", "plain"]
        account.asked.clear()
        native.write_back()
        assert (account.read("parts"), account.read("copy")) == (LARGE, LARGE)
        assert (account.read("plain"), pending(native)) == (b"x", 0)
        assert dict(account.about("plain").custom) == {"colour": "red"}
        assert not any(is_unwritten(record(native, key).attributes) for key in ("plain", "parts", "copy"))

    def test_conditions_are_the_source_s_to_judge(self, native: Native, account: Account) -> None:
        etag = account.set("k", b"there")
        assert native("PUT", url("k"), b"x", if_none_match="*").status == 412
        assert native("PUT", url("k"), b"new", if_match=f'"{etag}"').status == 200
        assert account.read("k") == b"new"
        assert not is_unwritten(record(native, "k").attributes)

    def test_a_condition_waits_for_what_is_not_written_yet(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aisle.target.delayed_queue.WAITED_S", -1.0)
        put(native, "k", b"one")
        answer = native("PUT", url("k"), b"two", if_none_match="*")
        assert (answer.status, "not yet written" in answer.error()["message"]) == (503, True)
        native.write_back()
        assert native("PUT", url("k"), b"two", if_none_match="*").status == 412


class TestRemoving:
    def test_what_is_removed_here_is_gone_at_once_and_there_later(
        self, native: Native, account: Account
    ) -> None:
        account.set("k", b"old")
        assert read(native, "k") == b"old"
        assert native("DELETE", url("k")).status == 200
        assert account.read("k") == b"old"
        assert read(native, "k") is None
        assert native("HEAD", url("k")).status == 404
        assert native("GET", "/s3/data/k").status == 404
        assert (listed(native), listed_over_s3(native)) == ([], [])
        native.write_back()
        assert (account.read("k"), pending(native)) == (None, 0)

    def test_what_was_never_here_is_removed_too(self, native: Native, account: Account) -> None:
        account.set("k", b"old")
        assert native("DELETE", "/s3/data/k").status == 204
        assert (read(native, "k"), listed(native)) == (None, [])
        native.write_back()
        assert account.read("k") is None

    def test_the_last_change_counts(self, native: Native, account: Account) -> None:
        put(native, "a", b"one")
        native("DELETE", url("a"))
        native("DELETE", url("b"))
        put(native, "b", b"two")
        assert (read(native, "a"), read(native, "b")) == (None, b"two")
        native.write_back()
        assert (account.read("a"), account.read("b")) == (None, b"two")
        assert pending(native) == 0
        assert "put a" not in account.asked

    def test_many_at_once_over_s3(self, native: Native, account: Account) -> None:
        account.set("a", b"x")
        put(native, "b", b"y")
        for number in range(50):
            account.set(f"k{number}", b"x")
        names = ["a", "b", *(f"k{number}" for number in range(50))]
        objects = "".join(f"<Object><Key>{name}</Key></Object>" for name in names)
        answer = native("POST", "/s3/data?delete", f"<Delete>{objects}</Delete>".encode())
        assert answer.body.count(b"<Deleted>") == 52
        assert listed(native) == []
        native.write_back()
        assert (account._buckets["data"], pending(native)) == ({}, 0)


class TestListing:
    def test_pages_show_the_bucket_as_it_will_be(self, native: Native, account: Account) -> None:
        for number in range(0, 20, 2):
            account.set(f"k{number:02}", b"x")
        for number in range(1, 30, 2):
            put(native, f"k{number:02}", b"y")
        native("DELETE", url("k04"))
        native("DELETE", url("k05"))
        expected = sorted({f"k{n:02}" for n in (*range(0, 20, 2), *range(1, 30, 2))} - {"k04", "k05"})
        assert listed(native) == expected
        found: list[str] = []
        token = ""
        while True:
            value = {"props": "name", "pagesize": 4, "continuation_token": token}
            page = native("GET", BUCKET, {"action": "list", "value": value}).json()
            found += [entry["name"] for entry in page["entries"] or ()]
            token = page["continuation_token"]
            if not token:
                break
        assert found == expected
        native.write_back()
        assert listed(native) == expected
        assert sorted(account._buckets["data"]) == expected

    def test_folders_and_prefixes(self, native: Native, account: Account) -> None:
        account.set("a/1", b"x")
        for key in ("a/2", "b/1", "b/2", "c", "b/deep/1"):
            put(native, key, b"y")
        answer = native("GET", "/s3/data?list-type=2&delimiter=/").body.decode()
        assert answer.count("<CommonPrefixes>") == 2
        assert listed_over_s3(native, "&delimiter=/") == ["c"]
        assert listed_over_s3(native, "&prefix=b/") == ["b/1", "b/2", "b/deep/1"]
        assert listed_over_s3(native, "&prefix=b/&delimiter=/") == ["b/1", "b/2"]
        assert listed_over_s3(native, "&start-after=b/2") == ["b/deep/1", "c"]


class TestKeeping:
    def test_what_is_not_written_is_not_evicted(self, native: Native, account: Account) -> None:
        put(native, "k", b"one")
        answer = native("DELETE", url("k"), {"action": "evict-listrange"})
        assert (answer.status, "does not have" in answer.error()["message"]) == (409, True)
        for keeps in ("", "&keep_bck_md=true"):
            evicted = native("DELETE", f"{BUCKET}{keeps}", {"action": "evict-remote-bck"})
            assert evicted.status == 409, evicted.body
        assert read(native, "k") == b"one"
        put(native, "l", b"two")
        native.write_back()
        assert (account.read("k"), account.read("l")) == (b"one", b"two")
        assert native("DELETE", url("k"), {"action": "evict-listrange"}).status == 200
        assert native("DELETE", f"{BUCKET}&keep_bck_md=true", {"action": "evict-remote-bck"}).status == 200
        put(native, "m", b"three")
        native.write_back()
        assert account.read("m") == b"three"

    def test_a_job_evicts_the_others(self, native: Native, account: Account) -> None:
        account.set("a", b"x")
        assert read(native, "a") == b"x"
        put(native, "b", b"y")
        assert (
            native("DELETE", BUCKET, {"action": "evict-listrange", "value": {"template": ""}}).status == 200
        )
        native.work()
        assert record(native, "a") is None
        assert read(native, "b") == b"y"

    def test_force_gives_a_change_up(self, native: Native, account: Account) -> None:
        account.set("k", b"theirs")
        put(native, "k", b"ours")
        assert native("DELETE", url("k", "&force=true"), {"action": "evict-listrange"}).status == 200
        assert (read(native, "k"), pending(native)) == (b"theirs", 0)

    def test_properties_wait_for_what_is_not_written(self, native: Native, account: Account) -> None:
        put(native, "k", b"one")
        assert set_policy(native, "immediate").status == 409
        extra = {"extra": {"aws": {"endpoint": "http://127.0.0.1:1"}}}
        assert native("PATCH", BUCKET, {"action": "set-bprops", "value": extra}).status == 409
        assert native("PATCH", BUCKET, {"action": "reset-bprops"}).status == 409
        native.write_back()
        assert set_policy(native, "immediate").status == 200
        put(native, "k", b"two")
        assert account.read("k") == b"two"

    def test_a_bucket_without_a_source_delays_nothing(self, native: Native) -> None:
        assert native("POST", "/v1/buckets/own", {"action": "create-bck"}).status == 200
        changes = {"write_policy": {"backend": "delayed"}}
        answer = native("PATCH", "/v1/buckets/own", {"action": "set-bprops", "value": changes})
        assert (answer.status, "no remote bucket" in answer.error()["message"]) == (400, True)

    def test_a_default_of_the_cluster_is_no_hindrance(self, native: Native) -> None:
        native("POST", "/v1/buckets/own", {"action": "create-bck"})
        changes = {"write_policy": {"backend": "immediate"}}
        assert native("PATCH", "/v1/buckets/own", {"action": "set-bprops", "value": changes}).status == 200

    def test_metadata_that_is_changed_meanwhile_stays(self, native: Native, account: Account) -> None:
        put(native, "k", b"one")

        async def amended() -> None:
            message = {"action": "", "value": {"colour": "red"}}
            assert (await native.send("PATCH", url("k"), message)).status == 200

        account.meanwhile = amended
        native.write_back()
        assert pending(native) == 0
        assert record(native, "k").attributes.custom["colour"] == "red"

    def test_an_own_bucket_with_a_backend_delays_as_well(self, native: Native, account: Account) -> None:
        assert native("POST", "/v1/buckets/mirror", {"action": "create-bck"}).status == 200
        path = "/v1/objects/mirror/k?provider=ais"
        delayed = {"write_policy": {"backend": "delayed"}}
        changes = {"backend_bck": {"name": "data", "provider": "aws"}, **delayed}
        answer = native("PATCH", "/v1/buckets/mirror", {"action": "set-bprops", "value": changes})
        assert answer.status == 200, answer.body
        assert native("PUT", path, b"one").status == 200
        assert account.read("k") is None
        detached = {"backend_bck": {"name": "", "provider": ""}}
        refused = native("PATCH", "/v1/buckets/mirror", {"action": "set-bprops", "value": detached})
        assert refused.status == 409, refused.body
        assert native("DELETE", "/v1/buckets/mirror", {"action": "destroy-bck"}).status == 409
        native.write_back()
        assert account.read("k") == b"one"
        assert native("DELETE", "/v1/buckets/mirror", {"action": "destroy-bck"}).status == 200

    def test_a_copy_is_not_marked(self, native: Native) -> None:
        assert native("POST", "/v1/buckets/own", {"action": "create-bck"}).status == 200
        put(native, "k", b"one")
        assert native("PUT", "/s3/own/copy", x_amz_copy_source="data/k").status == 200
        (own,) = native.buckets.select(name="own")
        (entry,) = native.engine.scan(own.number, limit=10).entries
        assert entry.encoded is not None
        assert b"unwritten" not in entry.encoded


class TestMending:
    def test_what_has_lost_its_place_in_the_queue_gets_it_back(
        self, native: Native, account: Account
    ) -> None:
        put(native, "k", b"one")
        put(native, "l", b"two")
        (info,) = [info for info in native.buckets.select() if info.queue]
        assert native.runner.run(gone(native, ObjectName(info.queue, b"k")))
        assert pending(native) == 1
        native.write_back()
        assert (account.read("k"), account.read("l"), pending(native)) == (b"one", b"two", 0)

    def test_an_entry_without_its_change_goes_in_time(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(native, "k", b"one")
        (info,) = [info for info in native.buckets.select() if info.queue]
        assert native.runner.run(gone(native, ObjectName(info.number, b"k")))
        native.write_back()
        # Its writer may be about to commit.
        assert (account.read("k"), pending(native)) == (None, 1)
        monkeypatch.setattr("aisle.target.delayed_writing.GRACE_NS", -1)
        native.write_back()
        assert (account.read("k"), pending(native)) == (None, 0)

    def test_a_removal_holds_if_the_write_behind_it_never_comes(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account.set("k", b"old")
        assert native("DELETE", url("k")).status == 200
        (info,) = [info for info in native.buckets.select() if info.queue]
        # Its writer dies before it commits.
        native.runner.run(native.queue.note_write(info, b"k", b"\0" * 16))
        assert (read(native, "k"), listed(native)) == (None, [])
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"old", 1)
        monkeypatch.setattr("aisle.target.delayed_writing.GRACE_NS", -1)
        native.write_back()
        assert (account.read("k"), pending(native)) == (None, 0)

    def test_one_that_fails_keeps_no_other_away(self, native: Native, account: Account) -> None:
        keys = [f"{number:02}" for number in range(40)]
        account.fails = set(keys[:30])
        for key in keys:
            put(native, key, b"x")
        for _ in range(6):
            native.write_back()
        assert sorted(account._buckets["data"]) == keys[30:]
        account.fails = set()
        for _ in range(2):  # the first walk goes on where the last one was given up
            native.write_back()
        assert sorted(account._buckets["data"]) == keys

    def test_a_source_without_conditions_is_written_to(self, native: Native, account: Account) -> None:
        account.knows_conditions = False
        put(native, "k", b"one")
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"one", 0)

    def test_a_queue_that_was_closed_is_replaced(self, native: Native, account: Account) -> None:
        put(native, "k", b"one")
        native.write_back()
        (info,) = [info for info in native.buckets.select() if info.queue]

        async def closed() -> None:
            await native.engine.close_bucket(info.queue, only_if_empty=True)

        native.runner.run(closed())
        put(native, "k", b"two")
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"two", 0)


async def gone(native: Native, name: ObjectName) -> bool:
    """Remove something behind the node's back."""
    return await native.engine.remove(name)


class TestTelling:
    def test_a_head_and_a_job_say_what_is_not_written(self, native: Native, account: Account) -> None:
        account.is_down = True
        put(native, "a", b"one")
        put(native, "b", b"two")
        assert native("HEAD", url("a")).headers["ais-unwritten"] == "true"
        native.write_back()
        told = job(native)
        assert told.objects == 0
        assert "pending:2 written:0 conflicts:0" in told.message
        assert "nobody answers" in told.error
        account.is_down = False
        native.write_back()
        told = job(native)
        assert (told.objects, bool(told.ended_ns)) == (2, True)
        assert "ais-unwritten" not in native("HEAD", url("a")).headers


class TestConflicts:
    def test_what_the_source_has_got_since_is_not_overwritten(self, native: Native, account: Account) -> None:
        account.set("k", b"base")
        assert read(native, "k") == b"base"
        put(native, "k", b"ours")
        account.set("k", b"theirs", at_s=60)
        native.write_back()
        assert (account.read("k"), read(native, "k"), pending(native)) == (b"theirs", b"ours", 1)
        assert "conflict" in job(native).error
        # Nothing happens until somebody decides.
        native.write_back()
        assert account.read("k") == b"theirs"
        answer = native("PUT", url("k"), b"new", if_none_match="*")
        assert answer.status == 409
        put(native, "k", b"ours after all")
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"ours after all", 0)

    def test_evicting_with_force_takes_theirs(self, native: Native, account: Account) -> None:
        put(native, "k", b"ours")
        account.set("k", b"theirs", at_s=60)
        native.write_back()
        assert native("DELETE", url("k", "&force=true"), {"action": "evict-listrange"}).status == 200
        assert (read(native, "k"), pending(native)) == (b"theirs", 0)

    def test_a_removal_does_not_remove_what_came_later(self, native: Native, account: Account) -> None:
        account.set("k", b"base")
        native("DELETE", url("k"))
        account.set("k", b"theirs", at_s=60)
        native.write_back()
        assert (account.read("k"), read(native, "k"), pending(native)) == (b"theirs", None, 1)
        native("DELETE", url("k"))
        native.write_back()
        assert (account.read("k"), pending(native)) == (None, 0)

    def test_what_was_there_before_is_overwritten(self, native: Native, account: Account) -> None:
        account.set("k", b"base", at_s=-60)
        put(native, "k", b"ours")
        native.write_back()
        assert account.read("k") == b"ours"

    def test_a_change_in_the_last_moment_is_seen(self, native: Native, account: Account) -> None:
        account.set("k", b"base", at_s=-60)
        put(native, "k", b"ours")

        async def meanwhile() -> None:
            async def once() -> AsyncIterator[bytes]:
                yield b"theirs"

            account.now_ns = START_NS + 60 * NS_PER_S
            await MemoryProvider.put(account, "data", "k", once(), RemoteObject("k", 6))

        account.meanwhile = meanwhile
        native.write_back()
        native.write_back()
        assert (account.read("k"), pending(native)) == (b"theirs", 1)
