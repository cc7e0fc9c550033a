"""Small objects that come as usual need little; whatever is unusual about one becomes an ordinary item."""

import asyncio
import gzip
import hashlib
import os
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from aisle.errors import OutOfSpace, Unavailable
from aisle.jobs.destination import Destination
from aisle.jobs.item import ItemDownload
from aisle.model.job import JobProgress
from aisle.model.names import ObjectName
from aisle.rules.download_plan import Item
from aisle.rules.download_reply import Reply
from aisle.storage.engine import ToldOfRecord
from aisle.storage.memory import MemoryEngine, MemoryStored
from aisle.transfer.fetch import Fetcher
from support.downloads import CONFIG, Rig, with_rig
from support.faulty import Asked, BreakOff, Writer, reply, serve_file, serving

BODIES = {number: os.urandom(number * 97 % 16_000 + 1) for number in range(120)}
Serve = Callable[[Asked, Writer, bytes], Awaitable[None]]


@pytest.fixture
def unusual(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the items that became ordinary ones."""
    names: list[str] = []
    make = ItemDownload.__init__

    def counting(download: ItemDownload, *arguments: object, **named: object) -> None:
        make(download, *arguments, **named)  # type: ignore[arg-type]
        names.append(download.name)

    monkeypatch.setattr(ItemDownload, "__init__", counting)
    return names


@pytest.fixture(params=["plain", "libcurl"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who brings the answers."""
    if request.param == "libcurl":
        make = Fetcher.__init__

        def without_lane(fetcher: Fetcher, *arguments: object, **named: object) -> None:
            make(fetcher, *arguments, **{**named, "plain": False})  # type: ignore[arg-type]

        monkeypatch.setattr(Fetcher, "__init__", without_lane)
    return str(request.param)


def number_of(asked: Asked) -> int:
    return int(asked.path.rpartition("/o")[2])


async def run(rig: Rig, serve: Serve) -> JobProgress:
    """Download all bodies, each as `serve` gives it, and see that they came."""

    async def fallback(asked: Asked, writer: Writer) -> None:
        await serve(asked, writer, BODIES[number_of(asked)])

    rig.server.fallback = fallback
    template = f"{rig.server.url}/d/o{{0..{len(BODIES) - 1}}}"
    status = await rig.ended(await rig.submit(type="range", template=template))
    progress = status.progress
    assert (progress.finished, progress.failed, progress.skipped) == (len(BODIES), 0, 0)
    assert progress.received == sum(map(len, BODIES.values()))
    assert {number: rig.content(f"o{number}") for number in BODIES} == BODIES
    return progress


@with_rig()
async def test_usual_answers_make_no_ordinary_items(rig: Rig, unusual: list[str], way: str) -> None:
    async def serve(asked: Asked, writer: Writer, body: bytes) -> None:
        await serve_file(asked, writer, body, {"ETag": '"v1"', "Content-Type": "a/b"})

    await run(rig, serve)
    # Until the name of the server is known they have to wait for it.
    assert len(unusual) <= 64
    record = rig.record("o119")
    assert record.attributes.content_type == "a/b"
    assert record.attributes.custom == {
        "source": "web",
        "orig_url": f"{rig.server.url}/d/o119",
        "Content-Length": str(len(BODIES[119])),
        "ETag": "v1",
    }
    assert way in ("plain", "libcurl")


@with_rig()
async def test_answers_may_come_in_pieces(rig: Rig, unusual: list[str], way: str) -> None:
    async def serve(asked: Asked, writer: Writer, body: bytes) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(body[10:])

    await run(rig, serve)
    assert len(unusual) <= 64, way


def digest_told(body: bytes) -> dict[str, str]:
    return {"Content-MD5": b64encode(hashlib.md5(body).digest()).decode()}


async def a_digest(asked: Asked, writer: Writer, body: bytes) -> None:
    await serve_file(asked, writer, body, digest_told(body))


async def a_wrong_digest_at_first(asked: Asked, writer: Writer, body: bytes) -> None:
    await serve_file(asked, writer, body, digest_told(body if asked.count > 1 else b""))


async def an_error_at_first(asked: Asked, writer: Writer, body: bytes) -> None:
    if asked.count == 1:
        await reply(writer, 503, b"later", headers={"Retry-After": "0"})
    else:
        await serve_file(asked, writer, body)


async def a_redirect(asked: Asked, writer: Writer, body: bytes) -> None:
    if asked.path.startswith("/d/"):
        await reply(writer, 302, headers={"Location": asked.path.replace("/d/", "/e/")})
    else:
        await serve_file(asked, writer, body)


async def a_lost_connection_at_first(asked: Asked, writer: Writer, body: bytes) -> None:
    if asked.count == 1:
        await serve_file(asked, writer, body, break_after=len(body) // 2)
    await serve_file(asked, writer, body)


async def a_head_that_breaks_off_at_first(asked: Asked, writer: Writer, body: bytes) -> None:
    if asked.count == 1:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await writer.drain()
        await asyncio.sleep(0.02)
        raise BreakOff
    await serve_file(asked, writer, body)


async def no_length(asked: Asked, writer: Writer, body: bytes) -> None:
    del asked
    await reply(writer, 200, body, length=-1)


async def an_encoding(asked: Asked, writer: Writer, body: bytes) -> None:
    del asked
    await reply(writer, 200, gzip.compress(body), headers={"Content-Encoding": "gzip"})


UNUSUAL = (
    a_digest,
    a_wrong_digest_at_first,
    an_error_at_first,
    a_redirect,
    a_lost_connection_at_first,
    a_head_that_breaks_off_at_first,
    no_length,
    an_encoding,
)


@pytest.mark.parametrize("serve", UNUSUAL, ids=lambda serve: serve.__name__)
@with_rig()
async def test_what_is_unusual_comes_all_the_same(
    rig: Rig, unusual: list[str], way: str, serve: Serve
) -> None:
    async def sometimes(asked: Asked, writer: Writer, body: bytes) -> None:
        await (serve if number_of(asked) % 3 == 0 else serve_file)(asked, writer, body)

    progress = await run(rig, sometimes)
    assert {f"o{number}" for number in BODIES if number % 3 == 0} <= set(unusual), way
    assert progress.scheduled == len(BODIES)


@with_rig(config=replace(CONFIG, stall_timeout_s=0.6))
async def test_a_stalled_answer_is_asked_for_again(rig: Rig, unusual: list[str], way: str) -> None:
    async def serve(asked: Asked, writer: Writer, body: bytes) -> None:
        if asked.count == 1 and number_of(asked) in (70, 71):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            writer.write(body[: 100 * (number_of(asked) - 70)])
            await writer.drain()
            await asyncio.sleep(30)
        await serve_file(asked, writer, body)

    await run(rig, serve)
    assert {"o70", "o71"} <= set(unusual), way


@with_rig()
async def test_larger_objects_are_ordinary_items(rig: Rig, unusual: list[str], way: str) -> None:
    large = os.urandom(400_000)
    rig.server.fallback = serving(large)
    status = await rig.ended(await rig.submit(type="range", template=f"{rig.server.url}/o{{0..9}}"))
    assert (status.progress.finished, status.progress.received) == (10, 10 * len(large))
    assert {rig.content(f"o{number}") for number in range(10)} != {None}
    assert len(set(unusual)) == 10, way


@with_rig()
async def test_what_cannot_be_stored_is_told_and_the_others_are(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Destination.store_plain

    def store_some(
        destination: Destination, item: Item, reply: Reply, payload: bytes, told: ToldOfRecord
    ) -> None:
        if item.number == 7:
            raise OutOfSpace("no room for it")
        if item.number == 8:
            asyncio.get_running_loop().call_soon(told, OutOfSpace("no room for it any more"))
        else:
            store(destination, item, reply, payload, told)

    monkeypatch.setattr(Destination, "store_plain", store_some)
    rig.server.fallback = serving(b"x" * 100)
    await rig.download(f"{rig.server.url}/known")
    status = await rig.ended(await rig.submit(type="range", template=f"{rig.server.url}/o{{0..19}}"))
    assert (status.progress.finished, status.progress.failed) == (18, 2)
    assert sorted(error.error for error in status.progress.errors) == [
        "no room for it",
        "no room for it any more",
    ]


@with_rig()
async def test_a_job_can_be_aborted_while_small_items_come(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def waiting(asked: Asked, writer: Writer) -> None:
        if number_of(asked) >= 50:
            await go_on.wait()
        await serve_file(asked, writer, b"x" * 100)

    rig.server.fallback = waiting
    job_id = await rig.submit(type="range", template=f"{rig.server.url}/o{{0..999}}")
    await rig.until(job_id, lambda status: status.progress.finished >= 50)
    await rig.board.abort(job_id)
    status = await rig.ended(job_id)
    go_on.set()
    await asyncio.sleep(0.1)
    assert status.progress.finished == 50
    assert rig.content("o50") is None


@with_rig()
async def test_a_length_beside_chunks_bounds_nothing(rig: Rig) -> None:
    """Whoever follows the chunks, as libcurl does, may get any number of them."""
    chunk = b"%x\r\n" % 50_000 + b"x" * 50_000 + b"\r\n"
    done = asyncio.Event()

    async def endless(asked: Asked, writer: Writer) -> None:
        del asked
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            done.set()
            raise

    link = rig.server.on("/endless", endless)
    job_id = await rig.single(link)
    async with asyncio.timeout(20):
        await done.wait()
    await rig.board.abort(job_id)
    assert (await rig.ended(job_id)).progress.finished == 0


class Unsure(MemoryEngine):
    """An engine that cannot say yet whether an object is sound, as after a crash."""

    def open(self, name: ObjectName) -> MemoryStored | None:
        if name.key == b"o7" and self.is_unsure:
            raise Unavailable("it has not been compared yet")
        return super().open(name)

    is_unsure = False


@with_rig(engine=Unsure(time.time_ns))
async def test_an_unchanged_object_that_cannot_be_looked_at_is_fetched(rig: Rig) -> None:
    async def serve(asked: Asked, writer: Writer) -> None:
        if asked.headers.get("if-none-match"):
            writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n')
        else:
            await serve_file(asked, writer, BODIES[number_of(asked)])

    rig.server.fallback = serve
    job = {"type": "range", "template": f"{rig.server.url}/o{{0..19}}"}
    first = (await rig.ended(await rig.submit(**job))).progress
    assert (first.finished, first.skipped, first.updated) == (20, 0, 0)
    assert isinstance(rig.engine, Unsure)
    rig.engine.is_unsure = True
    second = (await rig.ended(await rig.submit(**job))).progress
    rig.engine.is_unsure = False
    assert (second.finished, second.skipped, second.updated, second.failed) == (20, 19, 1, 0)
    assert rig.content("o7") == BODIES[7]
