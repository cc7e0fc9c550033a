"""Buckets whose bytes are elsewhere, over the native dialect: found, read and written through, evicted."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemotePage, RemoteRead
from aisle.errors import SourceDenied, SourceFailed
from aisle.gateway import summary as summary_module
from aisle.httpd.delivery import BrokenAnswer
from aisle.model.names import Bucket, ObjectName
from service.calling import Answer, Native

LARGE = bytes(range(256)) * 2048  # half a MiB


class Account(MemoryProvider):
    """A remote account that counts what it is asked, and fails when told to."""

    def __init__(self) -> None:
        super().__init__(["data"])
        self.asked: list[str] = []
        self.hold: asyncio.Event | None = None
        self.denies = False
        self.lies = False
        self.cuts = False

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        self.asked.append(f"head_bucket {bucket}")
        if self.denies:
            raise SourceDenied(f"{bucket}: access denied")
        return {**await super().head_bucket(bucket), "versioning": "true", "region": "eu-central-1"}

    async def head(self, bucket: str, key: str) -> RemoteObject:
        self.asked.append(f"head {key}")
        return await super().head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        self.asked.append(f"get {key} {offset}" if offset or length is not None else f"get {key}")
        opened = await super().get(bucket, key, offset=offset, length=length, etag=etag)
        about, chunks = opened.about, opened.chunks
        if self.lies:
            about = about._replace(digests={"md5": "0" * 32})
        return RemoteRead(about, self._held(chunks))

    async def _held(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for start in range(0, len(chunk), 50_000):
                yield chunk[start : start + 50_000]
                if self.hold is not None:
                    await self.hold.wait()
                if self.cuts:
                    raise SourceFailed("broke off")

    def set(self, key: str, content: bytes, **about: Any) -> RemoteObject:
        async def once() -> AsyncIterator[bytes]:
            yield content

        written = self.put("data", key, once(), RemoteObject(key, len(content), **about))
        return asyncio.run(written)

    def has(self, key: str) -> bytes | None:
        found = self._buckets["data"].get(key)
        return found[1] if found else None


async def denied(*_: object, **__: object) -> RemotePage:
    raise SourceDenied("listing is denied")


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    yield calling
    calling.close()


Evict = Callable[[str], None]


def url(key: str, more: str = "") -> str:
    return f"/v1/objects/data/{key}?provider=aws{more}"


BUCKET = "/v1/buckets/data?provider=aws"


def listed(native: Native, **value: Any) -> dict[str, int]:
    """Names with their flags."""
    answer = native("GET", BUCKET, {"action": "list", "value": {"props": "name,size,cached", **value}})
    assert answer.status == 200, answer.body
    return {entry["name"]: entry.get("flags", 0) for entry in answer.json()["entries"] or ()}


class TestDiscovery:
    def test_the_first_access_confirms_a_bucket_and_adds_it_once(
        self, native: Native, account: Account
    ) -> None:
        account.set("a", b"one")
        assert native("GET", url("a")).body == b"one"
        assert native("GET", url("a")).body == b"one"
        assert account.asked == ["head_bucket data", "get a"]
        shown = native("HEAD", BUCKET)
        properties = json.loads(shown.headers["ais-bucket-props"])
        assert properties["provider"] == "aws"
        assert properties["versioning"]["enabled"] is True
        assert properties["extra"]["aws"] == {"cloud_region": "eu-central-1"}
        assert int(properties["bid"]) < 1 << 63

    def test_every_verb_finds_it(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        for method, target, body in (
            ("HEAD", url("a"), b""),
            ("PUT", url("b"), b"two"),
            ("DELETE", url("a"), b""),
            ("HEAD", BUCKET, b""),
            ("GET", BUCKET, {"action": "list", "value": {}}),
            ("GET", url("b"), b""),
        ):
            fresh = Native(providers={"aws": lambda _: account})
            assert fresh(method, target, body).status == 200, (method, target)
            assert [info.bucket.cname for info in fresh.buckets.select()] == ["s3://data"]
            fresh.close()

    def test_what_is_nowhere_is_not_found(self, native: Native, account: Account) -> None:
        answer = native("GET", "/v1/objects/nope/a?provider=aws")
        assert (answer.status, answer.error()["tcode"]) == (404, "ErrRemoteBckNotFound")
        assert answer.error()["message"] == 'aws bucket "s3://nope" does not exist'
        assert account.asked == ["head_bucket nope"]
        assert not native.buckets.select()

    def test_a_refusal_is_no_absence(self, native: Native, account: Account) -> None:
        account.denies = True
        assert native("GET", url("a")).status == 403

    def test_flags_keep_it_from_being_looked_for_or_added(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        known_only = {"action": "list", "value": {"flags": "64"}}
        assert native("GET", BUCKET, known_only).status == 404
        assert native("HEAD", f"{BUCKET}&presence=2").status == 404
        assert not account.asked
        assert native("HEAD", f"{BUCKET}&dont_add_remote_bck_md=true").status == 200
        assert listed(native, flags="256") == {"a": 0}
        assert not native.buckets.select()
        account.asked.clear()
        assert native("HEAD", f"{BUCKET}&dont_head_remote_bck=true").status == 200
        assert not account.asked
        assert native.buckets.select()

    def test_many_who_find_it_at_once_ask_once(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        answers = native.at_once(*[("GET", url("a"))] * 20)
        assert {answer.body for answer in answers} == {b"one"}
        assert account.asked == ["head_bucket data", "get a"]

    def test_a_provider_that_is_not_there_is_named(self, native: Native) -> None:
        answer = native("GET", "/v1/objects/data/a?provider=gcp")
        assert answer.status == 501
        assert "gs://" in answer.error()["message"]

    def test_buckets_of_one_name_stand_side_by_side(self, native: Native, account: Account) -> None:
        account.set("a", b"cloud")
        native.bucket("data")
        native("PUT", "/v1/objects/data/a", b"own")
        assert native("GET", url("a")).body == b"cloud"
        assert native("GET", "/v1/objects/data/a").body == b"own"

    def test_an_account_is_listed_when_asked_for(self, native: Native) -> None:
        def names(presence: str) -> list[str]:
            answer = native("GET", f"/v1/buckets?provider=aws&presence={presence}", {"action": "list"})
            return [found["name"] for found in answer.json()]

        assert names("2") == []
        assert names("0") == ["data"]
        assert names("5") == ["data"]
        native("HEAD", BUCKET)
        assert names("2") == ["data"]
        assert names("5") == []


class TestReading:
    @pytest.mark.parametrize("content", [b"", b"x", LARGE[:70_000], LARGE])
    def test_a_cold_object_is_sent_and_kept(self, native: Native, account: Account, content: bytes) -> None:
        about = account.set("a", content, content_type="text/x", custom={"colour": "red"})
        for _ in range(2):
            answer = native("GET", url("a"))
            assert (answer.status, answer.body) == (200, content)
            assert answer.headers["content-type"] == "text/x"
            assert answer.headers["etag"] == f'"{about.etag}"'
            assert answer.headers["ais-version"] == about.version
            assert answer.headers["ais-checksum-type"] == "md5"
            custom = answer.headers["ais-custom-md"]
            for pair in ("source=aws", f"ETag={about.etag}", "X-Amz-Meta-Colour=red", f"md5={about.etag}"):
                assert pair in custom
        assert account.asked.count("get a") == 1
        assert listed(native) == {"a": 64}

    def test_cold_and_warm_tell_the_same(self, native: Native, account: Account) -> None:
        account.set("a", LARGE, content_type="text/x")
        native("HEAD", BUCKET)
        head = native("HEAD", url("a"))
        assert head.headers["ais-present"] == "false"
        cold, warm = native("GET", url("a")), native("GET", url("a"))
        for name in ("etag", "last-modified", "content-type", "ais-checksum-value", "ais-custom-md"):
            assert cold.headers[name] == warm.headers[name] == head.headers[name], name
        assert native("HEAD", url("a")).headers["ais-present"] == "true"

    def test_many_who_ask_share_one_fetch(self, native: Native, account: Account) -> None:
        account.set("a", LARGE)
        native("HEAD", BUCKET)
        answers = native.at_once(*[("GET", url("a"))] * 50)
        assert all(answer.body == LARGE for answer in answers)
        assert account.asked.count("get a") == 1

    def test_bytes_arrive_while_the_object_is_still_coming(self, native: Native, account: Account) -> None:
        account.set("a", LARGE)
        native("HEAD", BUCKET)

        async def scenario() -> None:
            account.hold = asyncio.Event()
            response = await native.ask("GET", url("a"))
            chunks = aiter(response.body.chunks)  # type: ignore[union-attr]
            read = await anext(chunks)
            assert 0 < len(read) < len(LARGE)
            assert (await native.ask("HEAD", url("a", "&presence=2"))).status == 404
            account.hold.set()
            assert read + b"".join([chunk async for chunk in chunks]) == LARGE

        native.runner.run(scenario())

    def test_a_wrong_object_is_never_whole_and_never_kept(self, native: Native, account: Account) -> None:
        account.set("small", b"x" * 100)
        account.set("large", LARGE)
        account.lies = True
        answer = native("GET", url("small"))
        assert answer.status == 502
        assert "BAD DATA CHECKSUM" in answer.error()["message"]

        async def scenario() -> bytes:
            account.hold = asyncio.Event()
            response = await native.ask("GET", url("large"))
            account.hold.set()
            read: list[bytes] = []
            with pytest.raises(BrokenAnswer, match="BAD DATA CHECKSUM"):
                await gathered(response.body.chunks, read)  # type: ignore[union-attr]
            return b"".join(read)

        assert len(native.runner.run(scenario())) < len(LARGE)
        account.lies = False
        assert listed(native) == {"large": 0, "small": 0}
        assert native("GET", url("large")).body == LARGE

    def test_a_source_that_breaks_off_breaks_the_answer_off(self, native: Native, account: Account) -> None:
        account.set("a", LARGE)
        account.cuts = True

        async def scenario() -> None:
            account.hold = asyncio.Event()
            response = await native.ask("GET", url("a"))
            account.hold.set()
            with pytest.raises(BrokenAnswer, match="broke off"):
                _ = [chunk async for chunk in response.body.chunks]  # type: ignore[union-attr]

        native.runner.run(scenario())
        account.cuts = False
        assert listed(native) == {"a": 0}
        assert native("GET", url("a")).body == LARGE

    def test_a_range_of_a_cold_object_is_passed_through_and_the_rest_follows(
        self, native: Native, account: Account
    ) -> None:
        account.set("a", LARGE)
        native("HEAD", BUCKET)
        answer = native("GET", url("a"), range="bytes=1000-1999")
        assert (answer.status, answer.body) == (206, LARGE[1000:2000])
        assert answer.headers["content-range"] == f"bytes 1000-1999/{len(LARGE)}"
        settled(native)
        assert listed(native) == {"a": 64}
        assert native("GET", url("a"), range="bytes=-5").body == LARGE[-5:]
        assert account.asked.count("get a") == 1

    def test_conditions_are_judged_by_what_the_source_has(self, native: Native, account: Account) -> None:
        etag = account.set("a", b"one").etag
        assert native("GET", url("a"), if_none_match=f'"{etag}"').status == 304
        assert native("GET", url("a"), if_match='"other"').status == 412
        assert native("GET", url("a"), if_match=f'"{etag}"').body == b"one"

    def test_what_the_source_does_not_have_is_not_found(self, native: Native) -> None:
        assert native("GET", url("nope")).status == 404
        assert native("HEAD", url("nope")).status == 404

    def test_a_newer_object_is_seen_when_asked_for(self, native: Native, account: Account) -> None:
        account.set("a", b"old")
        native("GET", url("a"))
        account.set("a", b"new!")
        assert native("GET", url("a")).body == b"old"
        assert native("GET", url("a", "&latest-ver=true")).body == b"new!"
        settled(native)
        assert native("GET", url("a")).body == b"new!"
        asked = len(account.asked)
        assert native("GET", url("a", "&latest-ver=true")).body == b"new!"
        assert account.asked[asked:] == ["head a"]

    def test_a_bucket_can_be_kept_in_step(self, native: Native, account: Account) -> None:
        account.set("a", b"old")
        native("GET", url("a"))
        changes = {"versioning": {"validate_warm_get": True, "synchronize": True}}
        assert native("PATCH", BUCKET, {"action": "set-bprops", "value": changes}).status == 200
        account.set("a", b"newer")
        assert native("GET", url("a")).body == b"newer"
        asyncio.run(account.delete("data", "a"))
        assert native("GET", url("a")).status == 404
        assert native("HEAD", url("a", "&presence=2")).status == 404


async def gathered(chunks: AsyncIterator[bytes], read: list[bytes]) -> None:
    """Note the chunks as they come."""
    async for chunk in chunks:
        read.append(chunk)  # noqa: PERF401 - what came before a failure counts


def settled(native: Native) -> None:
    """Let what goes on in the background come to its end."""

    async def rounds() -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    native.runner.run(rounds())


class TestWriting:
    @pytest.mark.parametrize("content", [b"", b"x" * 1000, LARGE])
    def test_a_write_is_there_and_here(self, native: Native, account: Account, content: bytes) -> None:
        answer = native("PUT", url("a"), content, content_type="text/x")
        assert answer.status == 200
        assert account.has("a") == content
        md5 = hashlib.md5(content).hexdigest()
        assert answer.headers["etag"] == f'"{md5}"'
        assert f"ETag={md5}" in answer.headers["ais-custom-md"]
        assert native("GET", url("a")).body == content
        assert not [call for call in account.asked if call.startswith("get")]

    def test_a_write_that_is_wrong_reaches_nobody(self, native: Native, account: Account) -> None:
        answer = native("PUT", url("a"), b"x", ais_checksum_type="md5", ais_checksum_value="0" * 32)
        assert answer.status == 400
        assert account.has("a") is None

    def test_a_write_takes_the_place_of_what_is_here(self, native: Native, account: Account) -> None:
        account.set("a", b"old")
        native("GET", url("a"))
        native("PUT", url("a"), b"new")
        assert native("GET", url("a")).body == b"new"

    def test_a_write_while_the_old_object_comes_in_wins(self, native: Native, account: Account) -> None:
        account.set("a", LARGE)
        native("HEAD", BUCKET)

        async def scenario() -> None:
            account.hold = asyncio.Event()
            response = await native.ask("GET", url("a"))
            assert (await native.ask("PUT", url("a"), b"new")).status == 200
            account.hold.set()
            read = b"".join([chunk async for chunk in response.body.chunks])  # type: ignore[union-attr]
            assert read == LARGE

        native.runner.run(scenario())
        settled(native)
        assert native("GET", url("a")).body == b"new"

    def test_conditions_hold_at_the_source(self, native: Native, account: Account) -> None:
        etag = account.set("a", b"old").etag
        assert native("PUT", url("a"), b"new", if_none_match="*").status == 412
        assert native("PUT", url("a"), b"new", if_match='"other"').status == 412
        assert account.has("a") == b"old"
        assert native("PUT", url("a"), b"new", if_match=f'"{etag}"').status == 200
        assert native("PUT", url("b"), b"new", if_none_match="*").status == 200
        assert (account.has("a"), account.has("b")) == (b"new", b"new")

    def test_a_removal_is_for_both_sides(self, native: Native, account: Account) -> None:
        account.set("a", b"old")
        native("GET", url("a"))
        assert native("DELETE", url("a")).status == 200
        assert account.has("a") is None
        assert native("GET", url("a")).status == 404

    def test_what_would_write_here_only_is_refused(self, native: Native) -> None:
        native("HEAD", BUCKET)
        assert native("PUT", url("a", "&archpath=x"), b"x").status == 501


class TestForgetting:
    def test_an_evicted_object_comes_back(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        native("GET", url("a"))
        assert native("DELETE", url("a"), {"action": "evict-listrange"}).status == 200
        assert listed(native) == {"a": 0}
        assert native("GET", url("a")).body == b"one"
        assert account.asked.count("get a") == 2

    def test_a_cloud_bucket_is_never_destroyed(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        native("GET", url("a"))
        answer = native("DELETE", BUCKET, {"action": "destroy-bck"})
        assert answer.status == 405
        assert "ais evict s3://data" in answer.error()["message"]
        assert account.has("a") == b"one"

    @pytest.mark.parametrize("keeps", [True, False])
    def test_a_bucket_is_evicted_with_or_without_its_properties(
        self, native: Native, account: Account, keeps: bool
    ) -> None:
        account.set("a", b"one")
        native("GET", url("a"))
        kept = "&keep_bck_md=true" if keeps else ""
        assert native("DELETE", BUCKET + kept, {"action": "evict-remote-bck"}).status == 200
        assert len(native.buckets.select()) == keeps
        assert account.has("a") == b"one"
        assert listed(native) == {"a": 0}

    def test_an_own_bucket_is_not_evicted(self, native: Native) -> None:
        native.bucket("own")
        answer = native("DELETE", "/v1/buckets/own", {"action": "evict-remote-bck"})
        assert (answer.status, answer.error()["tcode"]) == (400, "ErrNotRemoteBck")


class TestBackendOfAnOwnBucket:
    def test_it_reads_and_writes_through(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        native.bucket("mirror")
        backend = {"backend_bck": {"name": "data", "provider": "aws"}}
        change = {"action": "set-bprops", "value": backend}
        assert native("PATCH", "/v1/buckets/mirror", change).status == 200
        assert native("GET", "/v1/objects/mirror/a").body == b"one"
        assert native("PUT", "/v1/objects/mirror/b", b"two").status == 200
        assert account.has("b") == b"two"
        gone = {"backend_bck": {"name": "", "provider": ""}}
        native("PATCH", "/v1/buckets/mirror", {"action": "set-bprops", "value": gone})
        assert native("GET", "/v1/objects/mirror/a").body == b"one"

    def test_what_was_there_before_is_lost_neither_by_evicting_nor_by_reading(
        self, native: Native, account: Account
    ) -> None:
        native.bucket("mirror")
        old = "/v1/objects/mirror/old"
        assert native("PUT", old, b"only here").status == 200
        account.set("a", b"one")
        backend = {"backend_bck": {"name": "data", "provider": "aws"}, "versioning": {"synchronize": True}}
        assert native("PATCH", "/v1/buckets/mirror", {"action": "set-bprops", "value": backend}).status == 200
        assert native("GET", "/v1/objects/mirror/a").body == b"one"
        assert native("GET", f"{old}?latest-ver=true").body == b"only here"
        refused = native("DELETE", old, {"action": "evict-listrange"})
        assert refused.status == 409
        assert "never was at the source" in refused.error()["message"]
        selected = {"action": "evict-listrange", "value": {"template": ""}}
        assert native("DELETE", "/v1/buckets/mirror", selected).status == 200
        native.work()
        mirror = native.buckets.find(Bucket("mirror"))
        assert native.engine.look_up(ObjectName(mirror.number, b"a")) is None
        assert native("GET", old).body == b"only here"
        assert native("DELETE", old).status == 200
        assert native("GET", old).status == 404

    def test_a_backend_that_does_not_exist_is_not_taken(self, native: Native) -> None:
        native.bucket("mirror")
        backend = {"backend_bck": {"name": "nope", "provider": "aws"}}
        answer = native("PATCH", "/v1/buckets/mirror", {"action": "set-bprops", "value": backend})
        assert (answer.status, answer.error()["tcode"]) == (404, "ErrRemoteBckNotFound")


class TestS3:
    """The same over the other dialect."""

    def test_a_bucket_of_the_account_is_found_by_its_name(self, native: Native, account: Account) -> None:
        about = account.set("a", LARGE, content_type="text/x", custom={"colour": "red"})
        head = native("HEAD", "/s3/data/a")
        assert head.status == 200
        listed_now = native("GET", "/s3/data").body.decode()
        for _ in range(2):
            answer = native("GET", "/s3/data/a")
            assert (answer.status, answer.body) == (200, LARGE)
            for name in ("etag", "last-modified", "content-type", "x-amz-meta-colour"):
                assert answer.headers[name] == head.headers[name], name
            assert answer.headers["etag"] == f'"{about.etag}"'
        assert native("GET", "/s3/data").body.decode() == listed_now
        assert account.asked.count("get a") == 1

    def test_a_name_that_nobody_has_is_not_looked_for_again(self, native: Native, account: Account) -> None:
        asked: list[str] = []
        names = account.buckets

        async def buckets() -> list[str]:
            asked.append("buckets")
            return await names()

        account.buckets = buckets  # type: ignore[method-assign]
        for _ in range(3):
            assert native("GET", "/s3/nope/a").status == 404
        assert asked == ["buckets"]

    def test_writes_and_removals_reach_the_source(self, native: Native, account: Account) -> None:
        native("HEAD", BUCKET)
        put = native("PUT", "/s3/data/a", LARGE, content_length=str(len(LARGE)), x_amz_meta_colour="red")
        assert put.status == 200
        assert account.has("a") == LARGE
        assert asyncio.run(account.head("data", "a")).custom == {"colour": "red"}
        assert native("GET", "/s3/data/a").headers["x-amz-meta-colour"] == "red"
        native("PUT", "/s3/data/b", b"x", content_length="1")
        assert native("DELETE", "/s3/data/a").status == 204
        body = b"<Delete><Object><Key>b</Key></Object><Object><Key>none</Key></Object></Delete>"
        assert native("POST", "/s3/data?delete", body).status == 200
        assert (account.has("a"), account.has("b")) == (None, None)

    def test_a_range_of_a_cold_object_comes_at_once(self, native: Native, account: Account) -> None:
        account.set("a", LARGE)
        native("HEAD", BUCKET)
        answer = native("GET", "/s3/data/a", range="bytes=5-9")
        assert (answer.status, answer.body) == (206, LARGE[5:10])
        assert "get a 5" in account.asked
        settled(native)
        assert native("GET", "/s3/data/a").body == LARGE
        assert account.asked.count("get a") == 1

    def test_pages_go_on_exactly_where_they_ended(self, native: Native, account: Account) -> None:
        keys = [f"k{number:02}" for number in range(25)]
        for key in keys:
            account.set(key, b"x")
        native("GET", url("k03"))
        found, after = [], ""
        while True:
            more = f"&start-after={after}" if after else ""
            page = native("GET", f"/s3/data?list-type=2&max-keys=7{more}").body.decode()
            names = [part.partition("</Key>")[0] for part in page.split("<Key>")[1:]]
            found += names
            if "<IsTruncated>false" in page:
                break
            after = names[-1]
        assert found == keys

    def test_what_would_write_here_only_is_not_implemented(self, native: Native) -> None:
        native("HEAD", BUCKET)
        assert native("PUT", "/s3/data/a?tagging", b"<Tagging/>").status == 501
        assert native("DELETE", "/s3/data").status == 405


class TestListing:
    def test_pages_go_on_exactly_where_they_ended(self, native: Native, account: Account) -> None:
        keys = [f"k{number:02}" for number in range(25)]
        for key in keys:
            account.set(key, b"x")
        for key in ("k03", "k10"):
            native("GET", url(key))
        found: dict[str, int] = {}
        token = ""
        while True:
            value = {"props": "name,size,cached", "pagesize": 7, "continuation_token": token}
            answer = native("GET", BUCKET, {"action": "list", "value": value})
            page = answer.json()
            found |= {entry["name"]: entry.get("flags", 0) for entry in page["entries"]}
            token = page["continuation_token"]
            if not token:
                break
        assert list(found) == keys
        assert {key for key, flags in found.items() if flags} == {"k03", "k10"}

    def test_the_packed_form_tells_the_same(self, native: Native, account: Account) -> None:
        account.set("a", b"one")
        account.set("b", b"three")
        native("GET", url("a"))
        answer = native(
            "GET", BUCKET, {"action": "list", "value": {"props": "name,size"}}, accept="application/msgpack"
        )
        assert answer.msgpack()["Entries"] == [{"n": "a", "s": 3, "f": 64}, {"n": "b", "s": 5}]

    def test_what_is_here_and_what_is_not_can_be_asked_for(self, native: Native, account: Account) -> None:
        for key in ("a", "b", "c/d"):
            account.set(key, b"x")
        native("GET", url("b"))
        assert listed(native, flags="1") == {"b": 64}
        assert listed(native, flags="512") == {"a": 0, "c/d": 0}
        assert listed(native, flags="2048") == {"a": 0, "b": 64, "c/": 256}
        assert listed(native, prefix="c") == {"c/d": 0}

    def test_differences_are_marked(self, native: Native, account: Account) -> None:
        for key in ("a", "b", "c"):
            account.set(key, b"x")
            native("GET", url(key))
        account.set("b", b"other")
        asyncio.run(account.delete("data", "c"))
        assert listed(native, flags="4096") == {"a": 64, "b": 64 + 1024, "c": 64 + 2048}
        assert listed(native) == {"a": 64, "b": 64}


class TestJobs:
    """Work on many objects of a remote bucket."""

    @pytest.mark.parametrize(
        ("selected", "left"),
        [
            ({"objnames": ["a/1", "b"]}, ["a/2", "a/3"]),
            ({"template": "a/{1..2}"}, ["a/3", "b"]),
            ({"template": "a/"}, ["b"]),
            ({}, []),
        ],
    )
    def test_objects_are_evicted_as_selected(
        self, native: Native, account: Account, selected: dict[str, Any], left: list[str]
    ) -> None:
        for key in ("a/1", "a/2", "a/3", "b"):
            account.set(key, b"x")
            native("GET", url(key))
        answer = native("DELETE", BUCKET, {"action": "evict-listrange", "value": selected})
        assert answer.status == 200, answer.body
        native.work()
        assert list(listed(native, flags="1")) == left
        assert set(listed(native)) == {"a/1", "a/2", "a/3", "b"}


def test_a_batch_fetches_what_is_not_here(native: Native, account: Account) -> None:
    for key in ("a", "b"):
        account.set(key, key.encode() * 100)
    native("GET", url("a"))
    wanted = {"in": [{"objname": "a"}, {"objname": "b"}, {"objname": "none"}], "strm": True, "coer": True}
    answer = native("GET", "/v1/ml/moss/data?provider=aws", wanted)
    assert answer.status == 200, answer.body
    assert b"a" * 100 in answer.body
    assert b"b" * 100 in answer.body
    assert listed(native, flags="1") == {"a": 64, "b": 64}


def test_the_backends_are_told(native: Native) -> None:
    assert native("GET", "/v1/cluster?what=backends").json() == ["aws"]


class TestSummaries:
    def ask(self, native: Native, job: str = "", **value: Any) -> Answer:
        return native("GET", BUCKET, {"action": "summary-bck", "value": {"uuid": job, **value}})

    def summary(self, native: Native, **value: Any) -> Any:
        job = self.ask(native, **value).body.decode()
        answer = self.ask(native, job, **value)
        assert answer.status == 200, answer.body
        (found,) = answer.json()
        return found

    def test_what_is_here_and_what_the_source_has_is_counted(self, native: Native, account: Account) -> None:
        for number in range(1, 4):
            account.set(f"train/{number}", b"x" * number)
        account.set("other", b"y" * 10)
        native("GET", url("train/2"))
        found = self.summary(native)
        assert found["ObjCount"] == {"obj_count_present": "1", "obj_count_remote": "4"}
        assert found["TotalSize"]["size_all_present_objs"] == "2"
        assert found["TotalSize"]["size_all_remote_objs"] == "16"
        assert found["ObjSize"] == {"obj_min_size": 1, "obj_avg_size": 4, "obj_max_size": 10}
        assert self.summary(native, prefix="train/")["ObjCount"]["obj_count_remote"] == "3"

    def test_the_source_is_left_alone_where_only_what_is_cached_is_wanted(
        self, native: Native, account: Account
    ) -> None:
        account.set("a", b"x")
        found = self.summary(native, cached=True)
        assert found["ObjCount"] == {"obj_count_present": "0", "obj_count_remote": "0"}

    def test_heads_ask_the_source_only_when_told_so(self, native: Native, account: Account) -> None:
        account.set("a", b"xyz")

        def remote(asked: str) -> str:
            path = f"{BUCKET}&presence=0&bsumm_remote={asked}"
            job = native("HEAD", path).headers["ais-xaction-id"]
            told = json.loads(native("HEAD", f"{path}&uuid={job}").headers["ais-bucket-summ"])
            return str(told["TotalSize"]["size_all_remote_objs"])

        assert (remote("True"), remote("False")) == ("3", "0")

    def test_a_source_is_listed_no_further_when_nobody_polls(
        self, native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(1001):
            account.set(f"{number:04}", b"x")
        job = self.ask(native).body.decode()
        with monkeypatch.context() as abandoned:
            abandoned.setattr(summary_module, "ABANDONED_S", -1.0)
            left = self.ask(native, job)
        assert (left.status, left.json()[0]["ObjCount"]["obj_count_remote"]) == (206, "1000")
        assert self.ask(native, job).json()[0]["ObjCount"]["obj_count_remote"] == "1001"

    def test_of_several_buckets_one_whose_source_refuses_says_so(
        self, native: Native, account: Account
    ) -> None:
        account.set("a", b"xyz")
        native("HEAD", BUCKET)
        backend = {"backend_bck": {"name": "data", "provider": "aws"}}
        native.bucket("own")
        change = {"action": "set-bprops", "value": backend}
        assert native("PATCH", "/v1/buckets/own", change).status == 200
        lists = account.list_objects
        refused = iter([denied, lists])  # the first of two buckets

        async def list_objects(*asked: Any, **how: Any) -> RemotePage:
            return await next(refused)(*asked, **how)

        account.list_objects = list_objects  # type: ignore[method-assign]
        every = "/v1/buckets/"

        def ask(job: str) -> Answer:
            return native("GET", every, {"action": "summary-bck", "value": {"uuid": job}})

        told = ask(ask("").body.decode())
        assert told.status == 200, told.body
        one, other = told.json()
        assert (one["ObjCount"]["obj_count_remote"], other["ObjCount"]["obj_count_remote"]) == ("0", "1")
        assert "denied" in one["refusal"]
        assert "refusal" not in other

    def test_a_source_that_refuses_is_told_and_asked_again(self, native: Native, account: Account) -> None:
        account.set("a", b"xyz")
        job = self.ask(native).body.decode()
        lists, account.list_objects = account.list_objects, denied  # type: ignore[method-assign]
        assert self.ask(native, job).status == 403
        account.list_objects = lists  # type: ignore[method-assign]
        assert self.ask(native, job).json()[0]["ObjCount"]["obj_count_remote"] == "1"
