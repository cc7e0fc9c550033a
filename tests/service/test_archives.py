"""Archives over the native API: read, written, and packed by jobs."""

import asyncio
import gzip
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import lz4.frame
import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from service.calling import Answer, Native
from support.archives import archive_of, tar_of

FILES = {"a/1.cls": b"data", "a/1.txt": b"text", "a/2.txt": b"more" * 9000}
INERT = {
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}
EXTENSIONS = [".tar", ".tgz", ".tar.gz", ".tar.lz4", ".zip"]


def unpacked(extension: str, data: bytes) -> dict[str, bytes]:
    if extension == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}
    if extension == ".tar.lz4":
        data = lz4.frame.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def get(native: Native, name: str, query: str = "", **headers: str) -> Answer:
    return native("GET", f"/v1/objects/b/{name}?provider=ais{query}", **headers)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_member_is_read_by_its_path(native: Native, extension: str) -> None:
    native.put(f"b/s{extension}", archive_of(extension, FILES))
    for name, content in FILES.items():
        answer = get(native, f"s{extension}", f"&archpath={name}&archregx=")
        assert (answer.status, answer.body) == (200, content)
        assert answer.headers == {"content-type": "application/octet-stream", **INERT}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_members_that_match_come_as_a_tar(native: Native, extension: str) -> None:
    native.put(f"b/s{extension}", archive_of(extension, FILES))
    answer = get(native, f"s{extension}", "&archpath=&archregx=.txt&archmode=suffix")
    assert answer.headers == {"content-type": "application/x-tar", **INERT}
    assert unpacked(".tar", answer.body) == {name: FILES[name] for name in ("a/1.txt", "a/2.txt")}
    answer = get(native, f"s{extension}", "&archregx=a/1&archmode=wdskey")
    assert list(unpacked(".tar", answer.body)) == ["a/1.cls", "a/1.txt"]


def test_one_small_match_is_as_long_as_recorded(native: Native) -> None:
    native.put("b/s.tar", tar_of({"a/1.cls": b"data", "a/1.txt": b"data"}))
    assert len(get(native, "s.tar", "&archregx=1.txt&archmode=suffix").body) == 2048


def test_an_empty_mode_is_a_prefix_and_an_expression_alone_means_nothing(native: Native) -> None:
    native.put("b/s.tar", tar_of(FILES))
    assert list(unpacked(".tar", get(native, "s.tar", "&archregx=a/2&archmode=").body)) == ["a/2.txt"]
    assert get(native, "s.tar", "&archregx=a/2").body == tar_of(FILES)


def test_what_is_not_there_is_told_as_recorded(native: Native) -> None:
    native.put("b/s.tar", tar_of(FILES))
    answer = get(native, "s.tar", "&archpath=none")
    assert answer.status == 404
    assert answer.json()["tcode"] == "ErrNotFound"
    assert answer.json()["message"] == "t[bRaSsqgO]: none in ais://b/s.tar does not exist"
    answer = get(native, "none.tar", "&archpath=none")
    assert (answer.status, answer.json()["message"]) == (404, "t[bRaSsqgO]: ais://b/none.tar does not exist")


@pytest.mark.parametrize(
    ("query", "headers", "status", "text"),
    [
        ("&archpath=a&archmode=prefix", {}, 400, "exclude"),
        ("&archregx=a&archmode=nonsense", {}, 400, "archmode"),
        ("&archregx=(&archmode=regexp", {}, 400, "regular expression"),
        ("&archpath=a/1.txt&archmime=.rar", {}, 400, "archive format"),
        ("&archpath=a/1.txt", {"range": "bytes=0-1"}, 400, "range"),
        ("&archpath=a/1.txt&archmime=.zip", {}, 400, "not a zip archive"),
    ],
)
def test_wrong_reads_are_refused(
    native: Native, query: str, headers: dict[str, str], status: int, text: str
) -> None:
    native.put("b/s.tar", tar_of(FILES))
    answer = get(native, "s.tar", query, **headers)
    assert answer.status == status
    assert text in answer.json()["message"]
    assert answer.json()["tcode"] == "ErrUnsupp" if "range" in headers else "tcode" not in answer.json()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hello", b"hello"),
        ("a.tar", b"x" * 1000),
        ("a.tar", tar_of(FILES)[:1100]),
        ("a.tgz", gzip.compress(tar_of(FILES))[:-300]),
        ("a.zip", b"PK" * 50),
        ("a.tar.lz4", b"\x04\x22\x4d\x18" + b"x" * 99),
        ("empty.tar", b""),
    ],
)
def test_what_is_no_archive_says_so(native: Native, name: str, content: bytes) -> None:
    native.put(f"b/{name}", content)
    answer = get(native, name, "&archpath=a")
    assert answer.status == 400
    assert f"ais://b/{name}: " in answer.json()["message"]


def test_the_first_bytes_tell_what_a_name_does_not(native: Native) -> None:
    native.put("b/shard", archive_of(".tgz", FILES))
    assert get(native, "shard", "&archpath=a/1.txt").body == b"text"


def put(native: Native, name: str, member: str, content: bytes, **headers: str) -> Answer:
    return native("PUT", f"/v1/objects/b/{name}?provider=ais&archpath={member}", content, **headers)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_archive_is_made_and_grows(native: Native, extension: str) -> None:
    name = f"s{extension}"
    assert put(native, name, "x/first", b"one").headers == {}
    assert put(native, name, "second", b"two" * 20_000, ais_pine="1").status == 200
    assert put(native, name, "third", b"", ais_pine="2").status == 200
    grown = {"x/first": b"one", "second": b"two" * 20_000, "third": b""}
    assert unpacked(extension, get(native, name).body) == grown
    assert get(native, name, "&archpath=second").body == b"two" * 20_000
    # Without the header a new archive takes the place of the old one.
    put(native, name, "only", b"this")
    assert unpacked(extension, get(native, name).body) == {"only": b"this"}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_archive_that_somebody_else_made_grows(native: Native, extension: str) -> None:
    native.put(f"b/s{extension}", archive_of(extension, FILES))
    assert put(native, f"s{extension}", "new", b"n", ais_pine="1").status == 200
    assert unpacked(extension, get(native, f"s{extension}").body) == {**FILES, "new": b"n"}


def test_a_file_put_again_is_read_as_it_was_put_last(native: Native) -> None:
    put(native, "s.tar", "a", b"old")
    put(native, "s.tar", "a", b"newer", ais_pine="1")
    assert get(native, "s.tar", "&archpath=a").body == b"newer"


@pytest.mark.parametrize(
    ("name", "member", "headers", "status"),
    [
        ("s.tar", "x", {"ais_pine": "1"}, 404),
        ("s.rar", "x", {}, 400),
        ("s.rar", "x", {"ais_pine": "2"}, 400),
        ("s.tar", "../x", {}, 400),
        ("s.tar", "a/../../x", {}, 400),
        ("s.tar", "dir/", {}, 400),
        ("s.tar", "x", {"ais_pine": "3"}, 400),
        ("hello", "x", {"ais_pine": "1"}, 400),
    ],
)
def test_wrong_writes_are_refused_and_change_nothing(
    native: Native, name: str, member: str, headers: dict[str, str], status: int
) -> None:
    native.put("b/hello", b"hello")
    assert put(native, name, member, b"content", **headers).status == status
    assert native.names("b") == ["hello"]


def test_a_file_of_unknown_length_is_refused(native: Native) -> None:
    put(native, "s.tar", "a", b"old")
    before = get(native, "s.tar").body
    answer = native("PUT", "/v1/objects/b/s.tar?provider=ais&archpath=b", [b"half"], ais_pine="1")
    assert (answer.status, get(native, "s.tar").body) == (400, before)


def pack(native: Native, **value: Any) -> Answer:
    return native("PUT", "/v1/buckets/b?provider=ais", {"action": "archive", "value": value})


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_job_packs_objects(native: Native, extension: str) -> None:
    files = {"l/1": b"one", "l/2": b"two" * 30_000, "l/3": b""}
    for name, content in files.items():
        native.put(f"b/{name}", content)
    answer = pack(native, objnames=list(files), archname=f"all{extension}")
    assert answer.status == 200
    native.work()
    assert unpacked(extension, get(native, f"all{extension}").body) == files
    status = native.bulk.find(answer.body.decode())
    assert (status.record.kind, status.progress.objects, status.progress.bytes) == ("archive", 3, 90_003)
    assert not status.error


def test_two_small_objects_make_an_archive_as_long_as_recorded(native: Native) -> None:
    native.put("b/l/010", b"x" * 10)
    native.put("b/l/011", b"x" * 11)
    pack(native, objnames=["l/010", "l/011"], archname="two.tar")
    native.work()
    assert len(get(native, "two.tar").body) == 3072


def test_jobs_name_members_as_asked_and_append(native: Native) -> None:
    native.bucket("to")
    for name in ("d/1", "d/2", "e/3"):
        native.put(f"b/{name}", name.encode())
    to = {"name": "to", "provider": "ais", "namespace": None}
    pack(native, template="d/", archname="s.zip", tobck=to, isbn=True)
    native.work()
    pack(native, template="e/{1..5}", archname="s.zip", tobck=to, bnonly=True, aate=True)
    native.work()
    found = unpacked(".zip", native("GET", "/v1/objects/to/s.zip?provider=ais").body)
    assert found == {"b/d/1": b"d/1", "b/d/2": b"d/2", "3": b"e/3"}


def test_a_job_over_everything_leaves_its_own_archive_out(native: Native) -> None:
    native.put("b/a", b"a")
    for _ in range(2):
        pack(native, archname="all.tar")
        native.work()
    assert unpacked(".tar", get(native, "all.tar").body) == {"a": b"a"}


def test_a_missing_name_ends_a_job_unless_it_continues(native: Native) -> None:
    native.put("b/a", b"a")
    job = pack(native, objnames=["a", "none"], archname="s.tar").body.decode()
    native.work()
    assert native.bulk.find(job).progress.error == "ais://b/none does not exist"
    assert native.names("b") == ["a"]
    job = pack(native, objnames=["none", "a"], archname="s.tar", coer=True).body.decode()
    native.work()
    assert native.bulk.find(job).error == "ais://b/none does not exist"
    assert unpacked(".tar", get(native, "s.tar").body) == {"a": b"a"}


def test_names_that_would_lead_out_of_a_folder_are_not_packed(native: Native) -> None:
    native.put("b/x/../y", b"bad")
    native.put("b/z", b"good")
    pack(native, archname="s.tar", coer=True)
    native.work()
    assert unpacked(".tar", get(native, "s.tar").body) == {"z": b"good"}


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"archname": "s.rar"}, 400),
        ({"archname": ""}, 400),
        ({"archname": "s", "mime": ".7z"}, 400),
        ({"archname": "s.tar", "objnames": ["a"], "template": "a"}, 400),
        ({"archname": "s.tar", "tobck": {"name": "nowhere", "provider": "ais"}}, 404),
        ({"archname": "s.tar", "objnames": "a"}, 400),
    ],
)
def test_wrong_jobs_are_refused(native: Native, value: dict[str, Any], status: int) -> None:
    assert pack(native, **value).status == status
    assert native.bulk.all() == []


def test_an_archive_is_named_by_its_media_type_too(native: Native) -> None:
    native.put("b/a", b"a")
    pack(native, archname="shard", mime="application/x-tar")
    native.work()
    assert unpacked(".tar", get(native, "shard").body) == {"a": b"a"}


def listed(native: Native, **value: Any) -> list[tuple[str, int, int]]:
    page = native.page("b", flags="8", **value)
    return [(entry["n"], entry.get("s", 0), entry["f"]) for entry in page["Entries"]]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_listing_looks_inside_archives(native: Native, extension: str) -> None:
    archive = archive_of(extension, FILES)
    native.put(f"b/s{extension}", archive)
    native.put("b/a", b"x")
    native.put("b/t.tar", b"no archive")
    assert listed(native, prefix=f"s{extension}", props="") == [
        (f"s{extension}", len(archive), 576),
        (f"s{extension}/a/1.cls", 4, 192),
        (f"s{extension}/a/1.txt", 4, 192),
        (f"s{extension}/a/2.txt", 36_000, 192),
    ]
    names = [name for name, _, _ in listed(native)]
    assert names == ["a", f"s{extension}", *(f"s{extension}/{name}" for name in FILES), "t.tar"]
    assert listed(native, prefix="t.tar") == [("t.tar", 10, 64)]
    assert listed(native, prefix=f"s{extension}/a") == []
    assert native.names("b") == ["a", f"s{extension}", "t.tar"]


@pytest.mark.parametrize("size", range(1, 13))
def test_pages_of_any_size_make_the_same_listing(native: Native, size: int) -> None:
    for name in ("a", "m.zip", "n.tar", "z"):
        native.put(f"b/{name}", archive_of("." + name.partition(".")[2], FILES) if "." in name else b"x")
    whole = listed(native)
    assert len(whole) == 10
    found, token, pages = [], "", 0
    while True:
        page = native.page("b", flags="8", pagesize=size, continuation_token=token)
        assert len(page["Entries"]) <= size
        found += [entry["n"] for entry in page["Entries"]]
        token, pages = page["ContinuationToken"], pages + 1
        if not token:
            break
    assert found == [name for name, _, _ in whole]
    assert pages <= 11


def test_a_listing_as_json_shows_archives_too(native: Native) -> None:
    native.put("b/s.tar", archive_of(".tar", FILES))
    body = {"action": "list", "value": {"flags": "8"}}
    entries = native("GET", "/v1/buckets/b?provider=ais", body).json()["entries"]
    assert entries[1] == {"name": "s.tar/a/1.cls", "size": "4", "flags": 192}


def test_archives_of_very_many_files_are_looked_through_too(native: Native) -> None:
    native.put("b/s.tar", tar_of({f"{number:05}": b"" for number in range(6_000)}))
    answer = get(native, "s.tar", "&archregx=0$&archmode=regexp")
    assert len(unpacked(".tar", answer.body)) == 600
    page = listed(native, pagesize=5_990)
    assert [name for name, _, _ in page[-2:]] == ["s.tar/05987", "s.tar/05988"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_remote_bucket_s_archives_that_are_here_are_looked_into(size: int) -> None:
    account = MemoryProvider(["data"])
    for name in ("a", "here.tar", "m/1", "m/2", "there.tar", "z"):
        asyncio.run(
            account.put("data", name, one_chunk(tar_of({"x": b"1", "y": b"2"})), RemoteObject(name, 1))
        )
    with closing(Native(providers={"aws": lambda _: account})) as native:
        assert native("GET", "/v1/objects/data/here.tar?provider=aws").status == 200
        found, token = [], ""
        while True:
            value = {"flags": "8", "pagesize": size, "continuation_token": token}
            answer = native("GET", "/v1/buckets/data?provider=aws", {"action": "list", "value": value})
            assert answer.status == 200, answer.body
            page = answer.json()
            found += [(entry["name"], entry.get("flags", 0)) for entry in page["entries"] or ()]
            token = page["continuation_token"]
            if not token:
                break
    members = [("here.tar/x", 192), ("here.tar/y", 192)]
    assert found == [
        ("a", 0),
        ("here.tar", 576),
        *members,
        ("m/1", 0),
        ("m/2", 0),
        ("there.tar", 0),
        ("z", 0),
    ]


async def one_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content
