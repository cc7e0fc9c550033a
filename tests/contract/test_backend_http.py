"""Datasets on web servers, over nginx and Python's own server, and over servers that misbehave."""

import asyncio
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from aisle.backends.http_dataset import HttpDataset, HttpProvider
from aisle.backends.parallel import ParallelReads, Ranges
from aisle.backends.provider import BackendProvider, RemoteObject
from aisle.backends.retrying import Retrying
from aisle.errors import (
    AisleError,
    BucketNotFound,
    EgressDenied,
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
from contract.backend_contract import BUCKET, ReadingContract, event_loop, read, run
from support import processes
from support.faulty import Asked, BreakOff, Writer, faulty_server, reply
from support.nginx import running_nginx

__all__ = ["event_loop"]

LIMITS = FetchConfig(
    connections_max=16, connections_per_host_max=16, connect_timeout_s=60, stall_timeout_s=60
)
Answering = Callable[[Asked, Writer], Awaitable[None]]
PAGE = {"Content-Type": "text/html; charset=utf-8"}


async def opened(url: str, manifest: str = "", *, allow_loopback: bool = True) -> HttpProvider:
    exchanges = Exchanges(LIMITS, EgressGuard(EgressPolicy(allow_loopback=allow_loopback)))
    return HttpProvider(exchanges, HttpDataset(url, manifest))


class HttpContract(ReadingContract):
    keys = ("b", "a/1", "a/2", "a-x", "a.b", "ä", "z", "\U0001f600", "a/b/c d", "100%/#1?.txt", "A")
    has_names_of_folders = False
    folder: Path

    @pytest.fixture
    def dataset(self, root: Path) -> Iterator[Path]:
        """The folder that is the dataset."""
        folder = root / "data"
        folder.mkdir()
        yield folder
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()

    @pytest.fixture
    def provider(self, site: str, dataset: Path) -> Iterator[BackendProvider]:
        self.folder = dataset
        provider = run(opened(f"{site}/data/"))
        yield provider
        run(provider.close())

    async def store(self, provider: BackendProvider, key: str, content: bytes = b"x") -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def test_what_the_server_tells_is_told(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await self.store(provider, "x.txt", b"hello")
            os.utime(self.folder / "x.txt", (1_700_000_000, 1_700_000_000))
            about = await provider.head(BUCKET, "x.txt")
            assert (about.key, about.size, about.content_type) == ("x.txt", 5, "text/plain")
            assert about.modified_ns == 1_700_000_000 * 1_000_000_000
            assert about.etag == about.version == "6553f100-5"
            assert (await provider.get(BUCKET, "x.txt")).about == about
            assert (await provider.list_objects(BUCKET)).objects == [about]
            assert (await provider.head_bucket(BUCKET))["original_url"].endswith("/data/")

        run(scenario())

    def test_no_name_leads_out_of_the_folder_or_to_a_page(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            (self.folder.parent / "secret").write_bytes(b"secret")
            await self.store(provider, "sub/x")
            for key in ("../secret", "sub/../../secret", "./sub/x", "sub", "sub/", "sub//x", "", ".", "/"):
                with pytest.raises(ObjectNotFound):
                    await provider.head(BUCKET, key)
                with pytest.raises(ObjectNotFound):
                    await provider.get(BUCKET, key)

        run(scenario())

    def test_a_folder_that_is_not_there_is_no_bucket(self, provider: BackendProvider, site: str) -> None:
        async def scenario() -> None:
            elsewhere = await opened(f"{site}/nothing/")
            with pytest.raises(BucketNotFound):
                await elsewhere.head_bucket(BUCKET)
            await elsewhere.close()

        run(scenario())

    @pytest.mark.parametrize("manifest", ["index.json", "list.txt"])
    def test_a_manifest_is_listed_instead_of_pages(
        self, provider: BackendProvider, site: str, manifest: str
    ) -> None:
        async def scenario() -> None:
            for key in ("b/1", "b/2", "a", "left-out"):
                await self.store(provider, key)
            text = (
                f'{{"files": [{{"name": "b/2", "size": 1}}, {{"path": "b/1"}}, "{site}/data/a"]}}'
                if manifest == "index.json"
                else "# files\nb/2\n\nb/1\n./a\n"
            )
            (self.folder / manifest).write_text(text)
            listed = await opened(f"{site}/data/", manifest)
            assert (await listed.head_bucket(BUCKET))["original_url"].endswith("/data/")
            page = await listed.list_objects(BUCKET, limit=2)
            assert ([about.key for about in page.objects], page.token) == (["a", "b/1"], "b/1")
            page = await listed.list_objects(BUCKET, limit=2, token=page.token)
            assert ([(about.key, about.size) for about in page.objects], page.token) == ([("b/2", 1)], "")
            page = await listed.list_objects(BUCKET, delimiter="/")
            assert ([about.key for about in page.objects], page.prefixes) == (["a"], ["b/"])
            assert await read(listed, "left-out") == b"x"
            await listed.close()

        run(scenario())


@pytest.fixture(scope="module")
def nginx_root() -> Iterator[Path]:
    """The folder that nginx serves."""
    # Not in pytest's own folder: each run that begins takes it away from nginx' user for a moment.
    with tempfile.TemporaryDirectory(prefix="aisle-site-") as name:
        root = Path(name)
        root.chmod(0o755)
        yield root


@pytest.fixture(scope="module")
def nginx_url(nginx_root: Path) -> Iterator[str]:
    """URL of an nginx that lists folders."""
    extra = "default_type text/plain; location / { autoindex on; } location /data/closed/ { deny all; }"
    with running_nginx(nginx_root, extra=extra) as nginx:
        yield nginx.url


@pytest.fixture(scope="module")
def python_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Python's server serves."""
    return tmp_path_factory.mktemp("python")


@pytest.fixture(scope="module")
def python_url(python_root: Path) -> Iterator[str]:
    """URL of `python -m http.server`, which knows neither ranges nor entity tags."""
    mark = processes.new_mark()
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "-d", python_root, "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, processes.MARK_VARIABLE: mark},
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        port = re.search(r"port (\d+)", line)
        assert port is not None, line
        yield f"http://127.0.0.1:{port[1]}"
    finally:
        server.kill()
        server.wait()
        processes.end_marked(mark)


@pytest.mark.program("nginx")
class TestOverNginx(HttpContract):
    @pytest.fixture
    def root(self, nginx_root: Path) -> Path:
        return nginx_root

    @pytest.fixture
    def site(self, nginx_url: str) -> str:
        return nginx_url

    def test_what_may_not_be_listed_is_told(self, provider: BackendProvider) -> None:
        async def scenario() -> None:
            await self.store(provider, "closed/x")
            with pytest.raises(SourceDenied, match=r"extra\.http\.manifest"):
                await provider.list_objects(BUCKET)
            with pytest.raises(SourceDenied):
                await provider.head(BUCKET, "closed/x")

        run(scenario())

    def test_a_link_that_leads_back_up_does_not_make_a_listing_endless(
        self, provider: BackendProvider
    ) -> None:
        async def scenario() -> None:
            await self.store(provider, "sub/x")
            (self.folder / "sub" / "again").symlink_to(self.folder / "sub")
            listed = [about.key for about in (await provider.list_objects(BUCKET)).objects]
            assert listed == ["sub/again/x", "sub/x"]

        run(scenario())


class TestOverPythonsServer(HttpContract):
    @pytest.fixture
    def root(self, python_root: Path) -> Path:
        return python_root

    @pytest.fixture
    def site(self, python_url: str) -> str:
        return python_url


def test_every_other_verb_says_that_the_dataset_is_read_only() -> None:
    async def scenario() -> None:
        provider = await opened("http://127.0.0.1:1/")

        async def content() -> AsyncIterator[bytes]:
            yield b"x"

        for call in (
            provider.put(BUCKET, "k", content(), RemoteObject("k", 1)),
            provider.delete(BUCKET, "k"),
            provider.create_bucket(BUCKET),
            provider.delete_bucket(BUCKET),
        ):
            with pytest.raises(Unsupported, match="read-only"):
                await call
        assert await provider.buckets() == []
        await provider.close()

    asyncio.run(scenario())


def test_a_bucket_without_an_address_does_not_exist() -> None:
    async def scenario() -> None:
        provider = await opened("")
        for call in (provider.head_bucket(BUCKET), provider.list_objects(BUCKET), provider.get(BUCKET, "k")):
            with pytest.raises(BucketNotFound):
                await call
        await provider.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "headers", "error", "wait_s"),
    [
        (429, {"Retry-After": "3"}, SourceThrottled, 3.0),
        (503, {"Retry-After": "2"}, SourceUnreachable, 2.0),
        (500, {}, SourceUnreachable, None),
        (401, {}, SourceDenied, None),
        (403, {}, SourceDenied, None),
        (418, {}, SourceFailed, None),
    ],
)
def test_what_a_source_answers_becomes_an_error_of_ours(
    status: int, headers: dict[str, str], error: type[AisleError], wait_s: float | None
) -> None:
    async def scenario() -> None:
        async def refuse(_asked: Asked, writer: Writer) -> None:
            await reply(writer, status, headers=headers)

        async with faulty_server() as server:
            server.fallback = refuse
            provider = await opened(f"{server.url}/data/")
            for call in (
                provider.list_objects(BUCKET),
                provider.head(BUCKET, "k"),
                provider.get(BUCKET, "k"),
            ):
                with pytest.raises(error) as raised:
                    await call
                if isinstance(raised.value, SourceFailed):
                    assert raised.value.retry_after_s == wait_s
            await provider.close()

    asyncio.run(scenario())


def test_a_read_that_breaks_off_goes_on_if_the_file_is_the_same() -> None:
    content = bytes(range(200))

    async def scenario() -> None:
        async def breaking(asked: Asked, writer: Writer) -> None:
            span = asked.headers.get("range", "")
            tags = {"ETag": '"one"'}
            if not span:
                await reply(writer, 200, content[:50], headers=tags, length=len(content))
                raise BreakOff
            start = int(span.removeprefix("bytes=").partition("-")[0])
            tags["Content-Range"] = f"bytes {start}-199/200"
            if asked.path.endswith("changed"):
                tags["ETag"] = '"two"'
            await reply(writer, 206, content[start:], headers=tags)

        async with faulty_server() as server:
            server.fallback = breaking
            provider = Retrying(await opened(f"{server.url}/data/"))
            assert await read(provider, "same") == content
            reading = await provider.get(BUCKET, "changed")
            with pytest.raises(SourceChanged):
                async for _ in reading.chunks:
                    pass
            await provider.close()

    asyncio.run(scenario())


def test_a_range_that_was_not_asked_for_is_not_taken_for_the_right_one() -> None:
    async def scenario() -> None:
        async def other(asked: Asked, writer: Writer) -> None:
            span = "bytes 7-9/10" if asked.path.endswith("later") else "nonsense"
            await reply(writer, 206, b"789", headers={"Content-Range": span, "ETag": '"x"'})

        async def short(_asked: Asked, writer: Writer) -> None:
            await reply(writer, 206, b"34", headers={"Content-Range": "bytes 3-4/10"})

        async with faulty_server() as server:
            server.fallback = other
            server.on("/data/short", short)
            provider = await opened(f"{server.url}/data/")
            for key in ("later", "nonsense"):
                with pytest.raises(SourceFailed):
                    await provider.get(BUCKET, key, offset=3, length=5)
            reading = await provider.get(BUCKET, "short", offset=3, length=5)
            with pytest.raises(SourceUnreachable):
                async for _ in reading.chunks:
                    pass
            await provider.close()

    asyncio.run(scenario())


def test_redirects_are_followed_and_pages_that_lead_out_are_left_out() -> None:
    async def scenario() -> None:
        def leading(location: str) -> Answering:
            async def redirect(_asked: Asked, writer: Writer) -> None:
                await reply(writer, 302, headers={"Location": location})

            return redirect

        def showing(text: bytes) -> Answering:
            async def show(asked: Asked, writer: Writer) -> None:
                headers = PAGE if asked.path.endswith("/") else {}
                await reply(
                    writer, 200, b"" if asked.method == "HEAD" else text, headers=headers, length=len(text)
                )

            return show

        async with faulty_server() as server:
            for path, answer in {
                "/old/": leading("/new/v2/"),
                "/old/x": leading(f"{server.url}/new/v2/x"),
                "/new/v2/": showing(b'<a href="x">x</a> <a href="out/">out</a> <a href="gone/">gone</a>'),
                "/new/v2/x": showing(b"content"),
                "/old/out/": leading("/"),
                "/": showing(b'<a href="old/">old</a>'),
                "/old/round": leading("/old/round"),
                "/old/file": leading("file:///etc/passwd"),
            }.items():
                server.on(path, answer)
            provider = await opened(f"{server.url}/old/")
            assert [about.key for about in (await provider.list_objects(BUCKET)).objects] == ["x"]
            assert await read(provider, "x") == b"content"
            for key in ("round", "file"):
                with pytest.raises(SourceFailed, match="redirects"):
                    await provider.head(BUCKET, key)
            await provider.close()

    asyncio.run(scenario())


def test_the_guard_of_outgoing_connections_holds_for_datasets() -> None:
    async def scenario() -> None:
        async with faulty_server() as server:
            provider = await opened(f"{server.url}/data/", allow_loopback=False)
            for call in (provider.head_bucket(BUCKET), provider.get(BUCKET, "k")):
                with pytest.raises(EgressDenied):
                    await call
            assert not server.asked
            await provider.close()

    asyncio.run(scenario())


def test_a_listing_goes_on_without_asking_for_what_came_before() -> None:
    async def scenario() -> None:
        async def answer(asked: Asked, writer: Writer) -> None:
            if asked.method == "HEAD":
                await reply(writer, 200, length=3)
            elif asked.path == "/data/":
                page = "".join(f'<a href="{number}/">{number}/</a>' for number in range(6))
                await reply(writer, 200, page.encode(), headers=PAGE)
            elif asked.path.endswith("/deep/"):
                await reply(writer, 403)
            else:
                page = '<a href="x">x</a><a href="deep/y">y</a><a href="deep/x">x</a>'
                await reply(writer, 200, page.encode(), headers=PAGE)

        async with faulty_server() as server:
            server.fallback = answer
            provider = await opened(f"{server.url}/data/")
            page = await provider.list_objects(BUCKET, after="4/", limit=3)
            assert [about.key for about in page.objects] == ["4/deep/x", "4/deep/y", "4/x"]
            assert {asked.path for asked in server.asked if asked.method == "GET"} >= {"/data/", "/data/4/"}
            assert "/data/3/" not in {asked.path for asked in server.asked}
            before = len(server.asked)
            page = await provider.list_objects(BUCKET, token=page.token, limit=3)
            assert [about.key for about in page.objects] == ["5/deep/x", "5/deep/y", "5/x"]
            assert "/data/" not in {asked.path for asked in server.asked[before:]}
            page = await provider.list_objects(BUCKET, delimiter="/", after="4/")
            assert page.prefixes == ["5/"]
            await provider.close()

    asyncio.run(scenario())


def test_digests_that_a_server_names_are_told() -> None:
    md5 = hashlib.md5(b"content").digest()

    async def scenario() -> None:
        async def telling(_asked: Asked, writer: Writer) -> None:
            named = {"Content-MD5": b64encode(md5).decode(), "x-goog-hash": "crc32c=aaaaaa=="}
            await reply(writer, 200, b"content", headers=named)

        async with faulty_server() as server:
            server.fallback = telling
            provider = await opened(f"{server.url}/data/")
            assert (await provider.get(BUCKET, "k")).about.digests == {"md5": md5.hex(), "crc32c": "69a69a69"}
            await provider.close()

    asyncio.run(scenario())


def test_what_a_page_shows_and_cannot_be_had_is_left_out() -> None:
    async def scenario() -> None:
        async def answer(asked: Asked, writer: Writer) -> None:
            name = asked.path.rpartition("/")[2]
            if not name:
                names = ("a", "denied", "gone", "of-no-size", "packed", "packed.tar.gz")
                page = "".join(f'<a href="{each}">{each}</a>' for each in names)
                await reply(writer, 200, page.encode(), headers=PAGE)
            elif name == "of-no-size":
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                raise BreakOff
            else:
                status = {"denied": 403, "gone": 404}.get(name, 200)
                headers = {"Content-Encoding": "gzip"} if name.startswith("packed") else {}
                await reply(writer, status, headers=headers, length=0)

        async with faulty_server() as server:
            server.fallback = answer
            provider = await opened(f"{server.url}/data/")
            listed = [about.key for about in (await provider.list_objects(BUCKET)).objects]
            assert listed == ["a", "packed.tar.gz"]
            with pytest.raises(SourceFailed, match="gzip"):
                await provider.get(BUCKET, "packed")
            await provider.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_an_object_comes_once_over_many_connections(knows_ranges: bool) -> None:
    content = os.urandom(1_000_000)
    asked_for: list[str] = []

    async def answer(asked: Asked, writer: Writer) -> None:
        span = asked.headers.get("range", "")
        asked_for.append(span)
        if not (knows_ranges and span):
            await reply(writer, 200, content, headers={"ETag": '"x"'})
            return
        first, last = map(int, span.removeprefix("bytes=").split("-"))
        told = {"ETag": '"x"', "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        await reply(writer, 206, content[first : last + 1], headers=told)

    async def scenario() -> None:
        async with faulty_server() as server:
            server.fallback = answer
            provider = await opened(f"http://127.0.0.1:{server.port}/data/")
            parallel = ParallelReads(Retrying(provider), Ranges(0, 100_000, 4))
            assert await read(parallel, "k") == content
            await provider.close()

    asyncio.run(scenario())
    assert len(asked_for) == 11 if knows_ranges else len(asked_for) < 8
