"""The Azure provider, over Azurite; what it writes is read by Microsoft's own client, and the other way."""

import asyncio
import base64
import datetime
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    PublicAccess,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from aisle.backends.azure import AzureAccount, AzureProvider, Credential, SasToken, SharedKey
from aisle.backends.azure_accounts import open_account
from aisle.backends.provider import BackendProvider, RemoteObject, WriteCondition
from aisle.backends.registry import Account
from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotFound,
    ConditionFailed,
    InvalidName,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)
from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Exchanges
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from contract.backend_contract import BUCKET, BackendProviderContract, chunked, event_loop, pages, read, run
from support.azurite import KEYS, Azurite, running_azurite
from support.faulty import Asked, Writer, faulty_server, reply

__all__ = ["event_loop"]

ACCOUNT = "firstaccount"
KEY = SharedKey(ACCOUNT, base64.b64decode(KEYS[ACCOUNT]))
LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)
TOMORROW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
BLOCK_BYTES = 1024 * 1024


def opened(
    endpoint: str,
    credential: Credential | None = KEY,
    *,
    block_bytes: int = BLOCK_BYTES,
    page_names_max: int = 5000,
) -> AzureProvider:
    async def current() -> Credential | None:
        return credential

    return AzureProvider(AzureAccount(exchanges(), current, endpoint, block_bytes, page_names_max))


def exchanges(ca_file: str = "") -> Exchanges:
    return Exchanges(LIMITS, EgressGuard(EgressPolicy(allow_loopback=True)), ca_file=ca_file)


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    """A stand-in for Azure."""
    with running_azurite() as server:
        yield server


@pytest.fixture
def container(azurite: Azurite) -> Iterator[ContainerClient]:
    """The container `data`, in the hands of Microsoft's client."""
    client = azurite.container(BUCKET)
    yield client
    client.delete_container()


class TestOverAzurite(BackendProviderContract):
    @pytest.fixture
    def provider(self, azurite: Azurite, container: ContainerClient) -> Iterator[BackendProvider]:
        async def make() -> AzureProvider:
            return opened(azurite.endpoint())

        provider = run(make())
        yield provider
        run(provider.close())

    def test_large_objects_are_written_in_blocks(
        self, provider: BackendProvider, container: ContainerClient
    ) -> None:
        content = os.urandom(3 * BLOCK_BYTES + 3)
        md5 = hashlib.md5(content)
        about = RemoteObject("large", len(content), digests={"md5": md5.hexdigest()}, custom={"a-b": "c"})

        async def scenario() -> None:
            written = await provider.put(BUCKET, "large", chunked(content, 300_001), about)
            assert written.modified_ns > 0
            told = await provider.head(BUCKET, "large")
            assert told == written._replace(content_type=told.content_type)
            assert await read(provider, "large") == content
            opened_at = await provider.get(BUCKET, "large", offset=2 * BLOCK_BYTES - 5, length=10)
            # The digest that is told with a part is that of the whole.
            assert opened_at.about == told
            part = b"".join([chunk async for chunk in opened_at.chunks])
            assert part == content[2 * BLOCK_BYTES - 5 :][:10]

        run(scenario())
        blob = container.get_blob_client("large")
        assert [block.size for block in blob.get_block_list()[0]] == [BLOCK_BYTES] * 3 + [3]
        settings = blob.get_blob_properties().content_settings
        assert bytes(settings.content_md5) == md5.digest()
        assert blob.download_blob().readall() == content

    def test_conditions_hold_for_large_objects(self, provider: BackendProvider) -> None:
        content = bytes(BLOCK_BYTES + 1)

        async def write(only_if: WriteCondition) -> RemoteObject:
            about = RemoteObject("large", len(content))
            return await provider.put(BUCKET, "large", chunked(content, 100_000), about, only_if=only_if)

        async def scenario() -> None:
            with pytest.raises(ConditionFailed):
                await write(WriteCondition(etag="0x8D"))
            first = await write(WriteCondition(is_absent=True))
            with pytest.raises(ConditionFailed):
                await write(WriteCondition(is_absent=True))
            with pytest.raises(ConditionFailed):
                await write(WriteCondition(etag="0x8D"))
            assert (await provider.head(BUCKET, "large")).etag == first.etag
            await write(WriteCondition(etag=first.etag))

        run(scenario())

    @pytest.mark.parametrize("size", [BLOCK_BYTES + 10, 3 * BLOCK_BYTES])
    def test_a_large_write_that_breaks_off_leaves_nothing(
        self, provider: BackendProvider, container: ContainerClient, size: int
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(BLOCK_BYTES + 5)
            raise ConnectionResetError

        async def scenario() -> None:
            await provider.put(BUCKET, "kept", chunked(b"before"), RemoteObject("kept", 6))
            for key in ("large", "kept"):
                with pytest.raises(ConnectionResetError):
                    await provider.put(BUCKET, key, broken(), RemoteObject(key, size))
            with pytest.raises(ObjectNotFound):
                await provider.head(BUCKET, "large")
            assert [about.key for about in (await provider.list_objects(BUCKET)).objects] == ["kept"]
            assert await read(provider, "kept") == b"before"

        run(scenario())
        assert list(container.list_blob_names()) == ["kept"]

    @pytest.mark.parametrize("said", [11, BLOCK_BYTES + 9, BLOCK_BYTES + 11])
    def test_a_body_of_another_length_is_no_object(self, provider: BackendProvider, said: int) -> None:
        content = bytes(said // BLOCK_BYTES * BLOCK_BYTES + 10)

        async def scenario() -> None:
            with pytest.raises(SourceFailed):
                await provider.put(BUCKET, "k", chunked(content, 70_000), RemoteObject("k", said))
            assert not (await provider.list_objects(BUCKET)).objects

        run(scenario())

    def test_what_arrives_otherwise_is_not_kept(self, provider: BackendProvider) -> None:
        wrong = RemoteObject("k", 4, digests={"md5": hashlib.md5(b"else").hexdigest()})

        async def scenario() -> None:
            with pytest.raises(SourceFailed, match=r"(?i)md5"):
                await provider.put(BUCKET, "k", chunked(b"this"), wrong)
            with pytest.raises(ObjectNotFound):
                await provider.head(BUCKET, "k")

        run(scenario())

    def test_names_are_exact(self, provider: BackendProvider, container: ContainerClient) -> None:
        names = ["a b", "a+b", "a%20b", "a%2Fb", "ä/ö", "q?x=y&z", "#", "//", "/a", "a/", "x" * 1024, "~-._"]
        names += ["'quoted'", "tab\tin", "日本", "\U0001f600" * 256, "\uff21", "(a)!*;:@=,$"]

        async def scenario() -> None:
            for number, name in enumerate(names):
                await provider.put(BUCKET, name, chunked(b"%02d" % number), RemoteObject(name, 2))
            page = await provider.list_objects(BUCKET)
            assert [about.key for about in page.objects] == sorted(names, key=str.encode)
            for number, name in enumerate(names):
                assert await read(provider, name) == b"%02d" % number
                assert (await provider.head(BUCKET, name)).key == name
                below = await provider.list_objects(BUCKET, prefix=name)
                assert below.objects[0].key == name

        run(scenario())
        assert sorted(container.list_blob_names()) == sorted(names)
        for number, name in enumerate(names):
            assert container.download_blob(name).readall() == b"%02d" % number, name

    @pytest.mark.parametrize("name", ["a\\b", "../other/k", "a/../b", "./a", "..", "a/."])
    def test_names_that_would_mean_others_are_refused(
        self, provider: BackendProvider, container: ContainerClient, name: str
    ) -> None:
        container.upload_blob("a/b", b"mine")

        async def scenario() -> None:
            with pytest.raises(InvalidName):
                await provider.put(BUCKET, name, chunked(b"x"), RemoteObject(name, 1))
            with pytest.raises(ObjectNotFound):
                await provider.get(BUCKET, name)
            with pytest.raises(ObjectNotFound):
                await provider.head(BUCKET, name)
            await provider.delete(BUCKET, name)

        run(scenario())
        assert list(container.list_blob_names()) == ["a/b"]

    def test_metadata_of_any_name_is_kept(
        self, provider: BackendProvider, container: ContainerClient
    ) -> None:
        custom = {"plain": "1", "with-hyphen": "a, b", "Upper": "x=y", "9th": "", "a_b": "3", "a9": "4"}
        custom |= {"ключ": "5", "_x002d_": "6", "a.b c": "'7'", "a__b": "8", "_": "9"}

        async def scenario() -> None:
            about = RemoteObject("k", 1, custom=custom, content_type="text/plain; charset=utf-8")
            written = await provider.put(BUCKET, "k", chunked(b"x"), about)
            told = await provider.head(BUCKET, "k")
            assert told.custom == written.custom == custom
            assert told.content_type == "text/plain; charset=utf-8"
            for wrong in ({"k": "ä"}, {"k": "a\r\nx-ms-meta-evil: b"}):
                with pytest.raises(BadRequest, match="ASCII"):
                    await provider.put(BUCKET, "k", chunked(b"y"), RemoteObject("k", 1, custom=wrong))
            assert await read(provider, "k") == b"x"

        run(scenario())
        told = container.get_blob_client("k").get_blob_properties().metadata
        assert told["plain"] == "1"
        assert all(name.isidentifier() for name in told)

    def test_what_others_wrote_is_read(self, provider: BackendProvider, container: ContainerClient) -> None:
        container.upload_blob("theirs", b"hello", metadata={"Mine": "yes"})
        told = run(provider.head(BUCKET, "theirs"))
        assert told.custom == {"mine": "yes"}
        assert told.digests == {"md5": hashlib.md5(b"hello").hexdigest()}
        assert run(read(provider, "theirs")) == b"hello"
        listed = run(provider.list_objects(BUCKET)).objects
        assert listed == [told._replace(custom={})]

    def test_the_digest_of_a_blob_that_grows_is_not_taken(
        self, provider: BackendProvider, container: ContainerClient
    ) -> None:
        growing = container.get_blob_client("growing")
        told = ContentSettings(content_md5=bytearray(hashlib.md5(b"first").digest()))
        growing.create_append_blob(content_settings=told)
        growing.append_block(b"first")
        growing.append_block(b"second")

        async def scenario() -> None:
            assert await read(provider, "growing") == b"firstsecond"
            assert (await provider.head(BUCKET, "growing")).digests == {}
            assert (await provider.list_objects(BUCKET)).objects[0].digests == {}
            assert (await provider.get(BUCKET, "growing", offset=1)).about.digests == {}

        run(scenario())

    def test_a_read_of_nothing_insists_too(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await provider.put(BUCKET, "k", chunked(b""), RemoteObject("k", 0))
            for span in ({"length": 0}, {"offset": 5}):
                with pytest.raises(SourceChanged):
                    await provider.get(BUCKET, "k", etag="0x8D", **span)

        run(scenario())

    @pytest.mark.parametrize("page_names_max", [1, 3])
    def test_a_listing_goes_on_behind_any_name(
        self, azurite: Azurite, container: ContainerClient, page_names_max: int
    ) -> None:
        names = ["a", "b/1", "b/2", "b/3", "c", "ä", "ö/1", "ö/2"]
        for name in names:
            container.upload_blob(name, b"")

        async def listed(provider: BackendProvider, after: str, delimiter: str, limit: int) -> list[str]:
            found: list[str] = []
            token = ""
            while True:
                page = await provider.list_objects(
                    BUCKET, token=token, after="" if token else after, delimiter=delimiter, limit=limit
                )
                assert len(page.objects) + len(page.prefixes) <= limit
                found += sorted([*(about.key for about in page.objects), *page.prefixes], key=str.encode)
                token = page.token
                if not token:
                    return found

        async def scenario() -> None:
            provider = opened(azurite.endpoint(), page_names_max=page_names_max)
            folded = ["a", "b/", "c", "ä", "ö/"]
            for limit in (1, 5):
                for after in ("", "a", "b", "b/11", "b/2", "ä", "ö/9"):
                    expected = [name for name in names if name.encode() > after.encode()]
                    assert await listed(provider, after, "", limit) == expected
                for after in ["", *folded]:
                    expected = [name for name in folded if name.encode() > after.encode()]
                    assert await listed(provider, after, "/", limit) == expected
            await provider.close()

        run(scenario())


class TestCredentials:
    """Who may do what, with which credentials."""

    def test_a_wrong_key_is_told_as_such(self, azurite: Azurite, container: ContainerClient) -> None:
        async def scenario() -> None:
            stranger = opened(azurite.endpoint(), KEY._replace(key=b"wrong"))
            for ask in (
                stranger.head_bucket(BUCKET),
                stranger.list_objects(BUCKET),
                stranger.get(BUCKET, "k"),
                stranger.put(BUCKET, "k", chunked(b"x"), RemoteObject("k", 1)),
                stranger.buckets(),
            ):
                with pytest.raises(SourceDenied, match="key of the account firstaccount"):
                    await ask
            await stranger.close()

        run(scenario())

    def test_nobody_reads_what_is_public_only(self, azurite: Azurite, container: ContainerClient) -> None:
        container.upload_blob("k", b"content")

        async def scenario() -> None:
            nobody = opened(azurite.endpoint(), None)
            for ask in (nobody.list_objects(BUCKET), nobody.get(BUCKET, "k"), nobody.head_bucket(BUCKET)):
                with pytest.raises(SourceDenied, match="AZURE_STORAGE_KEY"):
                    await ask
            container.set_container_access_policy({}, public_access=PublicAccess.CONTAINER)
            await nobody.head_bucket(BUCKET)
            assert [about.key for about in (await nobody.list_objects(BUCKET)).objects] == ["k"]
            assert await read(nobody, "k") == b"content"
            with pytest.raises(SourceDenied):
                await nobody.put(BUCKET, "k", chunked(b"x"), RemoteObject("k", 1))
            with pytest.raises(ObjectNotFound):
                await nobody.get(BUCKET, "nothing")
            await nobody.close()

        run(scenario())

    def test_a_sas_token_allows_what_it_says(self, azurite: Azurite, container: ContainerClient) -> None:
        container.upload_blob("k", b"content")
        readable = generate_container_sas(
            ACCOUNT,
            BUCKET,
            KEYS[ACCOUNT],
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=TOMORROW,
        )
        over = generate_container_sas(
            ACCOUNT,
            BUCKET,
            KEYS[ACCOUNT],
            permission=ContainerSasPermissions(read=True, list=True),
            expiry=TOMORROW - datetime.timedelta(days=2),
        )
        every = generate_account_sas(
            ACCOUNT,
            KEYS[ACCOUNT],
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, list=True, write=True, create=True, delete=True),
            expiry=TOMORROW,
        )

        async def scenario() -> None:
            reader = opened(azurite.endpoint(), SasToken(readable))
            # Such a token never tells the properties of a container.
            await reader.head_bucket(BUCKET)
            assert await read(reader, "k") == b"content"
            assert [about.key for about in (await reader.list_objects(BUCKET)).objects] == ["k"]
            with pytest.raises(SourceDenied, match="SAS token") as raised:
                await reader.put(BUCKET, "k", chunked(b"x"), RemoteObject("k", 1))
            assert "sig=" not in str(raised.value)
            late = opened(azurite.endpoint(), SasToken(over))
            with pytest.raises(SourceDenied, match="expired"):
                await late.get(BUCKET, "k")
            writer = opened(azurite.endpoint(), SasToken(every))
            assert BUCKET in await writer.buckets()
            large = bytes(BLOCK_BYTES + 1)
            await writer.put(BUCKET, "ä b", chunked(large, 65_536), RemoteObject("ä b", len(large)))
            assert await read(writer, "ä b") == large
            await writer.delete(BUCKET, "ä b")
            for provider in (reader, late, writer):
                await provider.close()

        run(scenario())

    def test_a_token_of_an_identity_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        audiences = ["https://elsewhere/", "https://storage.azure.com/"]
        for name in [name for name in os.environ if name.startswith("AZURE_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("IDENTITY_HEADER", "known to the machine's services only")

        async def identity(asked: Asked, writer: Writer) -> None:
            assert asked.headers["x-identity-header"] == "known to the machine's services only"
            ends = int(datetime.datetime.now(datetime.UTC).timestamp()) + 3600
            answer = {"access_token": token(audiences.pop(), ends), "expires_on": str(ends)}
            body = json.dumps(answer | {"resource": "https://storage.azure.com", "token_type": "Bearer"})
            await reply(writer, 200, body.encode(), headers={"Content-Type": "application/json"})

        async def scenario(server: Azurite) -> None:
            async with faulty_server() as machine:
                address = machine.on("/identity", identity)
                monkeypatch.setenv("IDENTITY_ENDPOINT", address)
                environment = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AIS_AZURE_URL": server.endpoint()}
                environment["IDENTITY_ENDPOINT"] = address
                good, other = (
                    open_account(Account("azure"), exchanges(server.ca_file), environment) for _ in range(2)
                )
                await good.put(BUCKET, "k", chunked(b"content"), RemoteObject("k", 7))
                assert await read(good, "k") == b"content"
                assert machine.times("/identity") == 1
                with pytest.raises(SourceDenied, match="role"):
                    await other.get(BUCKET, "k")
                await good.close()
                await other.close()

        with running_azurite(with_tokens=True) as server:
            server.container(BUCKET)
            run(scenario(server))


def token(audience: str, ends_s: int) -> str:
    """A token as Microsoft's service of identities gives it, but for its signature."""
    claims: dict[str, object] = {"aud": audience, "iss": "https://sts.windows.net/tenant/", "exp": ends_s}
    claims |= {"nbf": ends_s - 7200, "iat": ends_s - 7200, "ver": "1.0", "oid": "someone", "tid": "tenant"}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, "c2ln"])


def error(code: str, message: str = "Some words.") -> bytes:
    """The document of an error as Azure sends it, with its mark of byte order."""
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}\nRequestId:1'
    return f"\ufeff{text}\nTime:2026-11-21</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "wait_s"),
    [
        (503, {"Retry-After": "3"}, error("ServerBusy"), SourceThrottled, 3.0),
        (503, {}, b"", SourceThrottled, None),
        (429, {"Retry-After": "1"}, b"", SourceThrottled, 1.0),
        (500, {}, error("OperationTimedOut"), SourceUnreachable, None),
        (403, {}, error("AuthorizationPermissionMismatch"), SourceDenied, None),
        (401, {}, error("InvalidAuthenticationInfo"), SourceDenied, None),
        (409, {}, error("PublicAccessNotPermitted"), SourceDenied, None),
        (409, {"x-ms-error-code": "ContainerBeingDeleted"}, b"", BucketNotFound, None),
        (400, {}, error("InvalidResourceName"), BucketNotFound, None),
        (404, {}, b"", BucketNotFound, None),
        (400, {}, error("InvalidQueryParameterValue"), SourceFailed, None),
        (301, {"Location": "http://elsewhere/"}, b"", SourceFailed, None),
        (200, {}, b"<html>", SourceFailed, None),
        (200, {}, b"<Other/>", SourceFailed, None),
    ],
)
def test_what_a_source_answers_becomes_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, kind: type[AisleError], wait_s: float | None
) -> None:
    async def scenario() -> None:
        async def refuse(_asked: Asked, writer: Writer) -> None:
            await reply(writer, status, body, headers=headers)

        async with faulty_server() as server:
            server.fallback = refuse
            provider = opened(server.url)
            with pytest.raises(kind) as raised:
                await provider.list_objects(BUCKET)
            assert type(raised.value) is kind
            assert "RequestId" not in str(raised.value)
            if isinstance(raised.value, SourceFailed):
                assert raised.value.retry_after_s == wait_s
            await provider.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (409, "SnapshotsPresent", SourceFailed, "snapshots"),
        (412, "LeaseIdMissing", SourceFailed, "LeaseIdMissing"),
        (404, "ContainerNotFound", BucketNotFound, "az://data"),
        (403, "AuthenticationFailed", SourceDenied, "clock"),
    ],
)
def test_a_delete_that_is_refused_says_why(
    status: int, code: str, kind: type[AisleError], words: str
) -> None:
    async def scenario() -> None:
        async def refuse(_asked: Asked, writer: Writer) -> None:
            await reply(writer, status, error(code))

        async with faulty_server() as server:
            server.fallback = refuse
            provider = opened(server.url)
            with pytest.raises(kind, match=words) as raised:
                await provider.delete(BUCKET, "k")
            assert type(raised.value) is kind
            await provider.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "code", "only_if", "kind"),
    [
        (404, "BlobNotFound", WriteCondition(etag="0x8D"), ConditionFailed),
        (412, "ConditionNotMet", WriteCondition(etag="0x8D"), ConditionFailed),
        (412, "", WriteCondition(etag="0x8D"), ConditionFailed),
        (409, "BlobAlreadyExists", WriteCondition(is_absent=True), ConditionFailed),
        (404, "ContainerNotFound", WriteCondition(etag="0x8D"), BucketNotFound),
        (404, "ResourceNotFound", WriteCondition(), ObjectNotFound),
        (412, "LeaseIdMissing", WriteCondition(etag="0x8D"), SourceFailed),
        (503, "ServerBusy", WriteCondition(), SourceThrottled),
    ],
)
def test_a_write_that_is_refused_says_why(
    status: int, code: str, only_if: WriteCondition, kind: type[AisleError]
) -> None:
    async def scenario() -> None:
        async def refuse(asked: Asked, writer: Writer) -> None:
            fields = {
                "if-match": asked.headers.get("if-match"),
                "if-none-match": asked.headers.get("if-none-match"),
            }
            assert fields == {
                "if-match": f'"{only_if.etag}"' if only_if.etag else None,
                "if-none-match": "*" if only_if.is_absent else None,
            }
            await reply(writer, status, error(code) if code else b"")
            writer.close()  # what was sent is not read

        async with faulty_server() as server:
            server.fallback = refuse
            provider = opened(server.url)
            with pytest.raises(kind) as raised:
                await provider.put(BUCKET, "k", chunked(b"x"), RemoteObject("k", 1), only_if=only_if)
            assert type(raised.value) is kind
            await provider.close()

    asyncio.run(scenario())


def test_a_listing_is_read_as_the_service_sends_it() -> None:
    properties = "<Properties><Etag>0x8D</Etag><Content-Length>3</Content-Length></Properties>"
    first = f"""<?xml version="1.0"?><EnumerationResults ContainerName="data"><Blobs>
        <Blob><Name Encoded="true">a%00%2525</Name>{properties}</Blob>
        <Blob><Name>folder</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>
        <Blob><Name>a&amp;b%20</Name>{properties}</Blob></Blobs><NextMarker>2!8!x=</NextMarker>
        </EnumerationResults>"""
    # A page may be empty and not the last one.
    empty = "<EnumerationResults><Blobs /><NextMarker>3</NextMarker></EnumerationResults>"
    last = f"<EnumerationResults><Blobs><Blob><Name>z</Name>{properties}</Blob></Blobs></EnumerationResults>"

    async def scenario() -> None:
        answers = iter((first, empty, last))

        async def listed(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, next(answers).encode())

        async with faulty_server() as server:
            server.fallback = listed
            provider = opened(server.url)
            found = await pages(provider, 10)
            assert [[about.key for about in page.objects] for page in found] == [["a\0%25", "a&b%20"], ["z"]]
            about = found[0].objects[0]
            assert (about.size, about.etag, about.version, about.digests) == (3, "0x8D", "0x8D", {})
            await provider.close()

    asyncio.run(scenario())


def test_a_source_that_sends_no_ranges_is_not_believed() -> None:
    async def scenario() -> None:
        async def whole(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b"0123456789")

        async with faulty_server() as server:
            server.fallback = whole
            provider = opened(server.url)
            with pytest.raises(SourceFailed, match="ranges"):
                await provider.get(BUCKET, "k", offset=3)
            await provider.close()

    asyncio.run(scenario())
