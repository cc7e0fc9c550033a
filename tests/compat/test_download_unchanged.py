"""Jobs that are run again: what has not changed is not fetched, what has or was spoilt is."""

import asyncio
import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from aisle.errors import CorruptObject
from aisle.jobs.list_files import new_list_name, write_list
from aisle.model.job import DownloadSpec, JobProgress
from aisle.model.names import ObjectName, parse_bucket
from aisle.model.record import Attributes
from aisle.rules.download_list import ListedItem
from aisle.rules.download_request import read_request
from support.downloads import Rig, with_rig
from support.faulty import Asked, Behaviour, Writer, reply, serve_file

SMALL = os.urandom(10_000)
LARGE = os.urandom(1_200_000)
LONG_AGO = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
FILES = 40


class Source:
    """Files with validators, which can be changed; a server that knows conditional requests."""

    def __init__(self, rig: Rig, *, dated: bool = False, delay_s: float = 0.0) -> None:
        self.bodies = {number: os.urandom(100 + 500 * number) for number in range(FILES)}
        self.not_modified = 0
        self._dated = dated
        self._delay_s = delay_s
        self._server = rig.server
        self._days = dict.fromkeys(self.bodies, 10)
        rig.server.fallback = self._serve
        self.template = f"{rig.server.url}/d/o{{0..{FILES - 1}}}"

    def change(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.bodies[number] = os.urandom(len(self.bodies[number]))
            self._days[number] -= 1

    def sent(self) -> int:
        """Body bytes since this was asked last."""
        sent = self._server.sent["bodies"]
        self._server.sent.clear()
        return sent

    async def _serve(self, asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(self._delay_s)
        number = int(asked.path.rpartition("/o")[2])
        body, days = self.bodies[number], self._days[number]
        if self._dated:
            told = {"Last-Modified": format_datetime(datetime(2026, 1, 31 - days, tzinfo=UTC), usegmt=True)}
            unchanged = asked.headers.get("if-modified-since") == told["Last-Modified"]
        else:
            told = {"ETag": f'"{hashlib.md5(body).hexdigest()}!"'}
            unchanged = asked.headers.get("if-none-match") == told["ETag"]
        if unchanged:
            self.not_modified += 1
            await reply_head(writer, 304, told)
        else:
            self._server.sent["bodies"] += len(body)
            await reply(writer, 200, body, headers=told)


async def reply_head(writer: Writer, status: int, headers: dict[str, str]) -> None:
    """An answer that has no body, and says nothing about one."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode())
    await writer.drain()


def counts(progress: JobProgress) -> tuple[int, int, int, int]:
    """How many are there after the job, of them skipped and updated, and how many failed."""
    return progress.finished, progress.skipped, progress.updated, progress.failed


async def run(rig: Rig, **request: object) -> JobProgress:
    return (await rig.ended(await rig.submit(**request))).progress


async def run_list(rig: Rig, *items: ListedItem) -> JobProgress:
    name = new_list_name()
    write_list(rig.lists, name, items)
    spec = DownloadSpec(kind="list", bucket=parse_bucket("b"), list_file=name, list_items=len(items))
    return (await rig.ended(await rig.board.submit(spec))).progress


def remove(rig: Rig, key: str) -> asyncio.Future[bool]:
    return rig.engine.remove(rig._name(key, "b"))


@pytest.mark.parametrize("dated", [False, True], ids=["entity tags", "dates"])
@with_rig()
async def test_only_what_changed_is_fetched_again(rig: Rig, dated: bool) -> None:
    source = Source(rig, dated=dated)
    job = {"type": "range", "template": source.template}
    assert counts(await run(rig, **job)) == (FILES, 0, 0, 0)
    assert source.sent() == sum(map(len, source.bodies.values()))
    before = {number: rig.record(f"o{number}") for number in source.bodies}

    second = await run(rig, **job)
    assert counts(second) == (FILES, FILES, 0, 0)
    assert (second.received, source.sent(), source.not_modified) == (0, 0, FILES)
    assert {number: rig.record(f"o{number}") for number in source.bodies} == before
    assert {(item.name, item.size) for item in second.recent} == {
        (f"o{number}", len(body)) for number, body in source.bodies.items()
    }

    source.change([3, 17, 18])
    await remove(rig, "o5")
    third = await run(rig, **job)
    assert counts(third) == (FILES, FILES - 4, 3, 0)
    assert third.received == source.sent() == sum(len(source.bodies[number]) for number in (3, 5, 17, 18))
    for number, body in source.bodies.items():
        assert rig.content(f"o{number}") == body


@with_rig()
async def test_a_job_that_is_to_fetch_all_asks_without_conditions(rig: Rig) -> None:
    source = Source(rig)
    job = {"type": "range", "template": source.template}
    await run(rig, **job)
    asked = read_request(msgspec.json.encode({"bucket": {"name": "b"}, **job}))
    again = await rig.board.submit(msgspec.structs.replace(asked.spec, refetch=True))
    assert counts((await rig.ended(again)).progress) == (FILES, 0, FILES, 0)
    assert source.not_modified == 0


def versioned(body: bytes, etag: str) -> Behaviour:
    async def behave(asked: Asked, writer: Writer) -> None:
        if asked.headers.get("if-none-match") == etag:
            await reply_head(writer, 304, {"ETag": etag})
        else:
            await serve_file(asked, writer, body, {"ETag": etag})

    return behave


@with_rig()
async def test_an_object_that_somebody_overwrote_is_fetched_again(rig: Rig) -> None:
    link = rig.server.on("/f", versioned(SMALL, '"v"'))
    await rig.download(link)
    await rig.engine.put_small(rig._name("o", "b"), b"mine", Attributes())
    assert counts((await rig.download(link)).progress) == (1, 0, 1, 0)
    assert "if-none-match" not in rig.server.asked[1].headers
    assert rig.content() == SMALL


@with_rig()
async def test_an_object_that_was_appended_to_is_fetched_again_though_it_kept_its_metadata(rig: Rig) -> None:
    link = rig.server.on("/f", versioned(SMALL, '"v"'))
    await rig.download(link)
    kept = rig.record().attributes.custom
    await rig.engine.put_small(rig._name("o", "b"), SMALL + b"more", Attributes(custom=kept))
    assert counts((await rig.download(link)).progress) == (1, 0, 1, 0)
    assert rig.content() == SMALL


@pytest.mark.parametrize("spoil", ["overwrite", "remove", "damage"])
@with_rig()
async def test_what_happens_to_an_object_while_its_source_is_asked_counts(rig: Rig, spoil: str) -> None:
    release = asyncio.Event()

    async def slow(asked: Asked, writer: Writer) -> None:
        if asked.headers.get("if-none-match"):
            await release.wait()
        await versioned(SMALL, '"v"')(asked, writer)

    link = rig.server.on("/f", slow)
    await rig.download(link)
    job_id = await rig.single(link)
    await rig.until(job_id, lambda _: rig.server.times("/f") == 2)
    if spoil == "overwrite":
        await rig.engine.put_small(rig._name("o", "b"), b"mine", rig.record().attributes)
    elif spoil == "remove":
        await remove(rig, "o")
    else:
        damage(rig)
    release.set()
    assert counts((await rig.ended(job_id)).progress) == (1, 0, 1, 0)
    assert rig.server.times("/f") == 3
    assert "if-none-match" not in rig.server.asked[2].headers
    assert rig.content() == SMALL


def damage(rig: Rig) -> None:
    """Let the object that is there now be unreadable."""
    whole, generation = rig.engine.open, rig.record().generation

    def open_damaged(name: ObjectName) -> object:
        stored = whole(name)
        if stored is not None and stored.record.generation == generation:
            raise CorruptObject("its bytes are not what they were")
        return stored

    rig.engine.open = open_damaged  # type: ignore[method-assign, assignment]


@with_rig()
async def test_a_server_that_knows_no_conditions_is_believed_its_strong_tag(rig: Rig) -> None:
    async def ignorant(asked: Asked, writer: Writer) -> None:
        await serve_file(asked, writer, LARGE, {"ETag": '"v"'})

    link = rig.server.on("/f", ignorant)
    await rig.download(link)
    progress = (await rig.download(link)).progress
    assert counts(progress) == (1, 1, 0, 0)
    assert progress.received == 0


@pytest.mark.parametrize("told", [{}, {"Last-Modified": LONG_AGO}], ids=["nothing", "a date"])
@with_rig()
async def test_a_server_that_ignores_what_it_is_asked_has_its_file_fetched(
    rig: Rig, told: dict[str, str]
) -> None:
    async def plain(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, SMALL, headers=told)

    link = rig.server.on("/f", plain)
    await rig.download(link)
    assert counts((await rig.download(link)).progress) == (1, 0, 1, 0)


@with_rig()
async def test_an_answer_about_another_version_is_not_believed(rig: Rig) -> None:
    newer = os.urandom(9_000)

    async def confused(asked: Asked, writer: Writer) -> None:
        if asked.headers.get("if-none-match"):
            await reply_head(writer, 304, {"ETag": '"v2"'})
        else:
            await serve_file(
                asked, writer, SMALL if asked.count == 1 else newer, {"ETag": f'"v{asked.count}"'}
            )

    link = rig.server.on("/f", confused)
    await rig.download(link)
    assert counts((await rig.download(link)).progress) == (1, 0, 1, 0)
    assert rig.content() == newer


@with_rig()
async def test_the_page_that_a_link_leads_to_today_does_not_replace_the_file(rig: Rig) -> None:
    async def login(asked: Asked, writer: Writer) -> None:
        if asked.count == 1:
            await serve_file(asked, writer, SMALL, {"Content-Type": "application/zip"})
        else:
            page = b"<html>please log in</html>"
            await reply(writer, 200, page, headers={"Content-Type": "text/html"})

    link = rig.server.on("/f", login)
    await rig.download(link)
    progress = (await rig.download(link)).progress
    assert counts(progress) == (0, 0, 0, 1)
    assert "the server sent an HTML page of 26 bytes instead of the file of 10000" in progress.errors[0].error
    assert rig.content() == SMALL


@with_rig()
async def test_an_object_that_has_the_items_checksum_needs_no_request(rig: Rig) -> None:
    link = rig.server.on("/f", versioned(SMALL, '"v"'))
    item = ListedItem(b"o", link, f"sha256:{hashlib.sha256(SMALL).hexdigest()}", len(SMALL))
    assert counts(await run_list(rig, item)) == (1, 0, 0, 0)
    assert counts(await run_list(rig, item)) == (1, 1, 0, 0)
    assert rig.server.times("/f") == 1
    # Another link will do as well: the bytes are what was asked for.
    assert counts(await run_list(rig, item._replace(link=f"{rig.server.url}/g"))) == (1, 1, 0, 0)
    assert len(rig.server.asked) == 1
    # Not known to have that one: fetched, and no condition can spare it.
    other = item._replace(checksum=f"sha512:{hashlib.sha512(SMALL).hexdigest()}")
    assert counts(await run_list(rig, other)) == (1, 0, 1, 0)
    assert "if-none-match" not in rig.server.asked[1].headers
    damage(rig)
    assert counts(await run_list(rig, other)) == (1, 0, 1, 0)
    assert rig.content() == SMALL


@with_rig()
async def test_an_object_of_another_size_than_the_item_is_not_asked_about(rig: Rig) -> None:
    link = rig.server.on("/f", versioned(SMALL, '"v"'))
    await run_list(rig, ListedItem(b"o", link, size=len(SMALL)))
    assert counts(await run_list(rig, ListedItem(b"o", link, size=len(SMALL)))) == (1, 1, 0, 0)
    assert counts(await run_list(rig, ListedItem(b"o", link, size=5))) == (0, 0, 0, 1)
    assert "if-none-match" not in rig.server.asked[2].headers
    assert rig.content() == SMALL


@with_rig()
async def test_counts_add_up_when_a_second_run_is_interrupted(rig: Rig) -> None:
    source = Source(rig, delay_s=0.01)
    job = {"type": "range", "template": source.template, "limits": {"connections": 4}}
    await run(rig, **job)
    source.change(range(0, FILES, 2))
    job_id = await rig.submit(**job)
    for enough in (FILES // 4, FILES // 2):
        await rig.until(job_id, lambda status, enough=enough: status.progress.finished > enough)
        await rig.stop()
        rig.start()
    assert counts((await rig.ended(job_id)).progress) == (FILES, FILES // 2, FILES // 2, 0)
    for number, body in source.bodies.items():
        assert rig.content(f"o{number}") == body


@with_rig()
async def test_what_was_updated_and_not_written_down_still_counts_as_that(rig: Rig) -> None:
    source = Source(rig)
    job = {"type": "range", "template": source.template}
    await run(rig, **job)
    source.change(range(10))
    await remove(rig, "o20")
    job_id = await rig.submit(**job)
    await rig.ended(job_id)
    await rig.stop()
    # As after a kill before the first flush: the objects are there, the progress is not.
    document = rig.store.load(f"progress/{job_id}")
    assert document is not None
    rig.store.swap(f"progress/{job_id}", None, expected_version=document.version)
    source.sent()
    rig.start()
    assert counts((await rig.ended(job_id)).progress) == (FILES, FILES - 11, 10, 0)
    assert source.sent() == 0


@with_rig()
async def test_links_that_are_signed_anew_are_the_same_file(rig: Rig) -> None:
    rig.server.on("/f", versioned(SMALL, '"v"'))
    link = f"{rig.server.url}/f?X-Amz-Signature="
    await rig.download(link + "1")
    assert counts((await rig.download(link + "2")).progress) == (1, 1, 0, 0)
    assert re.fullmatch(r".*/f\?X-Amz-Signature=\.\.\.", rig.record().attributes.custom["orig_url"])
