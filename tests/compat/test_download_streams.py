"""Large objects over several connections: slow sources, and what goes wrong with some of the connections."""

import asyncio
import dataclasses
import os
from collections import Counter
from dataclasses import dataclass, field

import pytest
import xxhash

from aisle.config import DownloadConfig
from support.downloads import Rig, with_rig
from support.faulty import Asked, BreakOff, Writer, reply

MIB = 1024 * 1024
BODY = os.urandom(8 * MIB)
_SLICE = 64 * 1024
CONFIG = DownloadConfig(retries_max=3, stall_timeout_s=20.0, part_bytes=2 * MIB)


@dataclass
class SlowFile:
    """A file whose server gives so many bytes a second to each connection, and ranges."""

    body: bytes = BODY
    etag: str = '"v1"'
    bytes_per_second: float = 2 * MIB
    sent: Counter[int] = field(default_factory=Counter)
    """How often each slice of the file was sent."""
    release: asyncio.Event | None = None
    """Until it is set, the last megabyte is held back."""

    async def __call__(self, asked: Asked, writer: Writer) -> None:
        await self.serve(asked, writer)

    async def serve(self, asked: Asked, writer: Writer, *, break_after: int | None = None) -> None:
        """Answer as a good file server does; with `break_after`, reset after so many bytes."""
        first, end, status = 0, len(self.body), 200
        fields = {"ETag": self.etag}
        wanted = asked.headers.get("range", "")
        if wanted and asked.headers.get("if-range", self.etag) == self.etag:
            start, _, last = wanted.removeprefix("bytes=").partition("-")
            first, end, status = int(start), int(last) + 1 if last else end, 206
            fields["Content-Range"] = f"bytes {first}-{end - 1}/{len(self.body)}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} OK\r\nContent-Length: {end - first}\r\n{lines}\r\n".encode())
        for offset in range(first, end, _SLICE):
            if break_after is not None and offset - first >= break_after:
                raise BreakOff
            if self.release is not None and offset >= len(self.body) - MIB:
                await self.release.wait()
            writer.write(self.body[offset : min(end, offset + _SLICE)])
            self.sent[offset // _SLICE] += 1
            await writer.drain()
            await asyncio.sleep(_SLICE / self.bytes_per_second)


def ranges(rig: Rig, path: str = "/f") -> list[str]:
    return [asked.headers.get("range", "") for asked in rig.server.asked if asked.path == path]


def assert_stored(rig: Rig, body: bytes = BODY, key: str = "o") -> None:
    assert rig.content(key) == body, [status.progress.errors for status in rig.board.all()]
    assert rig.record(key).attributes.checksum_value == xxhash.xxh64(body).hexdigest()
    assert rig.uploads() == 0


@with_rig(config=CONFIG)
async def test_a_slow_large_object_comes_over_several_connections(rig: Rig) -> None:
    file = SlowFile()
    status = await rig.download(rig.server.on("/f", file))
    assert status.progress.finished == 1
    assert_stored(rig)
    assert rig.server.running_max > 1
    assert ranges(rig)[0] == ""
    further = rig.server.asked[1:]
    assert all(asked.headers["if-range"] == '"v1"' for asked in further)
    # The first connection delivers somewhat more than what is taken of it; nothing else comes twice.
    assert sum(file.sent.values()) <= len(BODY) / _SLICE + len(further) + 4 * MIB / _SLICE


@pytest.mark.parametrize("limits", [{"connections": 3}, {}], ids=["of the job", "of the server"])
@with_rig(config=dataclasses.replace(CONFIG, connections_per_host_max=3))
async def test_further_connections_count_as_others_do(rig: Rig, limits: dict[str, int]) -> None:
    body = BODY[: 6 * MIB]
    await rig.ended(await rig.single(rig.server.on("/f", SlowFile(body)), limits=limits))
    assert_stored(rig, body)
    # One that was closed may not be known to its server yet.
    assert 1 < rig.server.running_max <= 4


@with_rig(config=DownloadConfig(part_bytes=2 * MIB, connections_per_object_max=1))
async def test_there_may_be_none_at_all(rig: Rig) -> None:
    body = BODY[: 4 * MIB]
    await rig.download(rig.server.on("/f", SlowFile(body)))
    assert_stored(rig, body)
    assert ranges(rig) == [""]


@with_rig(config=DownloadConfig(part_bytes=2 * MIB, connections_max=4))
async def test_other_jobs_need_not_wait_for_an_object_with_many_connections(rig: Rig) -> None:
    release = asyncio.Event()
    big = await rig.single(rig.server.on("/f", SlowFile(bytes_per_second=MIB, release=release)))
    await rig.until(big, lambda _: rig.server.running >= 4)

    async def small(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.01)
        await reply(writer, 200, b"x")

    rig.server.fallback = small
    job_id = await rig.submit(type="range", template=f"{rig.server.url}/s/{{0..39}}", subdir="s")
    status = await rig.ended(job_id)
    assert status.progress.finished == 40
    assert not rig.board.find(big).finished_ns
    release.set()
    await rig.ended(big)
    assert_stored(rig)


@with_rig(config=CONFIG)
async def test_a_server_that_ignores_ranges_is_asked_once(rig: Rig) -> None:
    body = BODY[: 3 * MIB]
    whole = SlowFile(body, bytes_per_second=MIB)

    async def without_ranges(asked: Asked, writer: Writer) -> None:
        asked.headers.pop("range", None)
        await whole.serve(asked, writer)

    wanted: list[str] = []

    async def noting(asked: Asked, writer: Writer) -> None:
        wanted.append(asked.headers.get("range", ""))
        await without_ranges(asked, writer)

    await rig.download(rig.server.on("/f", noting))
    assert_stored(rig, body)
    assert wanted[0] == ""
    assert len(wanted) == 2
    await rig.download(rig.server.on("/g", noting), object_name="p")
    assert_stored(rig, body, "p")
    assert wanted[2:] == [""]


@with_rig(config=CONFIG)
async def test_a_file_that_changes_meanwhile_is_fetched_anew(rig: Rig) -> None:
    older, newer = SlowFile(), SlowFile(os.urandom(5 * MIB), '"v2"')

    async def changing(asked: Asked, writer: Writer) -> None:
        if asked.count == 1:
            await older.serve(asked, writer)
            return
        asked.headers.pop("if-range", None)  # it answers 206 all the same
        await newer.serve(asked, writer)

    await rig.download(rig.server.on("/f", changing))
    assert_stored(rig, newer.body)
    assert rig.record().attributes.custom["ETag"] == "v2"


@with_rig(config=CONFIG)
async def test_servers_that_disagree_about_a_file_are_asked_for_it_over_one_connection(rig: Rig) -> None:
    body = BODY[: 5 * MIB]
    one, other = SlowFile(body), SlowFile(body, '"elsewhere"')

    async def behave(asked: Asked, writer: Writer) -> None:
        await (other if "range" in asked.headers else one).serve(asked, writer)

    status = await rig.download(rig.server.on("/f", behave))
    assert status.progress.finished == 1
    assert_stored(rig, body)
    asked = ranges(rig)
    assert asked.count("") == 2
    assert asked[-1] == ""


@pytest.mark.parametrize("fault", ["429", "reset in the middle"])
@with_rig(config=CONFIG)
async def test_what_happens_to_one_connection_does_not_touch_the_others(rig: Rig, fault: str) -> None:
    file = SlowFile()

    async def failing(asked: Asked, writer: Writer) -> None:
        if asked.count != 2:
            await file.serve(asked, writer)
        elif fault == "429":
            await reply(writer, 429, headers={"Retry-After": "1"})
        else:
            await file.serve(asked, writer, break_after=300_000)

    status = await rig.download(rig.server.on("/f", failing))
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    assert_stored(rig)
    assert len(ranges(rig)) >= 2
    assert sum(file.sent.values()) < 1.7 * len(BODY) / _SLICE


@with_rig(config=CONFIG)
async def test_an_object_whose_connections_all_break_goes_on_where_each_was(rig: Rig) -> None:
    file = SlowFile()
    breaking = asyncio.Event()

    async def behave(asked: Asked, writer: Writer) -> None:
        if breaking.is_set():
            await file.serve(asked, writer)
            return
        serving = asyncio.ensure_future(file.serve(asked, writer))
        broken = asyncio.ensure_future(breaking.wait())
        await asyncio.wait((serving, broken), return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not serving.done():
            serving.cancel()
            raise BreakOff

    job_id = await rig.single(rig.server.on("/f", behave))
    await rig.until(job_id, lambda _: rig.server.running >= 2)
    breaking.set()
    await rig.ended(job_id)
    assert_stored(rig)
    assert sum(file.sent.values()) < 1.7 * len(BODY) / _SLICE


@with_rig(config=CONFIG)
async def test_parts_out_of_order_are_not_fetched_again_after_a_restart(rig: Rig) -> None:
    file = SlowFile()
    job_id = await rig.single(rig.server.on("/f", file))
    name = rig.buckets

    def durable() -> list[int]:
        bucket = name.select()[0] if name.select() else None
        uploads = rig.engine.uploads(bucket.number) if bucket else []
        return sorted(
            int(part.attributes.custom["download_offset"])
            for upload in uploads
            for part in rig.engine.parts(upload.id)
        )

    # Something is durable that lies behind a gap.
    def has_gap() -> bool:
        offsets = durable()
        return bool(offsets) and offsets[-1] > sum(_sizes(rig)) - _sizes(rig)[-1]

    await rig.until(job_id, lambda _: has_gap())
    await rig.stop()
    kept = dict(zip(durable(), _sizes(rig), strict=True))
    while rig.server.running:  # noqa: ASYNC110 - it ends when the server notices
        await asyncio.sleep(0.01)
    file.sent.clear()
    rig.start()
    await rig.ended(job_id)
    assert_stored(rig)
    for offset, size in kept.items():
        inner = range(-(-offset // _SLICE), (offset + size) // _SLICE)
        assert not any(file.sent[number] for number in inner)


def _sizes(rig: Rig) -> list[int]:
    """Sizes of the durable parts, in the order of their offsets."""
    bucket = rig.buckets.select()[0]
    parts = [part for upload in rig.engine.uploads(bucket.number) for part in rig.engine.parts(upload.id)]
    return [
        part.size for part in sorted(parts, key=lambda part: int(part.attributes.custom["download_offset"]))
    ]


@with_rig(config=CONFIG)
async def test_abort_ends_all_connections_and_leaves_nothing(rig: Rig) -> None:
    job_id = await rig.single(rig.server.on("/f", SlowFile(bytes_per_second=MIB)))
    await rig.until(job_id, lambda _: rig.server.running >= 4)
    await rig.board.abort(job_id)
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    await rig.until(job_id, lambda _: rig.server.running == 0 and rig.uploads() == 0)
    assert rig.content() is None
    # Their places are free again.
    status = await rig.download(rig.server.on("/g", SlowFile(BODY[:MIB])), object_name="p")
    assert status.progress.finished == 1


@with_rig(config=CONFIG)
async def test_a_job_that_may_have_so_many_bytes_gets_no_further_connections(rig: Rig) -> None:
    body = BODY[: 4 * MIB]
    link = rig.server.on("/f", SlowFile(body, bytes_per_second=50 * MIB))
    await rig.ended(await rig.single(link, limits={"bytes_per_hour": 3600 * MIB}))
    assert_stored(rig, body)
    assert ranges(rig) == [""]
