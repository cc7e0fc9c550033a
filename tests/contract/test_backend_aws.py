"""The S3 provider, over moto's server and over a node of ours that checks signatures."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import boto3
import pytest
from botocore.config import Config

from aisle.backends.aws import AwsAccount, AwsKeys, AwsProvider
from aisle.backends.provider import BackendProvider, RemoteObject
from aisle.errors import (
    AisleError,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)
from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Exchanges
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from contract.backend_contract import BUCKET, BackendProviderContract, chunked, event_loop, put, read, run
from support.faulty import Asked, BreakOff, Writer, faulty_server, reply
from support.moto import running_moto
from support.node import running_node

__all__ = ["event_loop"]

KEYS = AwsKeys("remote-access-key", "remote-secret-key-of-some-length")
LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)
IMPATIENT = LIMITS._replace(stall_timeout_s=2)


async def opened(
    url: str, keys: AwsKeys | None = KEYS, *, multipart_bytes: int = 0, limits: FetchConfig = LIMITS
) -> AwsProvider:
    async def current() -> AwsKeys | None:
        return keys

    exchanges = Exchanges(limits, EgressGuard(EgressPolicy(allow_loopback=True)))
    return AwsProvider(AwsAccount(exchanges, current, url, multipart_bytes=multipart_bytes))


class AwsContract(BackendProviderContract):
    @pytest.fixture
    def provider(self, service: str) -> Iterator[BackendProvider]:
        client = boto3.client(
            "s3",
            endpoint_url=service,
            aws_access_key_id=KEYS.access_key,
            aws_secret_access_key=KEYS.secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket=BUCKET)
        provider = run(opened(service))
        yield provider
        run(provider.close())
        for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            client.delete_object(Bucket=BUCKET, Key=entry["Key"])
        client.delete_bucket(Bucket=BUCKET)

    def test_large_objects_are_written_in_parts(self, provider: BackendProvider, service: str) -> None:
        content = os.urandom(11 * 1024 * 1024 + 3)

        async def scenario() -> None:
            large = await opened(service, multipart_bytes=5 * 1024 * 1024)
            written = await large.put(
                BUCKET, "large", chunked(content, 300_001), RemoteObject("large", len(content))
            )
            assert written.etag.endswith("-3")
            assert (await provider.head(BUCKET, "large")).etag == written.etag
            assert hashlib.sha256(await read(provider, "large")).digest() == hashlib.sha256(content).digest()
            opened_at = await provider.get(BUCKET, "large", offset=6 * 1024 * 1024, length=10)
            part = b"".join([chunk async for chunk in opened_at.chunks])
            assert part == content[6 * 1024 * 1024 :][:10]
            await large.close()

        run(scenario())

    def test_a_large_write_that_breaks_off_leaves_nothing(
        self, provider: BackendProvider, service: str
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(6 * 1024 * 1024)
            raise ConnectionResetError

        async def scenario() -> None:
            large = await opened(service, multipart_bytes=5 * 1024 * 1024)
            about = RemoteObject("large", 20 * 1024 * 1024)
            with pytest.raises(ConnectionResetError):
                await large.put(BUCKET, "large", broken(), about)
            assert not (await provider.list_objects(BUCKET)).objects
            await large.close()

        run(scenario())

    def test_names_are_exact(self, provider: BackendProvider) -> None:
        names = ["a b", "a+b", "a%20b", "ä/ö", "q?x=y&z", "#", "//", "x" * 1024, "tab\tin", "'quoted'"]

        async def scenario() -> None:
            for number, name in enumerate(names):
                await provider.put(BUCKET, name, chunked(b"%d" % number), RemoteObject(name, 1))
            page = await provider.list_objects(BUCKET)
            assert sorted(about.key for about in page.objects) == sorted(names)
            for number, name in enumerate(names):
                assert await read(provider, name) == b"%d" % number
                assert (await provider.head(BUCKET, name)).key == name

        run(scenario())


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """URL of a stand-in for Amazon."""
    with running_moto() as url:
        yield url


@pytest.fixture(scope="module")
def node_of_ours() -> Iterator[str]:
    """URL of S3 at a node that checks signatures."""
    env = {"AISLE_ROOT_ACCESS_KEY": KEYS.access_key, "AISLE_ROOT_SECRET_KEY": KEYS.secret}
    with running_node(workers=1, env=env) as node:
        yield f"{node.url}/s3"


class TestOverMoto(AwsContract):
    @pytest.fixture
    def service(self, moto: str) -> str:
        return moto


class TestOverANodeOfOurs(AwsContract):
    @pytest.fixture
    def service(self, node_of_ours: str) -> str:
        return node_of_ours

    def test_wrong_credentials_are_told_as_such(self, provider: BackendProvider, service: str) -> None:
        async def scenario() -> None:
            for keys in (KEYS._replace(secret="wrong"), KEYS._replace(access_key="nobody"), None):
                stranger = await opened(service, keys)
                with pytest.raises(SourceDenied, match="credentials"):
                    await stranger.list_objects(BUCKET)
                await stranger.close()

        run(scenario())


LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "wait_s"),
    [
        (503, {"Retry-After": "3"}, b"", SourceUnreachable, 3.0),
        (503, {}, b"<Error><Code>SlowDown</Code></Error>", SourceThrottled, None),
        (429, {"Retry-After": "1"}, b"", SourceThrottled, 1.0),
        (500, {}, b"<Error><Code>InternalError</Code></Error>", SourceUnreachable, None),
        (403, {}, b"<Error><Code>ExpiredToken</Code></Error>", SourceDenied, None),
        (400, {}, b"<Error><Code>InvalidArgument</Code></Error>", SourceFailed, None),
        (200, {}, b"<html>", SourceFailed, None),
        (200, {}, b"<Other/>", SourceFailed, None),
    ],
)
def test_what_a_source_answers_becomes_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, error: type[AisleError], wait_s: float | None
) -> None:
    async def scenario() -> None:
        async def refuse(_asked: Asked, writer: Writer) -> None:
            await reply(writer, status, body, headers=headers)

        async with faulty_server() as server:
            server.fallback = refuse
            provider = await opened(server.url)
            with pytest.raises(error) as raised:
                await provider.list_objects(BUCKET)
            if isinstance(raised.value, SourceFailed):
                assert raised.value.retry_after_s == wait_s
            await provider.close()

    asyncio.run(scenario())


def test_a_read_that_breaks_off_or_stalls_says_so() -> None:
    async def scenario() -> None:
        async def breaking(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b"some", length=100)
            raise BreakOff

        async def silent(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b"some", length=100)
            await asyncio.sleep(300)

        async with faulty_server() as server:
            server.on(f"/{BUCKET}/broken", breaking)
            server.on(f"/{BUCKET}/silent", silent)
            provider = await opened(server.url, limits=IMPATIENT)
            for key in ("broken", "silent"):
                reading = await provider.get(BUCKET, key)
                assert reading.about.size == 100
                with pytest.raises(SourceUnreachable):
                    async for _ in reading.chunks:
                        pass
            await provider.close()

    asyncio.run(scenario())


def test_a_bucket_is_followed_to_its_region() -> None:
    async def scenario() -> None:
        numbers = count(1)

        async def moved(_asked: Asked, writer: Writer) -> None:
            if next(numbers) == 1:
                await reply(writer, 301, headers={"x-amz-bucket-region": "eu-west-3"})
            else:
                await reply(writer, 200, LISTING)

        async with faulty_server() as server:
            server.fallback = moved
            provider = await opened(server.url)
            await provider.list_objects(BUCKET)
            first, second = [asked.headers["authorization"] for asked in server.asked]
            assert "/us-east-1/s3/" in first
            assert "/eu-west-3/s3/" in second
            await provider.list_objects(BUCKET)
            assert "/eu-west-3/s3/" in server.asked[-1].headers["authorization"]
            await provider.close()

    asyncio.run(scenario())


def test_a_write_that_comes_to_the_wrong_region_tells_the_next_one_where_to_go() -> None:
    async def scenario() -> None:
        async def regional(asked: Asked, writer: Writer) -> None:
            if "/eu-west-3/s3/" in asked.headers["authorization"]:
                await reply(writer, 200, headers={"ETag": '"x"'})
            else:
                await reply(writer, 301, headers={"x-amz-bucket-region": "eu-west-3"})

        async with faulty_server() as server:
            server.fallback = regional
            provider = await opened(server.url)
            with pytest.raises(SourceUnreachable, match="eu-west-3"):
                await put(provider, "k", b"some")
            assert (await put(provider, "k", b"some")).etag == "x"
            await provider.close()

    asyncio.run(scenario())


def test_reads_are_held_back_by_who_takes_them() -> None:
    async def scenario() -> None:
        async def endless(asked: Asked, writer: Writer) -> None:
            await reply(writer, 200, b"", length=1 << 40)
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                server.sent[asked.path] += 65536

        async with faulty_server() as server:
            path = f"/{BUCKET}/endless"
            server.on(path, endless)
            provider = await opened(server.url)
            reading = await provider.get(BUCKET, "endless")
            before = -1
            while server.sent[path] != before:
                before = server.sent[path]
                await asyncio.sleep(0.3)
            assert server.sent[path] < 64 * 1024 * 1024
            async for _ in reading.chunks:
                break
            await reading.chunks.aclose()  # type: ignore[attr-defined]
            await provider.close()

    asyncio.run(scenario())
