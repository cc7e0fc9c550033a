"""Get-batch: many objects in one answer."""

import asyncio
import email
import io
import json
import tarfile
import zipfile
from typing import Any

import pytest

from aisle.httpd.delivery import BrokenAnswer
from service.calling import Answer, Native
from service.credentials import ALICE, BOB, Asking
from service.test_archives import archive_of, unpacked

CONTENT = {"a": b"one", "dir/b": b"", "large": bytes(range(256)) * 4000, "ü/c": b"three"}


@pytest.fixture
def filled(native: Native) -> Native:
    for name, content in CONTENT.items():
        native.put("b/" + "".join(f"%{byte:02x}" for byte in name.encode()), content)
    native.put("b/s.tar", archive_of(".tar", CONTENT))
    native.put("b/s.tgz", archive_of(".tgz", CONTENT))
    return native


def ask(native: Native, items: list[Any], *, path: str = "/b", query: str = "", **more: Any) -> Answer:
    body = {"in": items, "mime": ".tar", "coer": True, "strm": True, **more}
    return native("GET", f"/v1/ml/moss{path}?provider=ais{query}", body)


def members(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def parts(answer: Answer) -> tuple[Any, bytes]:
    """The two parts of a form."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body.replace(b"application/octet-stream", b"text/x-raw"))
    boundary = message.get_boundary()
    assert boundary
    raw = answer.body.split(f"--{boundary}".encode())
    assert raw[-1] == b"--\r\n"
    metadata, archive = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in raw[1:3])
    return json.loads(metadata), archive


def test_objects_come_in_the_order_of_the_request(filled: Native) -> None:
    names = ["large", "a", "ü/c", "dir/b", "a"]
    answer = ask(filled, [{"objname": name} for name in names])
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-tar")
    assert members(answer.body) == [(f"b/{name}", CONTENT[name]) for name in names]


def test_names_may_come_without_their_bucket(filled: Native) -> None:
    assert members(ask(filled, [{"objname": "a"}], onob=True).body) == [("a", b"one")]


@pytest.mark.parametrize(
    ("mime", "content_type"),
    [
        (".tar", "application/x-tar"),
        (".tgz", "application/gzip"),
        (".tar.gz", "application/gzip"),
        (".tar.lz4", "application/x-lz4"),
        (".zip", "application/zip"),
        ("", "application/x-tar"),
    ],
)
def test_every_format_can_be_asked_for(filled: Native, mime: str, content_type: str) -> None:
    answer = ask(filled, [{"objname": name} for name in CONTENT], mime=mime, onob=True)
    assert answer.headers["content-type"] == content_type
    assert unpacked(mime or ".tar", answer.body) == CONTENT


@pytest.mark.parametrize("shard", ["s.tar", "s.tgz"])
def test_members_of_archives_and_parts_are_items_too(filled: Native, shard: str) -> None:
    items = [
        {"objname": shard, "archpath": "large"},
        {"objname": shard, "archpath": "large", "start": 256, "length": 3},
        {"objname": "large", "start": 5, "length": 2},
        {"objname": "large", "start": 1_023_998, "length": -1},
        {"objname": "a", "start": 0, "length": 2},
        {"objname": shard, "archpath": "dir/b"},
    ]
    assert [content for _, content in members(ask(filled, items).body)] == [
        CONTENT["large"],
        b"\0\1\2",
        b"\5\6",
        b"\xfe\xff",
        b"on",
        b"",
    ]
    assert members(ask(filled, items[:1]).body)[0][0] == f"b/{shard}/large"


def test_other_buckets_are_named_by_item(filled: Native) -> None:
    filled.bucket("other")
    filled.put("other/x", b"there")
    items = [
        {"objname": "a"},
        {"objname": "x", "bucket": "other", "provider": "ais"},
        {"uname": "ais/@#/other/x"},
    ]
    assert members(ask(filled, items).body) == [("b/a", b"one"), ("other/x", b"there"), ("other/x", b"there")]
    assert members(ask(filled, items[1:], path="").body) == [("other/x", b"there")] * 2


MISSING = [
    {"objname": "none"},
    {"objname": "s.tar", "archpath": "none"},
    {"objname": "a", "archpath": "x"},
    {"objname": "a", "start": 2, "length": 2},
    {"objname": "a", "start": 3, "length": -1},
]


def test_what_is_missing_stands_there_empty_under_another_name(filled: Native) -> None:
    answer = ask(filled, [{"objname": "a"}, *MISSING, {"objname": "dir/b"}])
    assert members(answer.body) == [
        ("b/a", b"one"),
        ("__404__/b/none", b""),
        ("__404__/b/s.tar/none", b""),
        ("__404__/b/a/x", b""),
        ("__404__/b/a", b""),
        ("__404__/b/a", b""),
        ("b/dir/b", b""),
    ]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("item", MISSING)
def test_what_is_missing_ends_a_batch_that_does_not_go_on(
    filled: Native, item: dict[str, Any], streams: bool
) -> None:
    answer = ask(filled, [{"objname": "a"}, item], coer=False, strm=streams)
    assert answer.status in (400, 404, 416)
    if item == {"objname": "none"}:
        assert answer.json()["message"] == "t[bRaSsqgO]: ais://b/none does not exist"


def test_a_form_tells_what_became_of_each_item(filled: Native) -> None:
    items = [{"objname": "a", "opaque": "aWQ="}, MISSING[0], {"objname": "large", "start": 1, "length": 9}]
    answer = ask(filled, items, strm=False)
    assert answer.headers["content-type"].startswith("multipart/mixed; boundary=")
    report, archive = parts(answer)
    assert report["uuid"].startswith("gbt-")
    assert report["out"] == [
        {"objname": "a", "bucket": "b", "provider": "ais", "opaque": "aWQ=", "size": 3},
        {
            "objname": "none",
            "bucket": "b",
            "provider": "ais",
            "err_msg": "ais://b/none does not exist",
            "size": 0,
        },
        {"objname": "large", "bucket": "b", "provider": "ais", "size": 9},
    ]
    assert [name for name, _ in members(archive)] == ["b/a", "__404__/b/none", "b/large"]


@pytest.mark.parametrize(
    ("value", "query", "status"),
    [
        ({"in": []}, "", 400),
        ({"in": [{"objname": ""}]}, "", 400),
        ({"in": [{"objname": "a", "start": 1}]}, "", 400),
        ({"in": [{"objname": "a", "start": -1, "length": 1}]}, "", 400),
        ({"in": [{"objname": "a", "length": -2}]}, "", 400),
        ({"in": [{"objname": "a"}], "mime": ".rar"}, "", 400),
        ({"in": [{"objname": "a"}]}, "&coloc=3", 400),
        ({"in": [{"objname": "a", "bucket": "nowhere"}]}, "", 404),
        ({"in": [{"objname": "a", "bucket": "b/d"}]}, "", 400),
        ({"in": "a"}, "", 400),
        ({"in": [{"objname": "a", "provider": "zzz", "bucket": "b"}]}, "", 400),
    ],
)
def test_wrong_batches_are_refused(filled: Native, value: dict[str, Any], query: str, status: int) -> None:
    answer = filled("GET", f"/v1/ml/moss/b?provider=ais{query}", value)
    assert answer.status == status, answer.body
    assert status != 404 or "does not exist" in answer.json()["message"]


def test_a_bucket_must_be_named_somewhere(filled: Native) -> None:
    assert ask(filled, [{"objname": "a"}], path="").status == 400


def test_an_object_that_goes_while_a_form_is_sent_breaks_it_off(filled: Native) -> None:
    async def torn() -> None:
        body = {"in": [{"objname": "a"}, {"objname": "large"}], "strm": False, "coer": True}
        answer = await filled.ask("GET", "/v1/ml/moss/b?provider=ais", body)
        await filled.send("DELETE", "/v1/objects/b/large?provider=ais", b'{"action": ""}')
        async for _ in answer.body.chunks:  # type: ignore[union-attr]
            pass

    with pytest.raises(BrokenAnswer, match="large"):
        filled.runner.run(torn())


def test_other_requests_are_answered_while_a_batch_is_made(filled: Native) -> None:
    for number in range(100):
        filled.put(f"b/many/{number}", bytes(10_000))

    async def turns() -> list[str]:
        order: list[str] = []

        async def batch() -> None:
            body = {"in": [{"objname": f"many/{number}"} for number in range(100)], "strm": True}
            await filled.send("GET", "/v1/ml/moss/b?provider=ais", body)
            order.append("batch")

        async def small() -> None:
            await asyncio.sleep(0)
            await filled.send("GET", "/v1/objects/b/a?provider=ais")
            order.append("small")

        await asyncio.gather(batch(), small())
        return order

    assert filled.runner.run(turns()) == ["small", "batch"]


def test_a_zip_of_a_batch_is_whole(filled: Native) -> None:
    answer = ask(filled, [{"objname": "large"}, {"objname": "none"}], mime=".zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["b/large", "__404__/b/none"]


def test_a_batch_has_only_what_its_caller_may_read() -> None:
    asking = Asking()
    asking.bucket(ALICE, "private")
    asking.bucket(ALICE, "shared", acl="public-read")
    asking.bucket(BOB, "own")
    for who, bucket in ((ALICE, "private"), (ALICE, "shared"), (BOB, "own")):
        assert asking(who, "PUT", f"/v1/objects/{bucket}/x", b"x").status == 200

    def statuses(who: Any, *buckets: str) -> list[int]:
        body = {"in": [{"objname": "x", "bucket": bucket} for bucket in buckets], "strm": True}
        return [
            asking(who, "GET", path, body).status for path in ("/v1/ml/moss", f"/v1/ml/moss/{buckets[0]}")
        ]

    assert statuses(BOB, "own", "shared") == [200, 200]
    assert statuses(BOB, "own", "private") == [403, 403]
    assert statuses(ALICE, "private", "shared") == [200, 200]
    assert statuses(None, "private") == [401, 401]
    asking.close()


def test_an_archive_is_packed_only_from_what_may_be_read_into_what_may_be_written() -> None:
    asking = Asking()
    asking.bucket(ALICE, "private")
    asking.bucket(ALICE, "shared", acl="public-read")
    asking.bucket(BOB, "own")

    def status(source: str, to: str) -> int:
        value = {"archname": "s.tar", "tobck": {"name": to, "provider": "ais"}}
        return asking(BOB, "PUT", f"/v1/buckets/{source}", {"action": "archive", "value": value}).status

    assert status("shared", "own") == 200
    assert status("own", "own") == 200
    assert status("private", "own") == 403
    assert status("own", "shared") == 403
    assert status("shared", "shared") == 403
    asking.close()
