"""The provider of Google's storage: over a storage emulator, and over a stand-in that checks tokens."""

import asyncio
import gzip
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import requests
from awscrt import checksums as crt_checksums

from aisle.backends.gcp import GcpAccount, GcpProvider
from aisle.backends.gcp_accounts import Found, TokenIdentity, find_credentials
from aisle.backends.provider import BackendProvider, RemoteObject, WriteCondition
from aisle.errors import (
    ConditionFailed,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
    Unsupported,
)
from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Exchanges
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from contract.backend_contract import BUCKET, BackendProviderContract, chunked, event_loop, put, read, run
from support.fake_gcs import running_fake_gcs
from support.faulty import Asked, Writer, faulty_server, reply
from support.google_service import GoogleService, key_of, running_google_service

__all__ = ["event_loop"]

LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)
CHUNK = 256 * 1024


class Nobody:
    """Anonymous."""

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def project(self) -> str:
        return "project-of-tests"

    def refused(self, headers: Mapping[str, str]) -> None: ...


async def opened(
    url: str,
    identity: TokenIdentity | None = None,
    *,
    chunk_bytes: int = CHUNK,
    limits: FetchConfig = LIMITS,
) -> GcpProvider:
    exchanges = Exchanges(limits, EgressGuard(EgressPolicy(allow_loopback=True)))
    return GcpProvider(GcpAccount(exchanges, identity or Nobody(), url, chunk_bytes))


class GcpContract(BackendProviderContract):
    @pytest.mark.parametrize("size", [3 * CHUNK, 3 * CHUNK + 1, CHUNK + 7, CHUNK])
    def test_large_objects_are_written_in_chunks(self, provider: BackendProvider, size: int) -> None:
        content = os.urandom(size)

        async def scenario() -> None:
            about = RemoteObject("large", size, content_type="text/x", custom={"k": "v"})
            written = await provider.put(BUCKET, "large", chunked(content, 100_001), about)
            assert (written.size, written.content_type, written.custom["k"]) == (size, "text/x", "v")
            assert await read(provider, "large") == content

        run(scenario())

    def test_a_large_write_that_breaks_off_leaves_nothing(self, provider: BackendProvider) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(2 * CHUNK)
            raise ConnectionResetError

        async def scenario() -> None:
            with pytest.raises(ConnectionResetError):
                await provider.put(BUCKET, "large", broken(), RemoteObject("large", 4 * CHUNK))
            assert not (await provider.list_objects(BUCKET)).objects

        run(scenario())

    @pytest.mark.parametrize("size", [3, 2 * CHUNK])
    def test_a_body_of_another_length_is_not_written(self, provider: BackendProvider, size: int) -> None:
        async def scenario() -> None:
            for announced in (size - 1, size + 1):
                with pytest.raises(SourceFailed, match="than it was said to be"):
                    await provider.put(BUCKET, "k", chunked(bytes(size)), RemoteObject("k", announced))
            assert not (await provider.list_objects(BUCKET)).objects

        run(scenario())

    def test_names_are_exact(self, provider: BackendProvider) -> None:
        names = [
            "a b",
            "a+b",
            "a%20b",
            "ä/ö",
            "q?x=y&z",
            "#",
            "//",
            "x" * 1024,
            "'quoted'",
            "100%",
            "o/b/o/c",
        ]

        async def scenario() -> None:
            for number, name in enumerate(names):
                await put(provider, name, b"%d" % number)
            page = await provider.list_objects(BUCKET)
            assert sorted(about.key for about in page.objects) == sorted(names)
            for number, name in enumerate(names):
                assert await read(provider, name) == b"%d" % number
                assert (await provider.head(BUCKET, name)).key == name
                await provider.delete(BUCKET, name)
            assert not (await provider.list_objects(BUCKET)).objects

        run(scenario())

    def test_a_listing_tells_what_heads_tell(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k", b"content")
            [listed] = (await provider.list_objects(BUCKET)).objects
            head = await provider.head(BUCKET, "k")
            assert listed[:5] == head[:5]
            assert listed.digests == head.digests
            assert head.digests["md5"] == hashlib.md5(b"content").hexdigest()
            assert head.version

        run(scenario())


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """URL of a storage emulator."""
    with running_fake_gcs() as url:
        yield url


class TestOverAnEmulator(GcpContract):
    @pytest.fixture
    def provider(self, emulator: str) -> Iterator[BackendProvider]:
        requests.post(f"{emulator}/storage/v1/b", json={"name": BUCKET}, timeout=30).raise_for_status()
        provider = run(opened(emulator))
        yield provider
        listed = requests.get(f"{emulator}/storage/v1/b/{BUCKET}/o", timeout=30).json()
        for each in listed.get("items", ()):
            run(provider.delete(BUCKET, each["name"]))
        run(provider.close())
        requests.delete(f"{emulator}/storage/v1/b/{BUCKET}", timeout=30).raise_for_status()

    @pytest.mark.parametrize("limit", [100])
    def test_names_are_folded_at_a_delimiter(self, provider: BackendProvider, limit: int) -> None:
        """The emulator tells all folded names with each page; those are tried over the stand-in."""
        super().test_names_are_folded_at_a_delimiter(provider, limit)

    def test_crc32c_is_that_of_the_content(self, provider: BackendProvider) -> None:
        about = run(put(provider, "k", b"content"))
        assert about.digests["crc32c"] == crt_checksums.crc32c(b"content").to_bytes(4, "big").hex()

    def test_what_is_stored_compressed_comes_as_it_is_stored(
        self, provider: BackendProvider, emulator: str
    ) -> None:
        stored = gzip.compress(b"text " * 1000)
        link = f"{emulator}/upload/storage/v1/b/{BUCKET}/o"
        query = {"uploadType": "media", "name": "packed", "contentEncoding": "gzip"}
        requests.post(link, params=query, data=stored, timeout=30).raise_for_status()
        assert run(read(provider, "packed")) == stored


@pytest.fixture(scope="module")
def service_of_all() -> Iterator[GoogleService]:
    with running_google_service() as running:
        yield running


class TestOverAStandInWithTokens(GcpContract):
    @pytest.fixture
    def provider(self, service_of_all: GoogleService, tmp_path: Path) -> Iterator[BackendProvider]:
        service_of_all.objects.clear()
        service_of_all.contents.clear()
        service_of_all.buckets.add(BUCKET)
        identity = identity_of(service_of_all.key_file(tmp_path / "key.json"))
        provider = run(opened(service_of_all.url, identity))
        yield provider
        run(provider.close())

    @pytest.mark.parametrize("size", [1, 2 * CHUNK])
    def test_fields_of_any_characters_are_whole_in_documents(
        self, provider: BackendProvider, service_of_all: GoogleService, size: int
    ) -> None:
        meant = 'attachment; filename="日本 ä.csv"'
        fields = {"content-disposition": meant.encode().decode("latin-1")}

        async def scenario() -> None:
            written = await put(provider, "k", bytes(size), fields=fields)
            assert written.fields == fields
            assert service_of_all.objects[BUCKET, "k"]["contentDisposition"] == meant
            assert (await provider.head(BUCKET, "k")).fields == fields

        run(scenario())

    def test_a_wrong_digest_is_not_written(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            for size in (1, 2 * CHUNK):
                about = RemoteObject("k", size, digests={"md5": "0" * 32})
                with pytest.raises(SourceFailed, match="MD5"):
                    await provider.put(BUCKET, "k", chunked(bytes(size)), about)
            assert not (await provider.list_objects(BUCKET)).objects

        run(scenario())

    def test_conditions_of_large_writes_hold(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k")
            about = RemoteObject("k", 2 * CHUNK)
            with pytest.raises(ConditionFailed):
                await provider.put(
                    BUCKET, "k", chunked(bytes(2 * CHUNK)), about, only_if=WriteCondition(is_absent=True)
                )
            assert await read(provider, "k") == b"x"

        run(scenario())


@pytest.fixture
def service() -> Iterator[GoogleService]:
    with running_google_service() as running:
        running.keep(BUCKET, "k", b"0123456789")
        yield running


class Clock:
    """The time, which tests move."""

    moved_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved_s


def identity_of(path: Path, clock: Clock | None = None) -> TokenIdentity:
    def find() -> Found:
        return find_credentials(str(path), {})

    return TokenIdentity(find, now_s=clock or Clock())


def test_a_token_is_asked_for_once_by_many_who_wait(service: GoogleService, tmp_path: Path) -> None:
    identity = identity_of(service.key_file(tmp_path / "key.json"))
    service.hold_tokens.clear()

    async def scenario() -> None:
        provider = await opened(service.url, identity)
        reading = [asyncio.ensure_future(read(provider, "k")) for _ in range(10)]
        assert await asyncio.to_thread(service.is_asked_for_token.wait, 30)
        service.hold_tokens.set()
        assert await asyncio.gather(*reading) == [b"0123456789"] * 10
        assert await identity.project() == "project-of-tests"
        await provider.close()

    run(scenario())
    assert service.times("POST", "/token") == 1


def test_a_token_is_replaced_before_it_ends_and_meanwhile_used(
    service: GoogleService, tmp_path: Path
) -> None:
    clock = Clock()
    identity = identity_of(service.key_file(tmp_path / "key.json"), clock)

    async def scenario() -> None:
        first = await identity.headers()
        clock.moved_s = 3600 - 230
        service.hold_tokens.clear()
        assert await identity.headers() == first
        service.hold_tokens.set()
        assert identity._working is not None
        await identity._working
        assert await identity.headers() not in (first, {})
        assert service.times("POST", "/token") == 2
        clock.moved_s = 3 * 3600
        assert await identity.headers() not in (first, {})
        assert service.times("POST", "/token") == 3

    run(scenario())


def test_a_token_that_is_refused_is_replaced(service: GoogleService, tmp_path: Path) -> None:
    identity = identity_of(service.key_file(tmp_path / "key.json"))

    async def scenario() -> None:
        provider = await opened(service.url, identity)
        assert await read(provider, "k") == b"0123456789"
        service.tokens.update(dict.fromkeys(service.tokens, 0.0))
        assert await read(provider, "k") == b"0123456789"
        service.tokens.update(dict.fromkeys(service.tokens, 0.0))
        await provider.put(BUCKET, "large", chunked(bytes(2 * CHUNK)), RemoteObject("large", 2 * CHUNK))
        await provider.close()

    run(scenario())
    assert service.times("POST", "/token") == 3


def test_credentials_that_are_no_good_are_told_as_such(service: GoogleService, tmp_path: Path) -> None:
    other = GoogleService(url=service.url, key=key_of("another")).key_file(tmp_path / "other.json")
    (tmp_path / "broken.json").write_text('{"private_key": "very secret"')
    (tmp_path / "unknown.json").write_text('{"type": "very secret"}')

    async def scenario() -> None:
        for path, text in (
            (other, "Invalid JWT Signature"),
            (tmp_path / "absent.json", "absent.json: No such file"),
            (tmp_path / "broken.json", "broken.json is no JSON file of a service account"),
            (tmp_path / "unknown.json", "unknown.json is no JSON file of a service account"),
        ):
            provider = await opened(service.url, identity_of(path))
            with pytest.raises(SourceDenied, match=text) as raised:
                await provider.head(BUCKET, "k")
            assert "very secret" not in str(raised.value)
            await provider.close()

    run(scenario())


def test_a_key_that_was_replaced_is_read_again(service: GoogleService, tmp_path: Path) -> None:
    path = GoogleService(url=service.url, key=key_of("another")).key_file(tmp_path / "key.json")
    identity = identity_of(path)

    async def scenario() -> None:
        with pytest.raises(SourceDenied):
            await identity.headers()
        service.key_file(path)
        assert await identity.headers()

    run(scenario())


def test_who_gives_tokens_may_be_away(service: GoogleService, tmp_path: Path) -> None:
    path = service.key_file(tmp_path / "key.json", token_uri="http://127.0.0.1:1/token")

    async def scenario() -> None:
        with pytest.raises(SourceUnreachable, match="no access token"):
            await identity_of(path).headers()

    run(scenario())


def test_nothing_that_the_environment_names_is_anonymous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.backends.gcp_accounts._MACHINE_FILE", "/nonexistent")
    environment = {"CLOUDSDK_CONFIG": str(tmp_path)}
    assert find_credentials("", environment).credentials is None


ON_A_MACHINE = """
import asyncio, os
from aisle.backends.gcp_accounts import TokenIdentity, find_credentials
print(asyncio.run(TokenIdentity(lambda: find_credentials("", os.environ)).headers()))
"""


def test_a_machine_of_googles_has_tokens_of_its_own(service: GoogleService, tmp_path: Path) -> None:
    """In a process of its own: Google's library reads where the machine's service is when it is imported."""
    host = service.url.removeprefix("http://")
    environment = {"CLOUDSDK_CONFIG": str(tmp_path), "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}
    told = subprocess.run(
        [sys.executable, "-c", ON_A_MACHINE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout == "{'authorization': 'Bearer token-1'}\n"


def test_nobody_waits_long_for_a_token(
    service: GoogleService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.backends.gcp_accounts.WAIT_S", 0.05)
    identity = identity_of(service.key_file(tmp_path / "key.json"))
    service.hold_tokens.clear()

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(SourceUnreachable, match="no access token within"):
                await identity.headers()
        service.hold_tokens.set()
        assert identity._working is not None
        await identity._working
        assert await identity.headers()

    run(scenario())
    assert service.times("POST", "/token") == 1


def test_an_upload_goes_on_where_it_was_interrupted(
    service: GoogleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.backends.gcp_upload._PAUSE_S_MAX", 0.001)
    service.needs_tokens = False
    content = os.urandom(4 * CHUNK + 5)

    async def scenario() -> None:
        provider = await opened(service.url)
        for faults in (
            ["503"],
            ["half"],
            ["lost"],
            ["", "", "", "", "lost"],
            ["half", "503", "half", "lost"],
        ):
            service.faults.extend(faults)
            await provider.put(BUCKET, "large", chunked(content), RemoteObject("large", len(content)))
            assert await read(provider, "large") == content
            assert not service.faults
        await provider.close()

    run(scenario())


def test_an_upload_that_does_not_get_on_is_given_up(
    service: GoogleService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.needs_tokens = False
    monkeypatch.setattr("aisle.backends.gcp_upload._PAUSE_S_MAX", 0.001)

    async def scenario() -> None:
        provider = await opened(service.url)
        service.faults.extend(["503"] * 10)
        with pytest.raises(SourceUnreachable):
            await provider.put(BUCKET, "large", chunked(bytes(2 * CHUNK)), RemoteObject("large", 2 * CHUNK))
        assert not service.uploads
        await provider.close()

    run(scenario())


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_object_that_is_replaced_while_it_is_opened_is_read_as_it_is_told(is_kept: bool) -> None:
    async def scenario() -> None:
        async def told(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b'{"name": "k", "size": "3", "generation": "1", "etag": "one"}')

        async def media(asked: Asked, writer: Writer) -> None:
            if asked.count == 1:
                await reply(writer, 200, b"another", headers={"X-Goog-Generation": "2"})
            elif is_kept:
                await reply(writer, 200, b"old", headers={"X-Goog-Generation": "1"})
            else:
                await reply(writer, 404, b"No such object: data/k")

        async with faulty_server() as server:
            server.on(f"/storage/v1/b/{BUCKET}/o/k", told)
            server.on(f"/download/storage/v1/b/{BUCKET}/o/k", media)
            provider = await opened(server.url)
            if is_kept:
                assert await read(provider, "k") == b"old"
            else:
                with pytest.raises(SourceUnreachable, match="replaced while it is read"):
                    await provider.get(BUCKET, "k")
            await provider.close()

    run(scenario())


def test_more_reads_than_connections_do_not_wait_for_each_other(service: GoogleService) -> None:
    service.needs_tokens = False
    content = os.urandom(3 * 1024 * 1024)  # more than is kept of an answer that nobody reads
    service.keep(BUCKET, "large", content)

    async def scenario() -> None:
        provider = await opened(service.url, limits=LIMITS._replace(connections_max=2))
        async with asyncio.timeout(60):
            found = await asyncio.gather(*(read(provider, "large") for _ in range(6)))
        assert found == [content] * 6
        await provider.close()

    run(scenario())


def test_a_read_insists_on_what_it_knows(service: GoogleService) -> None:
    service.needs_tokens = False

    async def scenario() -> None:
        provider = await opened(service.url)
        etag = (await provider.head(BUCKET, "k")).etag
        reading = await provider.get(BUCKET, "k", offset=4, length=3, etag=etag)
        assert b"".join([chunk async for chunk in reading.chunks]) == b"456"
        service.keep(BUCKET, "k", b"abc")
        for length in (None, 0):
            with pytest.raises(SourceChanged):
                await provider.get(BUCKET, "k", length=length, etag=etag)
        await provider.close()

    run(scenario())


def test_who_may_read_need_not_see_the_bucket_itself() -> None:
    async def scenario() -> None:
        async def denied(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 403, b'{"error": {"message": "no storage.buckets.get"}}')

        async def listing(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b'{"kind": "storage#objects"}')

        async with faulty_server() as server:
            server.on(f"/storage/v1/b/{BUCKET}", denied)
            provider = await opened(server.url)
            server.fallback = listing
            assert await provider.head_bucket(BUCKET) == {"versioning": "true"}
            server.fallback = denied
            with pytest.raises(SourceDenied, match="credentials"):
                await provider.head_bucket(BUCKET)
            await provider.close()

    run(scenario())


def test_a_write_that_means_another_object_fails(service: GoogleService) -> None:
    service.needs_tokens = False

    async def scenario() -> None:
        provider = await opened(service.url)
        for key in ("k", "absent"):
            with pytest.raises(ConditionFailed):
                await provider.put(
                    BUCKET, key, chunked(b"x"), RemoteObject(key, 1), only_if=WriteCondition("another")
                )
        await provider.close()

    run(scenario())


def test_throttling_is_told_with_its_wait() -> None:
    async def scenario() -> None:
        async def refuse(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 429, headers={"Retry-After": "3"})

        async with faulty_server() as server:
            server.fallback = refuse
            provider = await opened(server.url)
            with pytest.raises(SourceThrottled) as raised:
                await provider.get(BUCKET, "k")
            assert raised.value.retry_after_s == 3.0
            await provider.close()

    run(scenario())


def test_buckets_are_listed_of_a_project_only() -> None:
    async def scenario() -> None:
        provider = await opened("http://127.0.0.1:1", TokenIdentity(lambda: Found(None, "")))
        with pytest.raises(Unsupported, match="GOOGLE_CLOUD_PROJECT"):
            await provider.buckets()
        await provider.close()

    run(scenario())
