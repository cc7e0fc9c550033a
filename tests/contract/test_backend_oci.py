"""The provider of Oracle's Object Storage, over a stand-in that checks signatures; and the stand-in itself,
used by Oracle's own library.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from aisle.backends.oci import OciAccount, OciIdentity, OciProvider
from aisle.backends.oci_accounts import InstancePrincipal, endpoint_of, open_account
from aisle.backends.oci_signing import SigningKey, signed_fields
from aisle.backends.provider import BackendProvider, RemoteObject, WriteCondition
from aisle.backends.registry import Account
from aisle.errors import (
    AisleError,
    BucketNotEmpty,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
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
from support.oci_server import (
    COMPARTMENT,
    HOME,
    KEY_ID,
    NAMESPACE,
    TENANCY,
    OciServer,
    Refusal,
    running_oci_server,
)
from support.oci_server_instance import OciInstance

__all__ = ["event_loop"]

oci = pytest.importorskip("oci", reason="Oracle's library is not installed: pip install '.[oci]'")

LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)
ELSEWHERE = "eu-paris-1"
PART_BYTES = 1024 * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[OciServer]:
    with running_oci_server() as running:
        yield running


@pytest.fixture(autouse=True)
def usual(server: OciServer) -> None:
    server.buckets.clear()
    server.uploads.clear()
    server.asked.clear()
    server.refusals.clear()
    server.regions = [HOME]
    server.wrong_sums = False
    server.sessions.clear()
    server.unsigned = None
    server.objects(BUCKET)


def account(server: OciServer, **other: Any) -> OciAccount:
    identity = OciIdentity(SigningKey(KEY_ID, server.key), TENANCY, HOME)

    async def current() -> OciIdentity:
        return identity

    told = {"compartment": COMPARTMENT, "multipart_from_bytes": 2 * PART_BYTES, "part_bytes": PART_BYTES}
    exchanges = Exchanges(LIMITS, EgressGuard(EgressPolicy(allow_loopback=True)))
    return OciAccount(exchanges, current, endpoint_of(f"{server.url}/{{region}}"), **{**told, **other})


async def opened(server: OciServer, **other: Any) -> OciProvider:
    return OciProvider(account(server, **other))


class TestContract(BackendProviderContract):
    @pytest.fixture
    def provider(self, server: OciServer) -> Iterator[BackendProvider]:
        provider = run(opened(server))
        yield provider
        run(provider.close())
        assert not server.uploads, "an upload was left behind"

    def test_large_objects_are_written_in_parts(self, provider: BackendProvider, server: OciServer) -> None:
        content = os.urandom(5 * PART_BYTES + 3)

        async def scenario() -> None:
            about = RemoteObject("large", len(content), content_type="text/x", custom={"k": "v"})
            written = await provider.put(BUCKET, "large", chunked(content, 300_001), about)
            assert server.count("PUT", "uploadPartNum=6") == 1
            found = await provider.head(BUCKET, "large")
            assert found == written._replace(modified_ns=found.modified_ns)
            # Of what was written in parts there is no MD5; the CRC32C is that of the whole.
            assert found.digests.keys() == {"crc32c"}
            assert (found.content_type, found.custom) == ("text/x", {"k": "v"})
            assert hashlib.sha256(await read(provider, "large")).digest() == hashlib.sha256(content).digest()

        run(scenario())

    @pytest.mark.parametrize("size", [1, 3 * PART_BYTES])
    def test_fields_of_any_characters_are_whole(self, provider: BackendProvider, size: int) -> None:
        fields = {"content-disposition": 'attachment; filename="日本 ä.csv"'.encode().decode("latin-1")}

        async def scenario() -> None:
            await put(provider, "k", bytes(size), fields=fields)
            assert (await provider.head(BUCKET, "k")).fields == fields

        run(scenario())

    def test_a_large_write_that_breaks_off_leaves_nothing(
        self, provider: BackendProvider, server: OciServer
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(PART_BYTES + 1)
            raise ConnectionResetError

        async def short() -> AsyncIterator[bytes]:
            yield bytes(PART_BYTES + 1)

        async def scenario() -> None:
            about = RemoteObject("large", 3 * PART_BYTES)
            with pytest.raises(ConnectionResetError):
                await provider.put(BUCKET, "large", broken(), about)
            with pytest.raises(SourceFailed, match="shorter"):
                await provider.put(BUCKET, "large", short(), about)
            assert not (await provider.list_objects(BUCKET)).objects
            assert not server.uploads

        run(scenario())

    def test_conditions_hold_for_large_writes(self, provider: BackendProvider) -> None:
        content = bytes(3 * PART_BYTES)

        async def scenario() -> None:
            about = RemoteObject("large", len(content))
            only_new = WriteCondition(is_absent=True)
            await provider.put(BUCKET, "large", chunked(content, PART_BYTES), about, only_if=only_new)
            with pytest.raises(ConditionFailed):
                await provider.put(BUCKET, "large", chunked(content, PART_BYTES), about, only_if=only_new)

        run(scenario())

    def test_names_are_exact(self, provider: BackendProvider) -> None:
        names = ["a b", "a+b", "a%20b", "ä/ö", "q?x=y&z", "#", "//", "/a//b/", "x" * 1024, "tab\tin", "~'\"|"]

        async def scenario() -> None:
            for number, name in enumerate(names):
                await provider.put(
                    BUCKET, name, chunked(b"%d" % number), RemoteObject(name, len(str(number)))
                )
            page = await provider.list_objects(BUCKET)
            assert sorted(about.key for about in page.objects) == sorted(names)
            for number, name in enumerate(names):
                assert await read(provider, name) == b"%d" % number
                assert (await provider.head(BUCKET, name)).key == name
                assert [about.key for about in (await provider.list_objects(BUCKET, prefix=name)).objects]
                await provider.delete(BUCKET, name)

        run(scenario())

    def test_a_listing_tells_what_a_read_tells(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k", b"content")
            (listed,) = (await provider.list_objects(BUCKET)).objects
            found = await provider.head(BUCKET, "k")
            assert (listed.etag, listed.version, listed.size) == (found.etag, found.version, found.size)
            assert listed.digests["md5"] == found.digests["md5"]
            assert listed.modified_ns == found.modified_ns

        run(scenario())

    def test_wrong_sums_are_noticed_by_whoever_compares(
        self, provider: BackendProvider, server: OciServer
    ) -> None:
        async def scenario() -> None:
            with pytest.raises(SourceFailed, match="Unmatched"):
                await put(provider, "k", b"content", digests={"md5": "00" * 16})
            server.wrong_sums = True
            for size in (10, 3 * PART_BYTES):
                with pytest.raises(SourceFailed, match="other bytes"):
                    await put(provider, "k", bytes(size))
            server.wrong_sums = False
            # What was written wrong does not stay.
            with pytest.raises(ObjectNotFound):
                await provider.head(BUCKET, "k")

        run(scenario())

    def test_a_read_of_nothing_insists_on_the_object_too(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k", b"one")
            for span in ({"length": 0}, {"offset": 5}, {"offset": 5, "length": 2}):
                opened = await provider.get(BUCKET, "k", **span)
                assert (opened.about.size, [chunk async for chunk in opened.chunks]) == (3, [])
                with pytest.raises(SourceChanged):
                    await provider.get(BUCKET, "k", etag="another", **span)

        run(scenario())

    def test_metadata_that_no_field_can_hold_is_refused(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            for custom in ({"k": "ä"}, {"k": "a\r\nopc-meta-other: b"}, {"k k": "v"}, {"k:": "v"}):
                with pytest.raises(Unsupported, match="ASCII"):
                    await put(provider, "k", custom=custom)

        run(scenario())

    def test_what_is_full_stays(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await put(provider, "k")
            with pytest.raises(BucketNotEmpty):
                await provider.delete_bucket(BUCKET)

        run(scenario())

    @pytest.mark.parametrize("delimiter", ["-", "--", "ö", "\ud7ff", "\U0010ffff"])
    @pytest.mark.parametrize("limit", [1, 2, 100])
    def test_names_are_folded_at_delimiters_that_oracle_does_not_know(
        self, provider: BackendProvider, delimiter: str, limit: int
    ) -> None:
        async def scenario() -> None:
            for key in ("a", "d*", "d*1", "d*2*3", "d/*4", "e*5", "z"):
                await put(provider, key.replace("*", delimiter))

            async def all_of(prefix: str, after: str = "") -> list[str]:
                found, token = [], ""
                while True:
                    page = await provider.list_objects(
                        BUCKET, prefix=prefix, delimiter=delimiter, limit=limit, token=token, after=after
                    )
                    assert len(page.objects) + len(page.prefixes) <= limit
                    found += [*(about.key for about in page.objects), *page.prefixes]
                    token, after = page.token, ""
                    if not token:
                        return sorted(name.replace(delimiter, "*") for name in found)

            assert await all_of("") == ["a", "d*", "d/*", "e*", "z"]
            assert await all_of(f"d{delimiter}") == ["d*", "d*1", "d*2*"]
            behind = ["d/*", "e*", "z"] if delimiter < "/" else ["e*", "z"]
            assert await all_of("", f"d{delimiter}") == behind

        run(scenario())

    def test_many_buckets_are_listed(self, provider: BackendProvider, server: OciServer) -> None:
        for number in range(1500):
            server.objects(f"b{number:04}")
        assert len(run(provider.buckets())) == 1501


def test_a_bucket_is_found_in_its_region(server: OciServer) -> None:
    server.buckets.clear()
    server.objects(BUCKET, ELSEWHERE)["k"] = server.store("other", "k", b"content")

    async def scenario() -> None:
        provider = await opened(server)
        with pytest.raises(BucketNotFound):
            await provider.head_bucket(BUCKET)
        server.regions = [HOME, "ap-tokyo-1", ELSEWHERE]
        assert (await provider.head_bucket(BUCKET))["region"] == ELSEWHERE
        assert await read(provider, "k") == b"content"
        with pytest.raises(BucketNotFound):
            await provider.head_bucket("nowhere")
        await provider.close()
        # A region that a bucket's properties name is believed.
        there, home = await opened(server, region=ELSEWHERE), await opened(server, region=HOME)
        assert await read(there, "k") == b"content"
        with pytest.raises(BucketNotFound):
            await home.head_bucket(BUCKET)
        await there.close()
        await home.close()

    asyncio.run(scenario())


def test_who_is_not_known_is_told_so(server: OciServer) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def scenario() -> None:
        for key in (SigningKey(KEY_ID, stranger), SigningKey(f"{TENANCY}/nobody/1:2", server.key)):

            async def current(key: SigningKey = key) -> OciIdentity:
                return OciIdentity(key, TENANCY, HOME)

            provider = OciProvider(account(server)._replace(identity=current))
            for call in (
                lambda provider=provider: provider.head_bucket(BUCKET),
                lambda provider=provider: provider.get(BUCKET, "k"),
            ):
                with pytest.raises(SourceDenied, match="key, user, tenancy and clock"):
                    await call()
            await provider.close()
        late = OciProvider(account(server), now_s=lambda: time.time() - 400)
        with pytest.raises(SourceDenied, match="clock"):
            await late.list_objects(BUCKET)
        await late.close()
        elsewhere = await opened(server, compartment="ocid1.compartment.oc1..other")
        for refused in (elsewhere.buckets(), elsewhere.create_bucket("new")):
            with pytest.raises(SourceDenied, match="compartment"):
                await refused
        await elsewhere.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("refusal", "error", "wait_s"),
    [
        (Refusal(503, "ServiceUnavailable", Retry_After="3"), SourceUnreachable, 3.0),
        (Refusal(500, "InternalServerError"), SourceUnreachable, None),
        (Refusal(429, "TooManyRequests", Retry_After="1"), SourceThrottled, 1.0),
        (Refusal(429, "TooManyRequests"), SourceThrottled, None),
        (Refusal(403, "NotAllowed"), SourceDenied, None),
        (Refusal(400, "InvalidParameter"), SourceFailed, None),
        (Refusal(409, "NotRestored"), SourceFailed, None),
        (Refusal(404, "BucketNotFound"), BucketNotFound, None),
    ],
)
def test_what_a_source_answers_becomes_an_error_of_ours(
    server: OciServer, refusal: Refusal, error: type[AisleError], wait_s: float | None
) -> None:
    async def scenario() -> None:
        provider = await opened(server)
        await provider.list_objects(BUCKET)
        server.refusals.append(refusal)
        with pytest.raises(error) as raised:
            await provider.list_objects(BUCKET)
        assert type(raised.value) is error
        if isinstance(raised.value, SourceFailed):
            assert raised.value.retry_after_s == wait_s
            assert refusal.code in str(raised.value)
        await provider.close()

    asyncio.run(scenario())


class TestOraclesLibrary:
    """It takes the stand-in for Oracle, and signs as we do."""

    @pytest.fixture
    def config(self, server: OciServer, tmp_path: Path) -> dict[str, Any]:
        server.configure(tmp_path)
        return dict(oci.config.from_file(str(tmp_path / "config")))

    @pytest.fixture
    def client(self, server: OciServer, config: dict[str, Any]) -> Any:
        return oci.object_storage.ObjectStorageClient(config, service_endpoint=server.url)

    def test_it_uses_the_stand_in(self, client: Any) -> None:
        assert client.get_namespace().data == NAMESPACE
        details = oci.object_storage.models.CreateBucketDetails(name="made", compartment_id=COMPARTMENT)
        client.create_bucket(NAMESPACE, details)
        assert [each.name for each in client.list_buckets(NAMESPACE, COMPARTMENT).data] == [BUCKET, "made"]
        written = client.put_object(NAMESPACE, "made", "a/b c", b"content", opc_meta={"k": "v"})
        found = client.get_object(NAMESPACE, "made", "a/b c", range="bytes=3-4")
        assert (found.status, found.data.content, found.headers["opc-meta-k"]) == (206, b"te", "v")
        assert found.headers["etag"] == written.headers["etag"]
        listed = client.list_objects(NAMESPACE, "made", delimiter="/", fields="name,size,md5").data
        assert (listed.objects, listed.prefixes, listed.next_start_with) == ([], ["a/"], None)
        client.delete_object(NAMESPACE, "made", "a/b c")
        client.delete_bucket(NAMESPACE, "made")

    def test_it_uploads_in_parts(self, client: Any, server: OciServer, tmp_path: Path) -> None:
        content = os.urandom(3 * PART_BYTES)
        (tmp_path / "large").write_bytes(content)
        uploads = oci.object_storage.UploadManager(client, allow_parallel_uploads=False)
        uploads.upload_file(
            NAMESPACE, BUCKET, "large", str(tmp_path / "large"), part_size=PART_BYTES, metadata={"k": "v"}
        )
        stored = server.objects(BUCKET)["large"]
        assert (stored.content == content, stored.fields["opc-meta-k"]) == (True, "v")
        assert stored.fields["opc-multipart-md5"].endswith("-3")
        assert not server.uploads

    def test_it_is_refused_as_oracle_would(
        self, client: Any, config: dict[str, Any], server: OciServer
    ) -> None:
        def refused(call: Any) -> tuple[int, str]:
            with pytest.raises(oci.exceptions.ServiceError) as raised:
                call()
            return raised.value.status, raised.value.code

        put_object = client.put_object
        put_object(NAMESPACE, BUCKET, "k", b"")
        assert refused(lambda: client.get_object(NAMESPACE, BUCKET, "no")) == (404, "ObjectNotFound")
        assert refused(lambda: client.list_objects(NAMESPACE, "no")) == (404, "BucketNotFound")
        assert refused(lambda: put_object(NAMESPACE, BUCKET, "k", b"", if_none_match="*")) == (
            412,
            "IfNoneMatchFailed",
        )
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        other = {**config, "key_content": OciServer("", stranger).pem}
        del other["key_file"]
        client = oci.object_storage.ObjectStorageClient(other, service_endpoint=server.url)
        assert refused(client.get_namespace) == (401, "NotAuthenticated")

    def test_it_signs_as_we_do(self, server: OciServer, config: dict[str, Any]) -> None:
        signer = oci.signer.Signer.from_config(config)
        now_s = time.time()
        for method, target, document in (
            ("GET", "/n/x/b/y/o?prefix=a%20b&limit=1", None),
            ("PUT", "/n/x/b/y/o/%C3%A4//b", None),
            ("POST", "/n/x/b/y/u", b'{"object":"k"}'),
        ):
            link = f"https://objectstorage.{HOME}.oraclecloud.com{target}"
            ours = signed_fields(SigningKey(KEY_ID, server.key), method, link, document=document, now_s=now_s)
            headers = {"date": ours["Date"], "content-length": str(len(document or b""))}
            request = SimpleNamespace(
                method=method, url=link, path_url=target, body=document, headers=headers
            )
            theirs = signer.do_request_sign(request, enforce_content_headers=document is not None)
            assert theirs.headers["authorization"] == ours["Authorization"]


def test_an_account_is_opened_from_its_configuration(server: OciServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        exchanges = Exchanges(LIMITS, EgressGuard(EgressPolicy(allow_loopback=True)))
        provider = open_account(Account("oci"), exchanges, server.configure(tmp_path))
        assert await provider.buckets() == [BUCKET]
        await provider.close()

    asyncio.run(scenario())


def test_an_instance_needs_no_configuration(
    server: OciServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = OciInstance(server)
    monkeypatch.setenv("OCI_METADATA_BASE_URL", instance.metadata_url)
    monkeypatch.setattr("oci.regions.endpoint_for", lambda *_: server.url)
    monkeypatch.setattr("aisle.backends.refreshed.REFRESH_S", 0.0)
    environment = {**server.configure(tmp_path), "OCI_INSTANCE_PRINCIPAL_AUTH": "true"}

    async def scenario() -> None:
        exchanges = Exchanges(LIMITS, EgressGuard(EgressPolicy(allow_loopback=True)))
        provider = open_account(Account("oci"), exchanges, environment)
        for _ in range(3):
            assert await provider.buckets() == [BUCKET]
        assert len(instance.tokens) == 1
        assert instance.tokens[0] in server.asked[-1].headers["authorization"]
        await provider.close()

    asyncio.run(scenario())


def test_an_instance_renews_its_token_in_time(server: OciServer, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = OciInstance(server)
    instance.token_s = 59  # Oracle's library renews what is valid for less than a minute
    monkeypatch.setenv("OCI_METADATA_BASE_URL", instance.metadata_url)
    monkeypatch.setattr("oci.regions.endpoint_for", lambda *_: server.url)
    monkeypatch.setattr("aisle.backends.refreshed.REFRESH_S", 0.0)
    identity = InstancePrincipal().identity
    first, second = identity(), identity()
    assert first.key.key_id != second.key.key_id
    assert second.key.private_key.public_key() == server.sessions[second.key.key_id]
    assert (second.tenancy, second.region) == (TENANCY, HOME)
