"""The provider of other clusters, over a second node of ours, and over servers that are at fault."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import requests

from aisle.backends.provider import BackendProvider, RemoteObject, WriteCondition
from aisle.backends.registry import Account
from aisle.backends.remote_ais import RemoteAisProvider
from aisle.backends.remote_gateways import Gateways
from aisle.backends.visited import visited
from aisle.cluster.memory import MemoryStore
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ClusterNotAttached,
    ObjectNotFound,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
    Unsupported,
)
from aisle.gateway.remote_clusters import RemoteClusters
from aisle.gateway.sealing import Sealer
from aisle.gateway.users import MasterKey
from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Exchanges
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from contract.backend_contract import BUCKET, BackendProviderContract, chunked, event_loop, put, read, run
from support.faulty import Asked, Behaviour, FaultyServer, Writer, faulty_server, reply
from support.node import running_node

__all__ = ["event_loop"]

ALIAS = "other"
LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)


def clusters() -> RemoteClusters:
    """Attachments in memory."""
    return RemoteClusters(MemoryStore(), Sealer([MasterKey.of(b"of the tests")]), cluster_id="HERE")


def over(known: RemoteClusters) -> RemoteAisProvider:
    """The provider of the cluster that has the alias."""
    guard = EgressGuard(EgressPolicy(allow_loopback=True))
    gateways = Gateways(
        known, connect=lambda ca_file: Exchanges(LIMITS, guard, ca_file=ca_file), cluster_id="HERE"
    )
    return RemoteAisProvider(Account("ais", f"@{ALIAS}"), gateways)


async def attached(*urls: str, token: str = "") -> RemoteAisProvider:
    """A provider over an attachment in memory."""
    known = clusters()
    await known.attach(ALIAS, urls, token=token)
    return over(known)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """URL of another cluster."""
    with running_node(workers=2) as node:
        yield node.url


class TestOverANodeOfOurs(BackendProviderContract):
    keeps_fields = False  # the native API has no place for them

    @pytest.fixture
    def provider(self, service: str) -> Iterator[BackendProvider]:
        # As it is asked for in the contract: the MD5 is told.
        message = {"action": "create-bck", "value": {"checksum": {"type": "md5"}}}
        requests.post(f"{service}/v1/buckets/{BUCKET}", json=message, timeout=30).raise_for_status()
        provider = run(attached(service))
        yield provider
        run(provider.close())
        message = {"action": "destroy-bck"}
        requests.delete(f"{service}/v1/buckets/{BUCKET}", json=message, timeout=30).raise_for_status()

    def test_names_are_exact(self, provider: BackendProvider) -> None:
        names = ["a b", "a+b", "a%20b", "ä/ö", "q?x=y&z", "#", "//", "x" * 1024, "tab\tin", "'quoted'"]

        async def scenario() -> None:
            for number, name in enumerate(names):
                await put(provider, name, b"%d" % number)
            page = await provider.list_objects(BUCKET)
            assert sorted(about.key for about in page.objects) == sorted(names)
            for number, name in enumerate(names):
                assert await read(provider, name) == b"%d" % number
                assert (await provider.head(BUCKET, name)).key == name

        run(scenario())

    def test_what_is_announced_is_checked_there(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            wrong = RemoteObject("k", 3, digests={"md5": "0" * 32})
            with pytest.raises(SourceFailed):
                await provider.put(BUCKET, "k", chunked(b"abc"), wrong)
            with pytest.raises(ObjectNotFound):
                await provider.head(BUCKET, "k")

        run(scenario())

    def test_what_cannot_be_promised_is_refused(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            about = RemoteObject("k", 1)
            with pytest.raises(Unsupported):
                await provider.put(BUCKET, "k", chunked(b"x"), about, only_if=WriteCondition(is_absent=True))
            with pytest.raises(Unsupported):
                await provider.put(BUCKET, "k", chunked(b"x"), about._replace(custom={"k": "ä"}))
            with pytest.raises(Unsupported):
                await provider.list_objects(BUCKET, delimiter=":")

        run(scenario())


def map_of(gateways: list[str], targets: list[str], *, uuid: str = "THERE", version: int = 1) -> bytes:
    def nodes(urls: list[str]) -> dict[str, object]:
        return {url: {"public_net": {"direct_url": url}} for url in urls}

    return json.dumps(
        {"uuid": uuid, "version": str(version), "pmap": nodes(gateways), "tmap": nodes(targets)}
    ).encode()


def telling(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    async def tell(_asked: Asked, writer: Writer) -> None:
        await reply(writer, status, body, headers={name.replace("_", "-"): v for name, v in headers.items()})

    return tell


@asynccontextmanager
async def cluster_of_one() -> AsyncIterator[FaultyServer]:
    async with faulty_server() as server:
        server.on("/v1/daemon", telling(map_of([server.url], [server.url])))
        server.on("/v1/health", telling(b"", Ais_Cluster_Uptime="5"))
        yield server


OBJECT = f"/v1/objects/{BUCKET}/k"


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "wait_s"),
    [
        (503, {"Retry-After": "3"}, b"", SourceThrottled, 3.0),
        (429, {}, b"", SourceThrottled, None),
        (403, {}, b"", SourceDenied, None),
        (401, {}, b"", SourceDenied, None),
        (404, {}, b'{"tcode": "ErrNotFound"}', ObjectNotFound, None),
        (404, {}, b'{"tcode": "ErrBckNotFound"}', BucketNotFound, None),
        (404, {}, b'{"tcode": "ErrRemoteBckNotFound"}', BucketNotFound, None),
        (500, {}, b"oops", SourceFailed, None),
        (502, {}, b'{"message": "its source is down"}', SourceFailed, None),
        (501, {}, b'{"message": "not built"}', Unsupported, None),
    ],
)
def test_what_a_cluster_answers_becomes_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, error: type[AisleError], wait_s: float | None
) -> None:
    async def scenario() -> None:
        async with cluster_of_one() as server:
            server.on(OBJECT, telling(body, status, **headers))
            provider = await attached(server.url)
            with pytest.raises(error) as raised:
                await provider.get(BUCKET, "k")
            if isinstance(raised.value, SourceFailed):
                assert type(raised.value) is error
                assert raised.value.retry_after_s == wait_s
            await provider.close()

    asyncio.run(scenario())


def test_a_url_that_does_not_answer_is_passed_over() -> None:
    async def scenario() -> None:
        async with faulty_server() as closed:
            dead = closed.url
        async with cluster_of_one() as server:
            server.on(OBJECT, telling(b"bytes", ETag='"e"'))
            provider = await attached(dead, server.url)
            for _ in range(4):
                assert await read(provider, "k") == b"bytes"
                await put(provider, "k", b"")
            await provider.close()
        gone = await attached(dead)
        with pytest.raises(SourceUnreachable):
            await gone.get(BUCKET, "k")
        await gone.close()

    asyncio.run(scenario())


def test_a_gateway_that_dies_is_passed_over() -> None:
    async def scenario() -> None:
        async with cluster_of_one() as stays:
            stays.on(OBJECT, telling(b"bytes", ETag='"e"'))
            async with cluster_of_one() as goes:
                goes.on(OBJECT, telling(b"bytes", ETag='"e"'))
                provider = await attached(stays.url, goes.url)
                for _ in range(4):
                    assert await read(provider, "k") == b"bytes"
                assert goes.times(OBJECT) == 2
            for _ in range(4):
                assert await read(provider, "k") == b"bytes"
                assert (await provider.head(BUCKET, "k")).etag == "e"
            assert stays.times(OBJECT) == 10
            await provider.close()

    asyncio.run(scenario())


def test_requests_are_spread_over_the_gateways_of_the_map() -> None:
    async def scenario() -> None:
        async with cluster_of_one() as first, cluster_of_one() as second:
            both = [first.url, second.url]
            for server in (first, second):
                server.on("/v1/daemon", telling(map_of(both, both)))
                server.on(OBJECT, telling(b"bytes"))
            provider = await attached(first.url)
            for _ in range(10):
                assert await read(provider, "k") == b"bytes"
            assert (first.times(OBJECT), second.times(OBJECT)) == (5, 5)
            await provider.close()

    asyncio.run(scenario())


def test_gateways_lead_to_targets_of_the_map_and_nowhere_else() -> None:
    async def scenario() -> None:
        received: list[bytes] = []

        async with cluster_of_one() as gateway, faulty_server() as target:

            async def redirect(asked: Asked, writer: Writer) -> None:
                assert asked.headers.get("content-length", "0") == "0"
                await reply(writer, 307, headers={"Location": f"{target.url}{asked.path}?pid=1"})

            async def serve(asked: Asked, writer: Writer) -> None:
                received.append(asked.method.encode())
                await reply(writer, 200, b"bytes" if asked.method == "GET" else b"", headers={"ETag": '"e"'})

            gateway.on("/v1/daemon", telling(map_of([gateway.url], [target.url])))
            gateway.on(OBJECT, redirect)
            target.on(OBJECT, serve)
            provider = await attached(gateway.url)
            assert await read(provider, "k") == b"bytes"
            assert (await put(provider, "k", b"")).etag == "e"
            assert received == [b"GET", b"PUT"]
            gateway.on(OBJECT, telling(b"", 307, Location="http://127.0.0.1:9/v1/objects/data/k"))
            for asking in (provider.get(BUCKET, "k"), put(provider, "k", b"")):
                with pytest.raises(SourceFailed, match="not in its map"):
                    await asking
            await provider.close()

    asyncio.run(scenario())


def test_requests_carry_the_token_and_the_way_that_they_came() -> None:
    async def scenario() -> None:
        async with cluster_of_one() as server:
            server.on(OBJECT, telling(b"bytes"))
            provider = await attached(server.url, token="secret")
            await read(provider, "k")
            way = visited.set(("FIRST",))
            await read(provider, "k")
            visited.reset(way)
            first, second = [asked.headers for asked in server.asked if asked.path == OBJECT]
            assert (first["authorization"], first["aisle-via"]) == ("Bearer secret", "HERE")
            assert second["aisle-via"] == "FIRST,HERE"
            await provider.close()

    asyncio.run(scenario())


def test_a_cluster_that_is_not_attached_has_no_buckets() -> None:
    async def scenario() -> None:
        async with cluster_of_one() as server:
            server.on(OBJECT, telling(b"bytes"))
            known = clusters()
            provider = over(known)
            with pytest.raises(ClusterNotAttached):
                await provider.get(BUCKET, "k")
            await known.attach(ALIAS, [server.url])
            reading = await provider.get(BUCKET, "k")
            await known.detach("THERE")
            # What has begun ends well; nothing more is asked.
            assert b"".join([chunk async for chunk in reading.chunks]) == b"bytes"
            with pytest.raises(ClusterNotAttached):
                await provider.get(BUCKET, "k")
            await provider.close()

    asyncio.run(scenario())
