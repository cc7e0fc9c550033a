"""Archives that are downloaded to be unpacked: what is in them becomes objects, whole, and nowhere else."""

import asyncio
import gzip
import hashlib
import io
import itertools
import json
import os
import tarfile
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from aisle.errors import BadRequest
from aisle.jobs.board import JobStatus
from aisle.jobs.extracting import Extraction, member_key
from aisle.model.names import parse_bucket
from support.downloads import Rig, with_rig
from support.faulty import serving
from support.listings import Site, running_site
from support.native import NativeClient
from support.node import running_node

LARGE = os.urandom(400_000)  # stored before what follows it is read
MEMBERS = {
    "a.txt": b"a",
    "./train/0001.jpg": os.urandom(5_000),
    "train/ä ö.jpg": os.urandom(100),
    "empty": b"",
    "large.bin": os.urandom(1_500_000),
    "n" * 200 + "/x": b"x",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


Change = Callable[[tarfile.TarFile], None]


def tar(members: Mapping[str, bytes], mode: str = "w", *, change: Change | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("train")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        if change is not None:
            change(archive)
    return target.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/", b"")
        for name, body in members.items():
            archive.writestr(name, body)
    return target.getvalue()


def plain(members: Mapping[str, bytes], folder: str = "") -> dict[str, bytes]:
    return {folder + name.removeprefix("./"): body for name, body in members.items()}


def stored(rig: Rig) -> dict[str, bytes | None]:
    bucket = rig.buckets.find(parse_bucket("b"))
    entries = rig.engine.scan(bucket.number, prefix=b"", limit=10_000).entries
    return {entry.key.decode(): rig.content(entry.key.decode()) for entry in entries}


async def extracted(rig: Rig, *links: str, **more: Any) -> JobStatus:
    names = {f"in/{link.rpartition('/')[2]}": link for link in links}
    return await rig.ended(await rig.submit(type="multi", objects=names, extract=True, **more), within_s=40)


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("x.tar", tar(MEMBERS)),
        ("x.tgz", tar(MEMBERS, "w:gz")),
        ("x.TAR.GZ", tar(MEMBERS, "w:gz")),
        ("x.zip", zipped(MEMBERS)),
    ],
)
@with_rig()
async def test_an_archive_becomes_what_is_in_it(rig: Rig, site: Site, name: str, archive: bytes) -> None:
    site.pages[f"/d/{name}"] = archive
    link = f"{site.url}/d/{name}"
    status = await extracted(rig, link)
    assert status.progress.errors == ()
    assert stored(rig) == plain(MEMBERS, "in/")
    assert (status.progress.finished, status.progress.total) == (1, 1)
    custom = rig.record("in/train/0001.jpg").attributes.custom
    assert (custom["orig_url"], custom["archpath"]) == (link, list(MEMBERS)[1])


@with_rig()
async def test_what_is_no_archive_stays_what_it_is(rig: Rig, site: Site) -> None:
    site.pages.update({"/a.txt": b"a", "/b.gz": b"b", "/x.tar": tar({"c": b"c"})})
    await extracted(rig, *(f"{site.url}{path}" for path in site.pages))
    assert stored(rig) == {"in/a.txt": b"a", "in/b.gz": b"b", "in/c": b"c"}


@with_rig()
async def test_without_being_asked_for_nothing_is_unpacked(rig: Rig, site: Site) -> None:
    site.pages["/x.tar"] = tar({"c": b"c"})
    await rig.ended(await rig.submit(type="multi", objects={"x.tar": f"{site.url}/x.tar"}))
    assert stored(rig) == {"x.tar": site.pages["/x.tar"]}


def special(kind: bytes, name: str = "bad", target: str = "/etc/passwd") -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)

    return add


def zip_link() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("good", b"g")
        info = zipfile.ZipInfo("bad")
        info.create_system = 3
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return target.getvalue()


def zip_encrypted() -> bytes:
    data = bytearray(zipped({"good": b"g", "bad": b"b"}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag in the directory's entry
    return bytes(data)


def zip_bzip2() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("good", LARGE)
        archive.writestr("bad", b"b" * 100, zipfile.ZIP_BZIP2)
    return target.getvalue()


def zip_damaged() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("bad", b"as it was packed")
    return target.getvalue().replace(b"as it was", b"as it is!")


def tar_endless() -> bytes:
    """One whose extended header says that it ends where it begins."""
    data = bytearray(tar({"good": b"g"}))
    data[124:136], data[156:157], data[148:156] = b"-0000001000\0", b"x", b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


REFUSED = {
    "up.tar": (tar({"good": b"g", "../bad": b"b"}), '"../bad" would lead out'),
    "inside.tgz": (tar({"good": b"g", "a/../../bad": b"b"}, "w:gz"), "would lead out"),
    "absolute.tar": (tar({"good": b"g", "/bad": b"b"}), '"/bad" would lead out'),
    "symlink.tar": (tar({"good": b"g"}, change=special(tarfile.SYMTYPE)), '"bad" is a symbolic link'),
    "hardlink.tar": (tar({"good": b"g"}, change=special(tarfile.LNKTYPE, target="good")), "a hard link"),
    "device.tgz": (tar({"good": b"g"}, "w:gz", change=special(tarfile.CHRTYPE)), "a device"),
    "pipe.tar": (tar({"good": b"g"}, change=special(tarfile.FIFOTYPE)), "a pipe"),
    "two.tar": (tar({"good": b"g", "././good": b"h", "./good": b"i"}), "would become one object"),
    "up.zip": (zipped({"good": b"g", "../bad": b"b"}), "would lead out"),
    "symlink.zip": (zip_link(), '"bad" is a link or a device'),
    "encrypted.zip": (zip_encrypted(), '"bad" is encrypted'),
    "cut.tgz": (tar(MEMBERS, "w:gz")[:-2000], "cut off"),
    "bzip2.zip": (zip_bzip2(), "only stored and deflated"),
    "cutinside.tgz": (gzip.compress(tar({"good": LARGE, "bad": LARGE})[:-400_000]), "ends inside a file"),
    "sparse.tar": (tar({"good": b"g"}, change=special(tarfile.GNUTYPE_SPARSE)), "a sparse file"),
    "none.zip": (b"nothing of that kind", "not a zip archive"),
    "damaged.zip": (zip_damaged(), "is not what was packed"),
    "endless.tar": (tar_endless(), "negative number"),
    "page.tar": (b"<html>" * 100, "not a tar archive"),
}


@pytest.mark.parametrize("name", REFUSED)
@with_rig()
async def test_what_must_not_be_unpacked_shows_nothing(rig: Rig, site: Site, name: str) -> None:
    archive, reason = REFUSED[name]
    site.pages.update({f"/{name}": archive, "/good.tar": tar({"other": b"o"})})
    status = await extracted(rig, f"{site.url}/{name}", f"{site.url}/good.tar")
    assert [error.name for error in status.progress.errors] == [f"in/{name}"]
    assert reason in status.progress.errors[0].error
    assert stored(rig) == {"in/other": b"o"}


@with_rig()
async def test_files_of_two_archives_do_not_overwrite_each_other(rig: Rig, site: Site) -> None:
    site.pages.update({"/1.tar": tar({"x": b"1", "y1": b"1"}), "/2.tar": tar({"x": b"2"})})
    status = await extracted(rig, f"{site.url}/1.tar", f"{site.url}/2.tar", limits={"connections": 1})
    assert status.progress.failed == 1
    assert "in another archive of the job too" in status.progress.errors[0].error
    assert stored(rig)["in/x"] in (b"1", b"2")
    # Another job replaces what an earlier one has unpacked.
    site.pages["/1.tar"] = tar({"x": b"3"})
    status = await extracted(rig, f"{site.url}/1.tar")
    assert status.progress.failed == 0
    assert stored(rig)["in/x"] == b"3"


@with_rig()
async def test_who_is_stopped_in_the_middle_goes_on_without_the_network(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"m{number:04d}": str(number).encode() for number in range(500)}
    site.pages["/x.tar"] = tar(members)
    job_id = await stopped_in_the_middle(rig, site, monkeypatch)
    before = stored(rig)
    assert "in/x.tar" in before
    assert 1 < len(before) < 500
    rig.start()
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    assert stored(rig) == plain(members, "in/")
    assert site.asked == ["/x.tar"]


@with_rig()
async def test_a_job_that_is_aborted_stops_unpacking(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/x.tar"] = tar({f"m{number:04d}": b"m" for number in range(500)})
    reached, going_on = held_at(monkeypatch, batch=2)
    job_id = await rig.submit(type="multi", objects={"in/x.tar": f"{site.url}/x.tar"}, extract=True)
    await reached.wait()
    await rig.board.abort(job_id)
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    going_on.set()
    await rig.stop()  # all that goes on in the background has ended then
    after = stored(rig)
    assert 0 < len(after) < 500
    assert "in/x.tar" not in after


@with_rig()
async def test_an_archive_that_holds_one_of_its_own_name_is_not_taken_for_it(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tar({"inside": b"i"})
    members = {"x.tar": inner} | {f"m{number:04d}": b"m" for number in range(200)}
    site.pages["/x.tar"] = tar(members)
    job_id = await stopped_in_the_middle(rig, site, monkeypatch)
    assert stored(rig)["in/x.tar"] == inner
    rig.start()
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    assert stored(rig) == plain(members, "in/")


@with_rig()
async def test_members_with_control_characters_in_their_names_are_unpacked(rig: Rig, site: Site) -> None:
    members = {"a": b"a", "Icon\r": b"i", "two\nlines": b"t"}  # as those of a Mac
    site.pages["/x.tar"] = tar(members)
    status = await extracted(rig, f"{site.url}/x.tar")
    assert status.progress.errors == ()
    assert stored(rig) == plain(members, "in/")
    assert rig.record("in/Icon\r").attributes.custom["archpath"] == "Icon\\x0d"


@with_rig()
async def test_a_member_does_not_have_the_digests_of_its_archive(rig: Rig) -> None:
    archive = tar({"a": b"a"})
    digest = b64encode(hashlib.md5(archive).digest()).decode()
    link = rig.server.on("/x.tar", serving(archive, Content_MD5=digest))
    assert (await extracted(rig, link)).progress.failed == 0
    custom = rig.record("in/a").attributes.custom
    assert custom == {"source": "web", "orig_url": link, "ETag": "v1", "archpath": "a"}


def held_at(monkeypatch: pytest.MonkeyPatch, *, batch: int) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold unpacking at that batch: set when it is there, and to be set when it shall go on."""
    put, calls = Extraction._put_batch, itertools.count(1)
    reached, going_on = asyncio.Event(), asyncio.Event()

    async def held(self: Extraction, *arguments: Any) -> None:
        if next(calls) == batch:
            reached.set()
            await going_on.wait()
        await put(self, *arguments)

    monkeypatch.setattr(Extraction, "_put_batch", held)
    return reached, going_on


async def stopped_in_the_middle(rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    """Stop the process when some members of `/x.tar` are unpacked; the job's id."""
    reached, going_on = held_at(monkeypatch, batch=3)
    job_id = await rig.submit(type="multi", objects={"in/x.tar": f"{site.url}/x.tar"}, extract=True)
    await reached.wait()
    asyncio.get_running_loop().call_soon(going_on.set)
    await rig.stop()
    return job_id


def test_names_of_members() -> None:
    assert member_key(b"in/", "././a/b") == b"in/a/b"
    assert member_key(b"", "a") == b"a"
    for name in ("", "./", "..", "a/..", "a//b", "a/./b", "/a", "a/", "\ufffd", "a\0", "n" * 1025):
        with pytest.raises(BadRequest):
            member_key(b"in/", name)


@with_rig()
async def test_many_archives_are_unpacked_two_at_a_time(
    rig: Rig, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"/{number:02d}.tar" for number in range(12)]
    site.pages.update({name: tar({f"m{name[1:3]}": b"m"}) for name in names})
    put, at_once, most = Extraction._put_batch, 0, 0

    async def counted(self: Extraction, *arguments: Any) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        await put(self, *arguments)
        at_once -= 1

    monkeypatch.setattr(Extraction, "_put_batch", counted)
    status = await extracted(rig, *(f"{site.url}{name}" for name in names))
    assert status.progress.finished == 12
    assert len(stored(rig)) == 12
    assert most <= 2


@pytest.mark.timeout(300)  # a job worker starts at the lowest priority: slowly beside others
def test_unpacking_survives_a_kill(site: Site) -> None:
    count = 800
    members = {f"m{number:05d}": os.urandom(64) * (1 + number % 300) for number in range(count)}
    site.pages["/x.tgz"] = tar(members, "w:gz")
    with running_node() as node:
        client = NativeClient(node.host, node.port)

        def call(method: str, message: dict[str, object]) -> dict[str, Any]:
            answer = client.request(method, "/v1/download", body=json.dumps(message).encode())
            assert answer.status == 200, answer
            return dict(json.loads(answer.body))

        def present() -> set[str]:
            return {entry.name for entry in client.list_all("b")}

        request = {"type": "single", "bucket": {"name": "b"}, "link": f"{site.url}/x.tgz", "extract": True}
        job_id = call("POST", {**request, "object_name": "in/x.tgz"})["id"]
        end_s = time.monotonic() + 240
        while not present() - {"in/x.tgz"}:
            assert time.monotonic() < end_s, call("GET", {"id": job_id})
        node.kill("jobs")
        while (status := call("GET", {"id": job_id}))["state"] == "running":
            assert time.monotonic() < end_s, status
            time.sleep(0.05)
        assert (status["finished_cnt"], status["error_cnt"]) == (1, 0), status
        assert present() == {f"in/{name}" for name in members}
        for name in list(members)[:: count // 20]:
            assert client.get("b", f"in/{name}").body == members[name]
        assert site.asked == ["/x.tgz"]
