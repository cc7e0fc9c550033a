"""Objects through S3 by real clients, unpatched and configured only as their manuals say."""

import hashlib
import io
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from compat.test_survival_names import NAMES, size_of
from support.content import payload
from support.folders import files_below
from support.native import NativeClient
from support.node import RunningNode, running_node
from support.processes import wait_until
from support.s3 import Clients, Endpoint, rclones

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        NativeClient(running.host, running.port).create_bucket("b")
        yield running


@pytest.fixture
def clients(node: RunningNode, tmp_path: Path) -> Clients:
    return Clients(Endpoint(node.host, node.port), tmp_path)


@pytest.fixture
def s3(clients: Clients) -> Any:
    return clients.boto3()


def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    """Status and code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def listed(s3: Any, bucket: str = "b") -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def raw(
    node: RunningNode, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    connection = HTTPConnection(node.host, node.port, timeout=30)
    connection.request(
        method, target, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    with connection.getresponse() as response:
        answer = response.status, response.read()
    connection.close()
    return answer


# Names -------------------------------------------------------------------------------------------


def test_awkward_names_are_exact_put_read_copied_and_removed(node: RunningNode, s3: Any) -> None:
    s3.create_bucket(Bucket="names")
    s3.create_bucket(Bucket="copies")
    for name in NAMES:
        body = payload(name, 1, size_of(name))
        put = s3.put_object(Bucket="names", Key=name, Body=body)
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', name
    for name in NAMES:
        body = payload(name, 1, size_of(name))
        assert s3.get_object(Bucket="names", Key=name)["Body"].read() == body, name
        assert s3.head_object(Bucket="names", Key=name)["ContentLength"] == len(body), name
        s3.copy_object(Bucket="copies", Key=name, CopySource={"Bucket": "names", "Key": name})
        assert s3.get_object(Bucket="copies", Key=name)["Body"].read() == body, name
    native = NativeClient(node.host, node.port)
    for bucket in ("names", "copies"):
        assert [entry.name for entry in native.list_all(bucket, page_entries=1000)] == sorted(
            NAMES, key=str.encode
        )
    for name in NAMES[::2]:
        s3.delete_object(Bucket="names", Key=name)
    kept = NAMES[1::2]
    assert [entry.name for entry in native.list_all("names", page_entries=1000)] == sorted(
        kept, key=str.encode
    )
    # XML cannot say every name; the others are removed by a list.
    sayable = [name for name in kept if all(character >= " " or character in "\t\n" for character in name)]
    told = s3.delete_objects(Bucket="names", Delete={"Objects": [{"Key": name} for name in sayable]})
    assert [entry["Key"] for entry in told["Deleted"]] == sayable
    left = sorted(set(kept) - set(sayable), key=str.encode)
    assert [entry.name for entry in native.list_all("names", page_entries=1000)] == left


# boto3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 16 * 1024, 16 * 1024 + 1, 3 * MIB + 1])
def test_what_is_put_is_read_back(s3: Any, size: int) -> None:
    body = payload("k", size, size)
    put = s3.put_object(
        Bucket="b",
        Key="k",
        Body=body,
        ContentType="text/x",
        CacheControl="no-cache",
        Metadata={"Some": "Thing"},
    )
    got = s3.get_object(Bucket="b", Key="k")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == (
        "text/x",
        "no-cache",
        {"some": "Thing"},
    )
    head = s3.head_object(Bucket="b", Key="k")
    assert (head["ETag"], head["ContentLength"], head["LastModified"]) == (
        put["ETag"],
        size,
        got["LastModified"],
    )


@pytest.mark.parametrize("kind", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [10, MIB])
def test_checksums_are_verified_on_both_ways(s3: Any, kind: str, size: int) -> None:
    body = payload(kind, 1, size)
    put = s3.put_object(Bucket="b", Key="k", Body=body, ChecksumAlgorithm=kind)
    got = s3.get_object(Bucket="b", Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body  # botocore compares
    assert got[f"Checksum{kind}"] == put[f"Checksum{kind}"]
    told = s3.get_object_attributes(Bucket="b", Key="k", ObjectAttributes=["Checksum", "ObjectSize"])
    assert (told["Checksum"][f"Checksum{kind}"], told["ObjectSize"]) == (put[f"Checksum{kind}"], size)
    wrong = {f"Checksum{kind}": put[f"Checksum{kind}"]}
    assert refusal(s3.put_object, Bucket="b", Key="k", Body=body + b"!", **wrong) == (400, "BadDigest")
    assert s3.head_object(Bucket="b", Key="k")["ContentLength"] == size


def test_ranges_and_conditions(s3: Any) -> None:
    body = payload("k", 1, 100_000)
    etag = s3.put_object(Bucket="b", Key="k", Body=body)["ETag"]
    got = s3.get_object(Bucket="b", Key="k", Range="bytes=99990-")
    assert (got["Body"].read(), got["ContentRange"]) == (body[-10:], "bytes 99990-99999/100000")
    assert s3.get_object(Bucket="b", Key="k", Range="bytes=-5")["Body"].read() == body[-5:]
    assert refusal(s3.get_object, Bucket="b", Key="k", Range="bytes=100000-") == (416, "InvalidRange")
    assert refusal(s3.get_object, Bucket="b", Key="k", IfNoneMatch=etag)[0] == 304
    assert refusal(s3.get_object, Bucket="b", Key="k", IfMatch='"other"') == (412, "PreconditionFailed")
    assert refusal(s3.put_object, Bucket="b", Key="k", Body=b"", IfNoneMatch="*") == (
        412,
        "PreconditionFailed",
    )
    s3.put_object(Bucket="b", Key="k", Body=b"next", IfMatch=etag)
    assert refusal(s3.put_object, Bucket="b", Key="k", Body=b"", IfMatch=etag) == (412, "PreconditionFailed")
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"next"


def test_what_must_be_there_to_be_removed_and_is_not_is_told(s3: Any) -> None:
    s3.put_object(Bucket="b", Key="there", Body=b"1")
    assert refusal(s3.delete_object, Bucket="b", Key="gone", IfMatch="*") == (404, "NoSuchKey")
    named = [{"Key": "there", "ETag": "*"}, {"Key": "gone", "ETag": '"other"'}]
    told = s3.delete_objects(Bucket="b", Delete={"Objects": named})
    assert [entry["Key"] for entry in told["Deleted"]] == ["there"]
    assert [(entry["Key"], entry["Code"]) for entry in told["Errors"]] == [("gone", "NoSuchKey")]


def test_of_many_clients_that_must_be_the_first_one_wins(clients: Clients, s3: Any) -> None:
    def attempt(number: int) -> int:
        try:
            s3.put_object(Bucket="b", Key="first", Body=payload("first", number, 40_000), IfNoneMatch="*")
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(attempt, range(16)))
    assert sorted(statuses) == [200] + [412] * 15
    assert s3.get_object(Bucket="b", Key="first")["Body"].read() == payload(
        "first", statuses.index(200), 40_000
    )


def test_copies_keep_or_replace_what_was_said(s3: Any) -> None:
    body = payload("source", 1, 2 * MIB)
    s3.put_object(Bucket="b", Key="a source", Body=body, ContentType="text/x", Metadata={"a": "1"})
    source = {"Bucket": "b", "Key": "a source"}
    copied = s3.copy_object(Bucket="b", Key="copy", CopySource=source)["CopyObjectResult"]
    assert copied["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket="b", Key="copy")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (body, "text/x", {"a": "1"})
    s3.copy_object(
        Bucket="b", Key="copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    assert s3.head_object(Bucket="b", Key="copy")["Metadata"] == {"b": "2"}
    assert refusal(s3.copy_object, Bucket="b", Key="a source", CopySource=source) == (400, "InvalidRequest")
    missing = {"Bucket": "b", "Key": "missing"}
    assert refusal(s3.copy_object, Bucket="b", Key="copy", CopySource=missing) == (404, "NoSuchKey")
    s3.delete_object(Bucket="b", Key="a source")
    assert s3.get_object(Bucket="b", Key="copy")["Body"].read() == body


def test_a_thousand_objects_are_removed_by_one_list(s3: Any) -> None:
    s3.create_bucket(Bucket="many")
    keys = [f"{number:04}" for number in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket="many", Key=key, Body=b""), keys))
    told = s3.delete_objects(Bucket="many", Delete={"Objects": [{"Key": key} for key in keys]})
    assert [entry["Key"] for entry in told["Deleted"]] == keys
    assert listed(s3, "many") == []
    quietly = {"Objects": [{"Key": "missing"}], "Quiet": True}
    assert "Deleted" not in s3.delete_objects(Bucket="many", Delete=quietly)
    too_many = {"Objects": [{"Key": key} for key in [*keys, "one more"]]}
    assert refusal(s3.delete_objects, Bucket="many", Delete=too_many) == (400, "MalformedXML")


def test_tags_and_presigned_addresses(node: RunningNode, s3: Any) -> None:
    s3.put_object(Bucket="b", Key="a k", Body=b"hello", Tagging="x=1")
    s3.put_object_tagging(Bucket="b", Key="a k", Tagging={"TagSet": [{"Key": "y", "Value": "ä"}]})
    assert s3.get_object_tagging(Bucket="b", Key="a k")["TagSet"] == [{"Key": "y", "Value": "ä"}]
    s3.delete_object_tagging(Bucket="b", Key="a k")
    arguments = {"Bucket": "b", "Key": "a k", "ResponseContentType": "image/png"}
    address = urlsplit(s3.generate_presigned_url("get_object", Params=arguments))
    assert raw(node, "GET", f"{address.path}?{address.query}") == (200, b"hello")
    address = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "new"}))
    assert raw(node, "PUT", f"{address.path}?{address.query}", b"by address")[0] == 200
    assert s3.get_object(Bucket="b", Key="new")["Body"].read() == b"by address"


def test_parts_of_an_upload_are_read_one_by_one(s3: Any) -> None:
    bodies = [payload("parts", number, 5 * MIB if number < 3 else 70_000) for number in (1, 2, 3)]
    begun = s3.create_multipart_upload(Bucket="b", Key="parts", ChecksumAlgorithm="CRC32", ContentType="a/b")
    said = {"Bucket": "b", "Key": "parts", "UploadId": begun["UploadId"]}
    parts = []
    for number, body in enumerate(bodies, 1):
        done = s3.upload_part(**said, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done["ChecksumCRC32"]})
    etag = s3.complete_multipart_upload(**said, MultipartUpload={"Parts": parts})["ETag"]
    for number, body in enumerate(bodies, 1):
        got = s3.get_object(Bucket="b", Key="parts", PartNumber=number)
        assert (got["Body"].read(), got["PartsCount"], got["ETag"]) == (body, 3, etag)
        head = s3.head_object(Bucket="b", Key="parts", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (len(body), 3)
    assert refusal(s3.get_object, Bucket="b", Key="parts", PartNumber=4) == (416, "InvalidPartNumber")
    whole = b"".join(bodies)
    over_the_edge = s3.get_object(Bucket="b", Key="parts", Range=f"bytes={5 * MIB - 5}-{5 * MIB + 4}")
    assert over_the_edge["Body"].read() == whole[5 * MIB - 5 : 5 * MIB + 5]
    # A copy is an object of one piece: its tag is an MD5, its checksum that of its bytes.
    copied = s3.copy_object(Bucket="b", Key="one", CopySource={"Bucket": "b", "Key": "parts"})[
        "CopyObjectResult"
    ]
    assert copied["ETag"] == f'"{hashlib.md5(whole).hexdigest()}"'
    got = s3.get_object(Bucket="b", Key="one", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ContentType"], got["ChecksumType"]) == (whole, "a/b", "FULL_OBJECT")
    assert "PartsCount" not in s3.head_object(Bucket="b", Key="one", PartNumber=1)


def test_a_stream_that_cannot_be_read_twice_is_put_whole(s3: Any) -> None:
    class Once(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._left = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self._left.readinto(buffer)

    body = payload("stream", 1, 3 * MIB)
    s3.upload_fileobj(io.BufferedReader(Once(body)), "b", "stream")
    received = io.BytesIO()
    s3.download_fileobj("b", "stream", received)
    assert received.getvalue() == body
    assert isinstance(s3.get_object(Bucket="b", Key="stream")["Body"], StreamingBody)


# What no client sends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "code"),
    [
        ("PUT", "/s3/b/kept", {"Content_MD5": "AAAA"}, 400, b"InvalidDigest"),
        ("PUT", "/s3/b/kept", {"Content_MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, 400, b"BadDigest"),
        ("PUT", "/s3/b/kept", {"x_amz_content_sha256": "0" * 64}, 400, b"XAmzContentSHA256Mismatch"),
        ("PUT", "/s3/b/kept", {"x_amz_meta_a": "x" * 2049}, 400, b"MetadataTooLarge"),
        ("PUT", "/s3/b/kept?versionId=1&tagging&acl", {}, 400, b"InvalidArgument"),
        ("DELETE", "/s3/b/kept?versionId=1", {}, 404, b"NoSuchVersion"),
        ("DELETE", "/s3/b/kept?legal-hold", {}, 501, b"NotImplemented"),
        ("PUT", f"/s3/b/{'x' * 1025}", {}, 400, b"KeyTooLongError"),
        ("PUT", "/s3/b/kept", {"Transfer_Encoding": "chunked"}, 411, b"MissingContentLength"),
        ("PUT", "/s3/b/kept", {"x_amz_copy_source": "/b/missing"}, 404, b"NoSuchKey"),
    ],
)
def test_what_is_wrong_changes_nothing(
    node: RunningNode, s3: Any, method: str, target: str, headers: dict[str, str], status: int, code: bytes
) -> None:
    s3.put_object(Bucket="b", Key="kept", Body=b"kept", Metadata={"a": "1"})
    before = listed(s3)
    body = b"5\r\nafter\r\n0\r\n\r\n" if "Transfer_Encoding" in headers else b"after" * 10_000
    answer = raw(node, method, target, body if method == "PUT" else None, **headers)
    assert answer[0] == status, answer
    assert b"<Code>" + code + b"</Code>" in answer[1]
    got = s3.get_object(Bucket="b", Key="kept")
    assert (got["Body"].read(), got["Metadata"]) == (b"kept", {"a": "1"})
    assert listed(s3) == before


@pytest.mark.parametrize("field", ["Content-MD5", "x-amz-checksum-sha256", "x-amz-content-sha256"])
def test_a_large_body_that_is_not_the_one_announced_leaves_no_file(
    node: RunningNode, s3: Any, field: str
) -> None:
    def files() -> set[Path]:
        return set(files_below(*(path / name for path in node.data for name in ("data", "drafts"))))

    digest = hashlib.md5 if field == "Content-MD5" else hashlib.sha256
    wrong = digest(b"other")
    value = wrong.hexdigest() if field == "x-amz-content-sha256" else b64encode(wrong.digest()).decode()
    s3.put_object(Bucket="b", Key="kept", Body=payload("kept", 1, 100_000))
    before = files()
    assert before
    status, _ = raw(node, "PUT", "/s3/b/kept", payload("kept", 2, 5 * MIB), **{field: value})
    assert status == 400
    # Others may go meanwhile: what was replaced before, and second names of what is in place.
    assert wait_until(lambda: files() <= before, timeout_s=60)
    assert s3.get_object(Bucket="b", Key="kept")["Body"].read() == payload("kept", 1, 100_000)


def test_a_write_without_a_length_is_refused(node: RunningNode) -> None:
    connection = HTTPConnection(node.host, node.port, timeout=30)
    connection.putrequest("PUT", "/s3/b/no-length")
    connection.endheaders()
    with connection.getresponse() as response:
        assert (response.status, b"MissingContentLength" in response.read()) == (411, True)
    connection.close()


# The other programs ------------------------------------------------------------------------------


def test_aws(clients: Clients, tmp_path: Path) -> None:
    body = payload("aws", 1, 300_000)
    (tmp_path / "file").write_bytes(body)
    clients.aws("s3", "cp", "file", "s3://b/aws/a b")
    clients.aws("s3", "cp", "s3://b/aws/a b", "s3://b/aws/copy")
    clients.aws("s3", "cp", "s3://b/aws/copy", "back")
    assert (tmp_path / "back").read_bytes() == body
    clients.aws("s3api", "get-object", "--bucket", "b", "--key", "aws/copy", "--range", "bytes=5-9", "part")
    assert (tmp_path / "part").read_bytes() == body[5:10]
    told = json.loads(clients.aws("s3api", "head-object", "--bucket", "b", "--key", "aws/copy").out)
    assert (told["ETag"], told["ContentLength"]) == (f'"{hashlib.md5(body).hexdigest()}"', len(body))
    clients.aws("s3", "rm", "--recursive", "s3://b/aws/")
    assert clients.aws("s3", "ls", "s3://b/aws/", check=False).out == ""


def test_s3cmd(clients: Clients, tmp_path: Path) -> None:
    body = payload("s3cmd", 1, 300_000)
    (tmp_path / "file.txt").write_bytes(body)
    clients.write_s3cfg()
    clients.s3cmd("put", "file.txt", "s3://b/s3cmd/a + b")
    clients.s3cmd("cp", "s3://b/s3cmd/a + b", "s3://b/s3cmd/copy")
    clients.s3cmd("modify", "--add-header=x-amz-meta-a:1", "s3://b/s3cmd/copy")
    clients.s3cmd("get", "s3://b/s3cmd/copy", "back")
    assert (tmp_path / "back").read_bytes() == body
    told = clients.s3cmd("info", "s3://b/s3cmd/copy").out
    assert hashlib.md5(body).hexdigest() in told
    assert "x-amz-meta-a: 1" in told
    clients.s3cmd("mv", "s3://b/s3cmd/copy", "s3://b/s3cmd/moved")
    assert clients.s3cmd("get", "s3://b/s3cmd/copy", "gone", check=False).code != 0
    clients.s3cmd("del", "--recursive", "--force", "s3://b/s3cmd/")
    assert clients.s3cmd("ls", "s3://b/s3cmd/").out == ""


def test_s5cmd(clients: Clients, tmp_path: Path) -> None:
    body = payload("s5cmd", 1, 300_000)
    (tmp_path / "file").write_bytes(body)
    clients.s5cmd("cp", "file", "s3://b/s5cmd/a b")
    clients.s5cmd("cp", "s3://b/s5cmd/a b", "s3://b/s5cmd/copy")
    clients.s5cmd("cp", "s3://b/s5cmd/copy", "back")
    assert (tmp_path / "back").read_bytes() == body
    clients.s5cmd("rm", "s3://b/s5cmd/*")
    assert clients.s5cmd("ls", "s3://b/s5cmd/*", check=False).out == ""


@pytest.mark.parametrize("program", rclones() or [""])
def test_rclone(clients: Clients, tmp_path: Path, program: str) -> None:
    if not program:
        pytest.skip("needs the program rclone")
    files = {"a b": 10, "plus+": 20_000, "sub/é": 300_000, "empty": 0}
    for name, size in files.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(payload(name, 1, size))
    clients.rclone(program, "copy", "from", "node:b/rclone")
    clients.rclone(program, "check", "from", "node:b/rclone")
    clients.rclone(program, "check", "--download", "from", "node:b/rclone")
    clients.rclone(program, "copyto", "node:b/rclone/plus+", "node:b/rclone/copy")
    clients.rclone(program, "copyto", "node:b/rclone/copy", "back")
    assert (tmp_path / "back").read_bytes() == payload("plus+", 1, 20_000)
    os.utime(tmp_path / "back", (1_000_000_000, 1_000_000_000))
    # Another time and the same bytes: rclone copies the object onto itself with other metadata.
    clients.rclone(program, "copyto", "back", "node:b/rclone/copy")
    clients.rclone(program, "delete", "node:b/rclone")
    assert clients.rclone(program, "lsf", "node:b/rclone").out == ""
