"""Download jobs: many items, limits, stopping, restarts, and what is told about all that."""

import asyncio
import dataclasses
import hashlib
import os
import time
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from aisle.api.native.download_status import wire_job, wire_status
from aisle.config import DownloadConfig
from aisle.errors import BadRequest, JobNotFound, JobRunning
from aisle.model.names import ObjectName, parse_bucket
from aisle.rules.download_plan import Item
from aisle.rules.egress import EgressPolicy
from aisle.storage.memory import MemoryEngine
from support.downloads import CONFIG, LOOPBACK, Rig, with_rig
from support.faulty import Asked, Writer, reply, serve_file, serving
from support.lateness import measured_lateness

BODIES = {f"/d/o{number:03d}": os.urandom(3_000 + number) for number in range(300)}
LARGE = os.urandom(3_000_000)


async def _many(asked: Asked, writer: Writer) -> None:
    body = BODIES.get(asked.path)
    await (reply(writer, 404) if body is None else serve_file(asked, writer, body))


def template(rig: Rig, first: int = 0, last: int = 299) -> str:
    rig.server.fallback = _many
    return f"{rig.server.url}/d/o{{{first:03d}..{last:03d}}}"


def stored(rig: Rig, prefix: str = "") -> dict[str, bytes | None]:
    bucket = rig.buckets.find(parse_bucket("b"))
    entries = rig.engine.scan(bucket.number, prefix=prefix.encode(), limit=10_000).entries
    return {entry.key.decode(): rig.content(entry.key.decode()) for entry in entries}


def expected(prefix: str = "") -> dict[str, bytes]:
    return {prefix + path.rpartition("/")[2]: body for path, body in BODIES.items()}


@with_rig()
async def test_a_range_becomes_objects(rig: Rig) -> None:
    status = await rig.ended(await rig.submit(type="range", template=template(rig)))
    progress = status.progress
    assert (progress.finished, progress.failed, progress.scheduled, progress.total) == (300, 0, 300, 300)
    assert progress.received == sum(map(len, BODIES.values()))
    assert progress.done == ((0, 300),)
    assert stored(rig) == expected()
    assert status.record.download.description == f"{rig.server.url}/d/o{{000..299}} -> ais://b"


@with_rig()
async def test_a_range_goes_below_a_folder(rig: Rig) -> None:
    await rig.ended(await rig.submit(type="range", template=template(rig), subdir="some/sub dir/"))
    assert stored(rig) == expected("some/sub dir/")


@with_rig()
async def test_multi_takes_maps_and_lists(rig: Rig) -> None:
    rig.server.fallback = _many
    link = rig.server.url + "/d/o00{}"
    await rig.ended(await rig.submit(type="multi", objects={"x/1": link.format(1), "2": link.format(2)}))
    await rig.ended(await rig.submit(type="multi", objects=[link.format(3), link.format(4)]))
    bodies = expected()
    assert stored(rig) == {
        "x/1": bodies["o001"],
        "2": bodies["o002"],
        "o003": bodies["o003"],
        "o004": bodies["o004"],
    }


@with_rig()
async def test_one_bad_item_does_not_stop_the_others(rig: Rig) -> None:
    status = await rig.ended(await rig.submit(type="range", template=template(rig, 290, 309)))
    progress = status.progress
    assert (progress.finished, progress.failed, progress.total) == (10, 10, 20)
    assert [item.name for item in sorted(progress.errors)] == [f"o{number}" for number in range(300, 310)]
    assert not status.is_aborted
    assert len(stored(rig)) == 10


@with_rig()
async def test_names_are_decoded_and_links_are_not(rig: Rig) -> None:
    rig.server.on("/d/caf%C3%A9%20x", serving(b"1"))
    rig.server.on("/d/%E2%98%83%20y", serving(b"2"))
    await rig.ended(
        await rig.submit(type="single", link=f"{rig.server.url}/d/caf%C3%A9%20x?token=secret#part")
    )
    await rig.ended(await rig.submit(type="single", link=f"{rig.server.url}/d/☃ y"))
    assert stored(rig) == {"café x": b"1", "☃ y": b"2"}
    assert rig.record("café x").attributes.custom["orig_url"].endswith("/d/caf%C3%A9%20x?token=...")


@with_rig()
async def test_connections_are_limited_per_job(rig: Rig) -> None:
    async def slow(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.01)
        await _many(asked, writer)

    link = template(rig, 0, 59)
    rig.server.fallback = slow
    await rig.ended(await rig.submit(type="range", template=link, limits={"connections": 3}))
    assert rig.server.running_max == 3
    await rig.ended(await rig.submit(type="range", template=link))
    assert 3 < rig.server.running_max <= rig.config.connections_per_host_max


@with_rig(config=DownloadConfig(connections_max=4))
async def test_jobs_share_the_connections_fairly(rig: Rig) -> None:
    order: list[str] = []

    async def noting(asked: Asked, writer: Writer) -> None:
        order.append(asked.path)
        await asyncio.sleep(0.005)
        await reply(writer, 200, b"x")

    rig.server.fallback = noting
    long = await rig.submit(type="range", template=f"{rig.server.url}/long/{{0..999}}")
    await rig.until(long, lambda status: status.progress.finished > 10)
    short = await rig.submit(type="range", template=f"{rig.server.url}/short/{{0..19}}", subdir="short")
    await rig.ended(short)
    began = next(at for at, path in enumerate(order) if path.startswith("/short/"))
    share = [path.startswith("/short/") for path in order[began : began + 40]].count(True)
    assert 15 <= share <= 20
    await rig.board.abort(long)


@with_rig()
async def test_bytes_per_hour_are_kept_to(rig: Rig) -> None:
    body = os.urandom(600_000)
    link = rig.server.on("/f", serving(body))
    async with measured_lateness() as lateness:
        began = time.monotonic()
        # 200,000 bytes per second: a second's worth at once, the rest in two more.
        await rig.ended(await rig.single(link, limits={"bytes_per_hour": 720_000_000}))
        assert 1.8 <= time.monotonic() - began < 20 + lateness.seconds
    assert rig.content() == body


@with_rig()
async def test_abort_stops_at_once_and_leaves_nothing(rig: Rig) -> None:
    async def endless(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, LARGE, length=10**9, headers={"ETag": '"v1"'})
        await asyncio.sleep(30)

    job_id = await rig.single(rig.server.on("/f", endless))
    await rig.until(job_id, lambda status: bool(status.live and status.live.active[0].received > 2_000_000))
    with pytest.raises(JobRunning, match="is still running"):
        await rig.board.remove(job_id)
    await rig.board.abort(job_id)
    status = rig.board.find(job_id)
    assert status.finished_ns
    assert status.is_aborted
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    await rig.until(job_id, lambda _: rig.uploads() == 0)
    assert rig.content() is None
    assert rig.server.running == 0 or rig.server.times("/f") == 1
    await rig.board.abort(job_id)  # harmless
    await rig.board.remove(job_id)
    with pytest.raises(JobNotFound):
        rig.board.find(job_id)
    with pytest.raises(JobNotFound):
        await rig.board.abort(job_id)
    await is_forgotten(rig)


async def is_forgotten(rig: Rig) -> None:
    """Wait until nothing is kept of any job's progress."""
    async with asyncio.timeout(60):
        while rig.store.list("progress/"):  # noqa: ASYNC110 - nobody tells of that
            await asyncio.sleep(0.01)


@with_rig()
async def test_a_job_removed_right_after_abort_is_forgotten(rig: Rig) -> None:
    async def endless(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(30)

    job_id = await rig.single(rig.server.on("/f", endless))
    await rig.until(job_id, lambda status: bool(status.live))
    await rig.board.abort(job_id)
    await rig.board.remove(job_id)
    await is_forgotten(rig)
    assert rig.board.all() == []


@with_rig()
async def test_a_job_does_not_go_on_in_another_bucket_of_the_same_name(rig: Rig) -> None:
    await rig.stop()
    job_id = await rig.single(rig.server.on("/f", _many))
    await rig.buckets.destroy(parse_bucket("b"))
    await rig.buckets.create(parse_bucket("b"))
    rig.start()
    status = await rig.ended(job_id)
    assert "ais://b" in status.progress.error
    assert rig.content() is None


@with_rig()
async def test_a_job_whose_bucket_is_destroyed_ends(rig: Rig) -> None:
    async def slow(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.02)
        await _many(asked, writer)

    link = template(rig)
    rig.server.fallback = slow
    job_id = await rig.submit(type="range", template=link, limits={"connections": 2})
    await rig.until(job_id, lambda status: status.progress.finished > 5)
    await rig.buckets.destroy(parse_bucket("b"))
    status = await rig.ended(job_id)
    assert status.is_aborted
    assert "ais://b" in status.progress.error


@with_rig()
async def test_a_restart_goes_on_where_it_was(rig: Rig) -> None:
    async def slow(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.005)
        await _many(asked, writer)

    link = template(rig, 0, 309)
    rig.server.fallback = slow
    job_id = await rig.submit(type="range", template=link, limits={"connections": 4})
    for enough in (60, 150):
        await rig.until(job_id, lambda status, enough=enough: status.progress.finished > enough)
        await rig.stop()
        rig.start()
    progress = (await rig.ended(job_id)).progress
    assert (progress.finished, progress.failed, progress.total) == (300, 10, 310)
    assert stored(rig) == expected()
    # What was on its way at a stop is asked for again, nothing else.
    assert len(rig.server.asked) <= 310 + 2 * 4 * 2


@with_rig()
async def test_what_was_stored_and_not_written_down_is_found_again(rig: Rig) -> None:
    job_id = await rig.submit(type="range", template=template(rig))
    await rig.ended(job_id)
    await rig.stop()
    # As after a kill before the first flush: the objects are there, the progress is not.
    document = rig.store.load(f"progress/{job_id}")
    assert document is not None
    rig.store.swap(f"progress/{job_id}", None, expected_version=document.version)
    before = len(rig.server.asked)
    rig.start()
    progress = (await rig.ended(job_id)).progress
    assert (progress.finished, progress.failed) == (300, 0)
    assert progress.received == sum(map(len, BODIES.values()))
    assert len(rig.server.asked) == before


@pytest.mark.parametrize("announced", ["", "right", "wrong"])
@with_rig(config=DownloadConfig(retries_max=1, part_bytes=256 * 1024))
async def test_a_large_object_goes_on_from_its_last_part_after_a_restart(rig: Rig, announced: str) -> None:
    digest = hashlib.md5(LARGE if announced == "right" else b"other").digest()
    headers = {"Content-MD5": b64encode(digest).decode()} if announced else {}
    release = asyncio.Event()

    async def halting(asked: Asked, writer: Writer) -> None:
        if not release.is_set():
            await reply(
                writer, 200, LARGE[:1_500_000], length=len(LARGE), headers={"ETag": '"v1"', **headers}
            )
            await release.wait()
        else:
            await serve_file(asked, writer, LARGE, headers)

    link = rig.server.on("/f", halting)
    job_id = await rig.single(link)
    await rig.until(job_id, lambda _: rig.uploads() == 1 and _parts(rig) >= 4)
    await rig.stop()
    release.set()
    rig.start()
    status = await rig.ended(job_id)
    assert rig.server.asked[1].headers["range"] == f"bytes={4 * 256 * 1024}-"
    if announced == "wrong":
        assert status.progress.failed == 1
        assert rig.content() is None
    else:
        assert rig.content() == LARGE
        assert rig.record().attributes.checksum_value == _xxhash2(LARGE)
    assert rig.uploads() == 0


def _parts(rig: Rig) -> int:
    bucket = rig.buckets.find(parse_bucket("b"))
    return len(rig.engine.parts(rig.engine.uploads(bucket.number)[0].id))


def _xxhash2(body: bytes) -> str:
    import xxhash

    return xxhash.xxh64(body).hexdigest()


@with_rig(config=DownloadConfig(part_bytes=256 * 1024))
async def test_a_source_that_changed_during_a_restart_is_fetched_anew(rig: Rig) -> None:
    newer = os.urandom(2_000_000)
    release = asyncio.Event()

    async def changing(asked: Asked, writer: Writer) -> None:
        if not release.is_set():
            await reply(writer, 200, LARGE[:1_500_000], length=len(LARGE), headers={"ETag": '"v1"'})
            await release.wait()
        else:
            await serve_file(asked, writer, newer, {"ETag": '"v2"'})

    job_id = await rig.single(rig.server.on("/f", changing))
    await rig.until(job_id, lambda _: rig.uploads() == 1 and _parts(rig) >= 4)
    await rig.stop()
    release.set()
    rig.start()
    await rig.ended(job_id)
    assert rig.content() == newer
    assert rig.record().attributes.checksum_value == _xxhash2(newer)
    assert rig.uploads() == 0


@with_rig(config=DownloadConfig(part_bytes=256 * 1024))
async def test_parts_of_a_job_aborted_while_nobody_ran_it_are_dropped(rig: Rig) -> None:
    async def endless(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, LARGE[:1_500_000], length=len(LARGE), headers={"ETag": '"v1"'})
        await asyncio.sleep(30)

    job_id = await rig.single(rig.server.on("/f", endless))
    await rig.until(job_id, lambda _: rig.uploads() == 1 and _parts(rig) >= 3)
    await rig.stop()
    assert rig.uploads() == 1
    await rig.board.abort(job_id)
    rig.start()
    await rig.until(
        job_id, lambda _: rig.uploads() == 0 and bool(rig.board.find(job_id).progress.finished_ns)
    )
    assert rig.board.find(job_id).is_aborted


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
    ],
)
@with_rig(policy=EgressPolicy(), config=DownloadConfig(retries_max=0))
async def test_this_machine_is_out_of_reach_by_any_name(rig: Rig, host: str) -> None:
    rig.server.on("/f", serving(b"secret"))
    status = await rig.download(f"http://{host}:{rig.server.port}/f")
    assert status.progress.failed == 1
    assert rig.server.asked == []
    if host not in ("[::1]", "localhost"):
        assert "is refused: " in status.progress.errors[0].error


@with_rig(policy=LOOPBACK)
async def test_the_proxy_is_used_and_what_it_hides_is_checked(rig: Rig) -> None:
    # The faulty server itself plays the proxy.
    asked: list[str] = []

    async def proxying(request: Asked, writer: Writer) -> None:
        asked.append(request.path)
        await reply(writer, 200, b"by proxy")

    rig.server.fallback = proxying
    await rig.stop()
    rig.config = dataclasses.replace(rig.config, proxy=rig.server.url)
    rig.start()
    status = await rig.download("http://localhost:9/file")
    assert rig.content() == b"by proxy"
    assert asked == ["http://localhost:9/file"]
    status = await rig.download("http://10.1.2.3/file", object_name="p")
    assert "private address) is refused" in status.progress.errors[0].error
    assert len(asked) == 1


@with_rig()
async def test_status_is_told_as_the_wire_has_it(rig: Rig) -> None:
    async def halting(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, LARGE[:500_000], length=len(LARGE), headers={"ETag": '"v1"'})
        await asyncio.sleep(30)

    job_id = await rig.single(rig.server.on("/f", halting), description="halting")
    status = await rig.until(
        job_id, lambda status: bool(status.live and status.live.bytes_received >= 500_000)
    )
    wire = msgspec.to_builtins(wire_status(status, only_active=False))
    task = wire["current_tasks"][0]
    assert {key: wire[key] for key in ("id", "description", "finished_time", "finished_cnt", "total")} == {
        "id": job_id,
        "description": "halting",
        "finished_time": "1970-01-01T00:00:00Z",
        "finished_cnt": 0,
        "total": 1,
    }
    assert (wire["all_dispatched"], wire["aborted"], wire["state"]) == (True, False, "running")
    assert (wire["bytes"], wire["total_bytes"]) == (500_000, len(LARGE))
    assert task == {
        "name": "o",
        "downloaded": "500000",
        "total": str(len(LARGE)),
        "start_time": task["start_time"],
        "end_time": "1970-01-01T00:00:00Z",
    }
    assert "finished_tasks" not in wire
    await rig.board.abort(job_id)
    gone = await rig.ended(await rig.single(rig.server.url + "/gone", description="gone"))
    wire = msgspec.to_builtins(wire_status(gone, only_active=False))
    assert [(item["name"], item["downloaded"]) for item in wire["finished_tasks"]] == [("o", "0")]
    assert wire["download_errors"] == [
        {"name": "o", "error": f"ErrNotFound: {rig.server.url}/gone does not exist"}
    ]
    assert "current_tasks" not in wire
    assert [wire_job(status).description for status in rig.board.all()] == ["halting", "gone"]


@with_rig()
async def test_requests_that_cannot_be_are_refused_and_leave_no_job(rig: Rig) -> None:
    for body, error, text in (
        ({"type": "zzz"}, BadRequest, "supported formats (single, range, multi, backend)"),
        ({}, BadRequest, "'type' field is empty"),
        ({"type": "single"}, BadRequest, "missing 'link' in the request body"),
        (
            {"type": "range", "template": "http://h/{4..0}"},
            BadRequest,
            "'start' cannot be greater than 'end'",
        ),
        ({"type": "range", "template": "http://h/x"}, BadRequest, "not a 'bash' template"),
        ({"type": "multi", "objects": ["http://h/a/x", "http://h/b/x"]}, BadRequest, "would both become"),
        ({"type": "single", "link": "ftp://h/x"}, BadRequest, 'scheme "ftp" is not supported'),
        ({"type": "single", "link": "http://h/"}, BadRequest, "cannot derive a valid object name"),
        ({"type": "backend", "prefix": "x"}, BadRequest, "requires a remote bucket"),
    ):
        with pytest.raises(error) as raised:
            await rig.submit(**body)
        assert text in str(raised.value)
    assert rig.board.all() == []
    assert rig.buckets.select() == []


@with_rig()
async def test_a_slow_server_that_asks_for_less_gets_less(rig: Rig) -> None:
    complained = 0

    async def overloaded(asked: Asked, writer: Writer) -> None:
        nonlocal complained
        await asyncio.sleep(0.01)
        if rig.server.running > 4:
            complained += 1
            await reply(writer, 429, headers={"Retry-After": "0"})
        else:
            await _many(asked, writer)

    link = template(rig, 0, 99)
    rig.server.fallback = overloaded
    status = await rig.ended(await rig.submit(type="range", template=link))
    assert (status.progress.finished, status.progress.failed) == (100, 0)
    assert complained > 0
    assert CONFIG.retries_max < 10


class Breaking(MemoryEngine):
    """An engine with a bug: whatever is stored under a name with `7` in it raises what nobody expects."""

    def commit(self, name: ObjectName, *args: Any, **options: Any) -> Any:
        if b"7" in name.key:
            raise RuntimeError("a bug")
        return super().commit(name, *args, **options)

    def draft(self, name: ObjectName, **options: Any) -> Any:
        if b"big7" in name.key:
            raise RuntimeError("a bug")
        return super().draft(name, **options)


@with_rig(engine=Breaking(time.time_ns))
async def test_a_bug_met_by_one_item_does_not_hold_up_the_job(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    status = await rig.ended(await rig.submit(type="range", template=template(rig, 0, 99)))
    assert (status.progress.finished, status.progress.failed) == (81, 19)
    assert "internal error: RuntimeError('a bug')" in status.progress.errors[0].error
    assert caplog.text.count("Traceback") == 1
    status = await rig.download(rig.server.on("/big", serving(LARGE)), object_name="big7")
    assert "internal error: RuntimeError('a bug')" in status.progress.errors[0].error
    assert rig.uploads() == 0
    status = await rig.download(rig.server.on("/big", serving(LARGE)), object_name="big")
    assert status.progress.finished == 1


@with_rig()
async def test_a_request_that_names_very_many_objects_keeps_its_record_small(rig: Rig) -> None:
    await rig.stop()
    objects = {f"folder/name-{number:06d}": f"http://h.example/{number}?a=b" for number in range(40_000)}
    job_id = await rig.submit(type="multi", objects=objects)
    document = rig.store.load(f"job/{job_id}")
    assert document is not None
    assert len(document.value) < 1_000
    status = rig.board.find(job_id)
    assert (status.record.download.kind, status.progress.total) == ("multi", 40_000)
    plan = rig.board.plan(status.record)
    assert [plan.item(number) for number in (0, 39_999)] == [
        Item(0, b"folder/name-000000", "http://h.example/0?a=b"),
        Item(39_999, b"folder/name-039999", "http://h.example/39999?a=b"),
    ]
    await rig.board.abort(job_id)
    rig.start()
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    assert rig.board.find(job_id).progress.total == 40_000


@with_rig()
async def test_links_may_be_long(rig: Rig) -> None:
    rig.server.fallback = _many
    objects = {
        path.rpartition("/")[2]: f"{rig.server.url}{path}?X-Amz-Signature={'0' * 7_000}" for path in BODIES
    }
    status = await rig.ended(await rig.submit(type="multi", objects=objects))
    assert (status.progress.finished, status.progress.total) == (300, 300)
    assert stored(rig) == expected()


@with_rig()
async def test_objects_that_are_kept_in_a_list_are_downloaded_like_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.jobs.board.OBJECTS_IN_RECORD_MAX", 10)
    rig.server.fallback = _many
    objects = {f"to/{path.rpartition('/')[2]}": rig.server.url + path for path in BODIES}
    status = await rig.ended(await rig.submit(type="multi", objects=objects))
    assert (status.progress.finished, status.progress.total) == (300, 300)
    assert stored(rig) == expected("to/")
    assert wire_job(status).total == 300
