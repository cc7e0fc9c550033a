"""Multipart uploads on a real node: what survives, what clients that retry see, what many at once do."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from support.content import payload
from support.folders import files_below
from support.native import Answer, NativeClient
from support.node import RunningNode, running_node
from support.s3 import Clients, Endpoint

MIB = 1024 * 1024


@pytest.fixture
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        assert NativeClient(running.host, running.port).create_bucket("b").status == 200
        yield running


def boto3_of(node: RunningNode, folder: Path) -> Any:
    return Clients(Endpoint(node.host, node.port), folder).boto3()


def listed(parts: dict[int, str]) -> dict[str, Any]:
    return {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in sorted(parts.items())]}


def etag_of(*payloads: bytes) -> str:
    joined = b"".join(hashlib.md5(piece).digest() for piece in payloads)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(payloads)}"'


def test_parts_that_were_acknowledged_survive_kills_and_can_be_completed(
    node: RunningNode, tmp_path: Path
) -> None:
    pieces = {number: payload("k", number, 300_000 + number) for number in range(1, 9)}
    client = boto3_of(node, tmp_path)
    upload = client.create_multipart_upload(
        Bucket="b", Key="k", ContentType="a/b", Metadata={"colour": "red"}
    )["UploadId"]
    which = {"Bucket": "b", "Key": "k", "UploadId": upload}
    etags = {}
    for number, body in pieces.items():
        etags[number] = client.upload_part(**which, PartNumber=number, Body=body)["ETag"]
        if number == 3:
            node.kill("committer")
        if number == 5:
            node.kill("all")
            node.restart()
            client = boto3_of(node, tmp_path)
    shown = client.list_parts(**which)
    assert [(part["PartNumber"], part["Size"]) for part in shown["Parts"]] == [
        (number, len(body)) for number, body in pieces.items()
    ]
    assert [found["UploadId"] for found in client.list_multipart_uploads(Bucket="b")["Uploads"]] == [upload]
    done = client.complete_multipart_upload(**which, MultipartUpload=listed(etags))
    assert done["ETag"] == etag_of(*pieces.values())
    node.kill("all")
    node.restart()
    client = boto3_of(node, tmp_path)
    found = client.get_object(Bucket="b", Key="k")
    assert found["Body"].read() == b"".join(pieces.values())
    assert (found["ETag"], found["ContentType"], found["Metadata"]) == (
        done["ETag"],
        "a/b",
        {"colour": "red"},
    )
    # Asked again after the restart, the node still knows what the upload became.
    assert client.complete_multipart_upload(**which, MultipartUpload=listed(etags))["ETag"] == done["ETag"]


def test_a_part_that_breaks_off_leaves_nothing_and_the_earlier_one_stays(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)
    begun = client.request("POST", "/s3/b/k?uploads")
    upload = begun.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    target = f"/s3/b/k?uploadId={upload}&partNumber=1"
    first = client.request("PUT", target, body=b"first" * 10_000)
    assert first.status == 200
    with pytest.raises(OSError):
        client.request("PUT", target, body=_breaking_off(), headers={"Content-Length": "100000"})
    client.close()
    wrong = client.request("PUT", target, body=b"second" * 10_000, headers={"Content-MD5": "A" * 22 + "=="})
    assert wrong.status == 400
    parts = client.request("GET", f"/s3/b/k?uploadId={upload}").body
    assert parts.count(b"<Part>") == 1
    assert first.headers["etag"].strip('"').encode() in parts


def test_a_part_without_a_length_is_refused(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)
    begun = client.request("POST", "/s3/b/no-length?uploads")
    upload = begun.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    target = f"/s3/b/no-length?uploadId={upload}&partNumber=1"
    for coding in ("chunked", ""):
        connection = HTTPConnection(node.host, node.port, timeout=30)
        connection.putrequest("PUT", target)
        if coding:
            connection.putheader("Transfer-Encoding", coding)
        connection.endheaders()
        if coding:
            connection.send(b"5\r\nhello\r\n0\r\n\r\n")
        with connection.getresponse() as response:
            assert (response.status, b"MissingContentLength" in response.read()) == (411, True)
        connection.close()
    assert b"<Part>" not in client.request("GET", f"/s3/b/no-length?uploadId={upload}").body
    client.close()


def _breaking_off() -> Iterator[bytes]:
    yield b"x" * 50_000
    raise ConnectionAbortedError("on purpose")


def test_parts_sent_at_once_make_the_object_and_aborting_gives_the_space_back(
    node: RunningNode, tmp_path: Path
) -> None:
    client = boto3_of(node, tmp_path)
    pieces = [payload("k", number, 1 * MIB) for number in range(40)]
    uploads = [client.create_multipart_upload(Bucket="b", Key=f"k{n}")["UploadId"] for n in range(2)]

    def send(task: tuple[int, int]) -> str:
        which, number = task
        answer = client.upload_part(
            Bucket="b",
            Key=f"k{which}",
            UploadId=uploads[which],
            PartNumber=number + 1,
            Body=pieces[number],
        )
        return str(answer["ETag"])

    with ThreadPoolExecutor(8) as pool:
        etags = list(pool.map(send, [(which, number) for number in range(40) for which in (0, 1)]))
    whole = dict(enumerate(etags[0::2], start=1))
    client.complete_multipart_upload(Bucket="b", Key="k0", UploadId=uploads[0], MultipartUpload=listed(whole))
    assert client.get_object(Bucket="b", Key="k0")["Body"].read() == b"".join(pieces)
    ranged = client.get_object(Bucket="b", Key="k0", Range=f"bytes={MIB - 5}-{MIB + 4}")["Body"].read()
    assert ranged == pieces[0][-5:] + pieces[1][:5]
    client.abort_multipart_upload(Bucket="b", Key="k1", UploadId=uploads[1])
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.list_parts(Bucket="b", Key="k1", UploadId=uploads[1])
    assert "Uploads" not in client.list_multipart_uploads(Bucket="b")


def test_completing_is_instant_however_large_the_parts_are(node: RunningNode, tmp_path: Path) -> None:
    client = boto3_of(node, tmp_path)
    upload = client.create_multipart_upload(Bucket="b", Key="k")["UploadId"]
    piece = os.urandom(16 * MIB)
    which = {"Bucket": "b", "Key": "k", "UploadId": upload}
    etags = {
        number: client.upload_part(**which, PartNumber=number, Body=piece)["ETag"] for number in range(1, 5)
    }
    inodes = {path.stat().st_ino for path in files_below(node.data[0] / "data")}
    client.complete_multipart_upload(**which, MultipartUpload=listed(etags))
    after = {path.stat().st_ino for path in files_below(node.data[0] / "data")}
    assert after == inodes, "no payload file was written or removed"
    assert client.head_object(Bucket="b", Key="k")["ContentLength"] == 4 * len(piece)


def test_one_of_many_who_complete_at_once_wins_and_all_are_told_so(node: RunningNode, tmp_path: Path) -> None:
    client = boto3_of(node, tmp_path)
    upload = client.create_multipart_upload(Bucket="b", Key="k")["UploadId"]
    which = {"Bucket": "b", "Key": "k", "UploadId": upload}
    etags = {n: client.upload_part(**which, PartNumber=n, Body=b"x" * 20_000)["ETag"] for n in (1, 2)}
    together = threading.Barrier(6)

    def complete(_: int) -> str:
        together.wait(timeout=10)
        return str(client.complete_multipart_upload(**which, MultipartUpload=listed(etags))["ETag"])

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(complete, range(6))) == {etag_of(b"x" * 20_000, b"x" * 20_000)}
    assert client.head_object(Bucket="b", Key="k")["ContentLength"] == 40_000


def test_an_object_of_very_many_parts_can_be_read(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)

    def ask(method: str, target: str, body: bytes = b"") -> Answer:
        answer = client.request(method, target, body=body)
        assert answer.status == 200, answer
        return answer

    begun = ask("POST", "/s3/b/k?uploads").body
    upload = begun.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    count = 1_300
    for number in range(1, count + 1):
        ask("PUT", f"/s3/b/k?uploadId={upload}&partNumber={number}", b"%06d\n" % number)
    tags = {n: hashlib.md5(b"%06d\n" % n).hexdigest() for n in range(1, count + 1)}
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>" for n, tag in tags.items())
    document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    ask("POST", f"/s3/b/k?uploadId={upload}", document)
    assert ask("GET", "/s3/b/k").body == b"".join(b"%06d\n" % n for n in range(1, count + 1))
    pages = ask("GET", "/s3/b?uploads").body
    assert b"<Upload>" not in pages
