"""What libcurl does for us, held to what we count on: names, proxies, HTTP/2, one speed for all."""

import asyncio
import os
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pycurl
import pytest
import xxhash

from aisle.config import DownloadConfig
from aisle.rules.egress import EgressPolicy
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.fetch import FetchConfig, Fetcher, FetchRequest
from aisle.transfer.guard import EgressGuard, Refused
from support.downloads import Rig, with_rig
from support.faulty import Asked, Writer, faulty_server, reply, serving
from support.intakes import Taken
from support.nginx import RunningNginx, running_nginx

MIB = 1024 * 1024
LARGE = b"".join(number.to_bytes(4, "big") * 256 for number in range(3 * 1024))
CONFIG = FetchConfig(
    connections_max=8, connections_per_host_max=8, connect_timeout_s=5.0, stall_timeout_s=20.0
)


@asynccontextmanager
async def fetching(
    proxy: str = "", policy: EgressPolicy | None = None, *, plain: bool = True
) -> AsyncIterator[Fetcher]:
    guard = EgressGuard(policy or EgressPolicy(allow_loopback=True), proxy=proxy)
    fetcher = Fetcher(CONFIG, guard, plain=plain)
    try:
        yield fetcher
    finally:
        fetcher.close()


async def fetch(fetcher: Fetcher, link: str, **options: Any) -> Taken:
    body = Taken()
    fetcher.start(FetchRequest(link, RequestOptions(**options)), body)
    async with asyncio.timeout(30):
        failed = await body.end
    assert failed is None, failed
    return body


def listen_to(fetcher: Fetcher) -> list[str]:
    """What libcurl says about what it does, from now on."""
    said: list[str] = []

    def hear(kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_TEXT:
            said.append(text.decode("latin-1"))

    original = fetcher.slots._new

    def new_slot() -> Any:
        slot = original()
        slot.easy.setopt(pycurl.VERBOSE, 1)
        slot.easy.setopt(pycurl.DEBUGFUNCTION, hear)
        return slot

    fetcher.slots._new = new_slot  # type: ignore[method-assign]
    return said


def test_a_name_is_resolved_once_for_all_connections() -> None:
    async def test() -> None:
        async with faulty_server() as server, fetching(plain=False) as fetcher:

            async def closing(asked: Asked, writer: Writer) -> None:
                await reply(writer, 200, b"x", headers={"Connection": "close"})
                writer.close()

            server.on("/f", closing)
            said = listen_to(fetcher)
            link = f"http://localhost:{server.port}/f"
            for _ in range(3):
                await asyncio.gather(*(fetch(fetcher, link) for _ in range(3)))
            known = [line for line in said if "was found in DNS cache" in line]
            # The first three may ask side by side.
            assert len(server.asked) == 9
            assert len(known) >= 6, said

    asyncio.run(test())


@contextmanager
def certificate() -> Iterator[tuple[Path, Path]]:
    """A certificate for localhost that this process trusts, and its key."""
    with tempfile.TemporaryDirectory(prefix="downloader-tls-") as name:
        chain, key = Path(name) / "chain.pem", Path(name) / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(chain)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        trusted = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = str(chain)
        try:
            yield chain, key
        finally:
            if trusted is None:
                del os.environ["SSL_CERT_FILE"]
            else:
                os.environ["SSL_CERT_FILE"] = trusted


@pytest.fixture(scope="module")
def secure() -> Iterator[RunningNginx]:
    """nginx that serves HTTP/2 over TLS, slowly below /slow/, and writes requests down."""
    with certificate() as (chain, key), tempfile.TemporaryDirectory(prefix="downloader-h2-") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "slow").mkdir()
        (root / "logs").mkdir()
        for number in range(20):
            (root / f"f{number}").write_bytes(bytes([number]) * 50_000)
        (root / "slow" / "large").write_bytes(LARGE)
        port = free_port()
        extra = f"""
            listen 127.0.0.1:{port} ssl http2;
            ssl_certificate {chain};
            ssl_certificate_key {key};
            location /slow/ {{ limit_rate 1m; }}
            access_log {root}/logs/access.log combined;
        """
        with running_nginx(root, extra=extra):
            yield RunningNginx(f"https://localhost:{port}", port, root)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CountingGuard(EgressGuard):
    """Counts the sockets it opened."""

    opened = 0

    def open_socket(self, address: tuple[object, ...], refused: Refused) -> socket.socket | int:
        self.opened += 1
        return super().open_socket(address, refused)


@pytest.mark.program("nginx")
@pytest.mark.program("openssl")
def test_http2_is_used_where_it_is_offered_and_shares_a_connection(secure: RunningNginx) -> None:
    async def test() -> None:
        guard = CountingGuard(EgressPolicy(allow_loopback=True))
        fetcher = Fetcher(CONFIG, guard)
        try:
            links = [f"{secure.url}/f{number}" for number in range(20)]
            bodies = await asyncio.gather(*(fetch(fetcher, link) for link in links))
            assert [body.bytes for body in bodies] == [bytes([number]) * 50_000 for number in range(20)]
            assert guard.opened <= 2  # localhost may have two addresses
        finally:
            fetcher.close()

    asyncio.run(test())
    lines = (secure.root / "logs" / "access.log").read_text().splitlines()
    assert [line for line in lines if "/f1 HTTP/2.0" in line]


@pytest.mark.program("nginx")
@pytest.mark.program("openssl")
def test_over_http2_a_slow_object_has_one_stream(secure: RunningNginx) -> None:
    @with_rig(config=DownloadConfig(part_bytes=MIB))
    async def test(rig: Rig) -> None:
        await rig.download(f"{secure.url}/slow/large")
        assert rig.content() == LARGE
        assert rig.record().attributes.checksum_value == xxhash.xxh64(LARGE).hexdigest()

    test()
    lines = (secure.root / "logs" / "access.log").read_text().splitlines()
    assert [line.split('"')[1] for line in lines if "/slow/large" in line] == ["GET /slow/large HTTP/2.0"]


@pytest.mark.program("openssl")
def test_an_unknown_certificate_is_an_error() -> None:
    async def test() -> None:
        with certificate() as (chain, key):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, key)
        # From here on it is trusted no more.
        async with faulty_server() as server, fetching() as fetcher:
            listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
            port = listener.sockets[0].getsockname()[1]
            server.on("/f", serving(b"secret"))
            body = Taken()
            fetcher.start(FetchRequest(f"https://localhost:{port}/f"), body)
            async with asyncio.timeout(30):
                failed = await body.end
            assert failed is not None
            assert not failed.transient
            assert "certificate is not valid" in str(failed.error)
            assert server.asked == []
            listener.close()

    asyncio.run(test())


def test_the_environment_does_not_lead_around_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be reached directly would be reached without the guard: only the proxy's host is exempt."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")

    async def test() -> None:
        async with faulty_server() as server:

            async def proxying(asked: Asked, writer: Writer) -> None:
                await reply(writer, 200, b"by proxy")

            server.fallback = proxying
            async with fetching(server.url) as fetcher:
                body = await fetch(fetcher, "http://localhost:9/file")
                assert body.bytes == b"by proxy"
                assert [asked.path for asked in server.asked] == ["http://localhost:9/file"]

    asyncio.run(test())


def test_nor_does_it_name_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def test() -> None:
        async with faulty_server() as server, fetching() as fetcher:
            body = await fetch(fetcher, server.on("/f", serving(b"directly")))
            assert body.bytes == b"directly"

    asyncio.run(test())


@pytest.mark.program("openssl")
def test_a_proxy_for_https_is_told_the_host_and_no_secret() -> None:
    heard: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: Writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        heard.append(head)
        host, _, port = head.split(" ")[1].rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

        async def carry(source: asyncio.StreamReader, target: Writer) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer), return_exceptions=True)

    async def test() -> None:
        async with faulty_server() as server:
            with certificate() as (chain, key):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(chain, key)
                secure = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
                proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
                port = secure.sockets[0].getsockname()[1]
                server.on("/f", serving(b"through a tunnel"))
                async with fetching(f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}") as fetcher:
                    private = (("Authorization", "Bearer secret"),)
                    body = await fetch(fetcher, f"https://localhost:{port}/f", private_headers=private)
                assert body.bytes == b"through a tunnel"
                secure.close()
                proxy.close()
        assert heard[0].startswith(f"CONNECT localhost:{port} ")
        assert "secret" not in heard[0]
        assert server.asked[0].headers["authorization"] == "Bearer secret"

    asyncio.run(test())


@with_rig(config=DownloadConfig(bytes_per_second=400_000))
async def test_all_jobs_together_keep_to_the_nodes_speed(rig: Rig) -> None:
    body = os.urandom(400_000)
    began_s = time.monotonic()
    links = [rig.server.on(f"/f{number}", serving(body)) for number in range(3)]
    jobs = [await rig.single(link, object_name=f"o{number}") for number, link in enumerate(links)]
    for job_id in jobs:
        await rig.ended(job_id)
    # 1,200,000 bytes: a second's worth at once, the rest in two more.
    assert time.monotonic() - began_s >= 1.8
    assert all(rig.content(f"o{number}") == body for number in range(3))
