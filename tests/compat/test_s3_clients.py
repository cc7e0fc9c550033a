"""Real S3 clients, unpatched and configured as their manuals say, against a real node.

Each does what it is for: put, get, a range, list, multipart, copy, delete; and brings awkward names through
both ways. Everything is done twice: on a node that knows no credentials, and on one that checks them.
"""

import hashlib
import io
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from support.content import payload
from support.node import running_node
from support.s3 import Clients, Endpoint, rclones

MIB = 1024 * 1024
ACCESS_KEY, SECRET_KEY = "AKIDROOTROOTROOTROOT", "secret/with+special=characters0123456789"

FILES = {
    " ": 3,
    " space at both ends ": 10,
    "100%": 20_000,
    "%41": 1,
    "plus+plus": 2,
    "question?mark": 3,
    "hash#mark": 4,
    "semi;colon&and=equals": 5,
    "quote'quote\"": 6,
    "angle<brackets>": 7,
    "é": 8,
    "e\u0301": 9,
    "😀/😀": 30_000,
    "~tilde": 11,
    "a/b/c/deep": 12,
    "a/b c": 13,
    "comma,colon:at@dollar$": 14,
    "brackets[0]{1}(2)": 15,
    "star*bang!": 16,
    "x" * 200: 17,
    ".hidden": 18,
    "empty": 0,
}
"""Names, as far as a file system has them, and sizes."""


class Site(NamedTuple):
    """A node that runs, and the endpoint with the keys that it takes."""

    endpoint: Endpoint
    checks: bool


@pytest.fixture(scope="module", params=["open", "credentials"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    checks = request.param == "credentials"
    keys = {"AISLE_ROOT_ACCESS_KEY": ACCESS_KEY, "AISLE_ROOT_SECRET_KEY": SECRET_KEY} if checks else {}
    with running_node(workers=2, env=keys) as node:
        endpoint = Endpoint(node.host, node.port)
        yield Site(
            endpoint._replace(access_key=ACCESS_KEY, secret_key=SECRET_KEY) if checks else endpoint, checks
        )


@pytest.fixture
def clients(site: Site, tmp_path: Path) -> Clients:
    return Clients(site.endpoint, tmp_path)


@pytest.fixture
def bucket(clients: Clients) -> str:
    name = f"bucket-{secrets.token_hex(4)}"
    clients.boto3().create_bucket(Bucket=name)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of files with awkward names."""
    root = tmp_path / "from"
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(name, 1, size))
    return root


def write(path: Path, size: int) -> bytes:
    """A file of that size; its bytes."""
    body = payload(path.name, 1, size)
    path.write_bytes(body)
    return body


def contents(root: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def stored(client: Any, bucket: str, prefix: str = "") -> dict[str, int]:
    """Names and sizes in a bucket."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}


def check_up(clients: Clients, bucket: str, prefix: str = "", files: Mapping[str, int] = FILES) -> None:
    """The bucket holds the files of `folder`, each byte."""
    client = clients.boto3()
    assert stored(client, bucket, prefix) == {prefix + name: size for name, size in files.items()}
    for name, size in files.items():
        body = client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        assert body == payload(name, 1, size), name


# boto3


def test_boto3_moves_files_and_objects(clients: Clients, bucket: str, tmp_path: Path) -> None:
    client = clients.boto3()
    big, back = tmp_path / "big", tmp_path / "back"
    body = write(big, 20 * MIB + 7)
    client.upload_file(
        str(big), bucket, "big", ExtraArgs={"ContentType": "a/b", "Metadata": {"colour": "red"}}
    )
    head = client.head_object(Bucket=bucket, Key="big")
    assert (head["ContentLength"], head["ContentType"]) == (len(body), "a/b")
    assert head["Metadata"] == {"colour": "red"}
    assert head["ETag"].endswith('-3"')
    client.download_file(bucket, "big", str(back))
    assert back.read_bytes() == body
    client.upload_fileobj(io.BytesIO(b"small"), bucket, "small")
    assert client.get_object(Bucket=bucket, Key="small")["ETag"] == f'"{hashlib.md5(b"small").hexdigest()}"'
    span = client.get_object(Bucket=bucket, Key="big", Range=f"bytes={8 * MIB - 3}-{8 * MIB + 2}")
    assert span["Body"].read() == body[8 * MIB - 3 : 8 * MIB + 3]
    assert span["ContentRange"] == f"bytes {8 * MIB - 3}-{8 * MIB + 2}/{len(body)}"
    client.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy")  # by parts, above 8 MiB
    assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == body
    client.copy_object(Bucket=bucket, Key="small copy", CopySource={"Bucket": bucket, "Key": "small"})
    assert sorted(stored(client, bucket)) == ["big", "copy", "small", "small copy"]
    done = client.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ("big", "copy", "none")]}
    )
    assert sorted(entry["Key"] for entry in done["Deleted"]) == ["big", "copy", "none"]
    client.delete_object(Bucket=bucket, Key="small")
    assert sorted(stored(client, bucket)) == ["small copy"]
    client.delete_object(Bucket=bucket, Key="small copy")
    client.delete_bucket(Bucket=bucket)
    assert bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_boto3_checks_every_kind_of_checksum(clients: Clients, bucket: str, algorithm: str) -> None:
    client = clients.boto3()
    field = f"Checksum{algorithm}"
    body = payload("k", 1, 100_000)
    put = client.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    # The client verifies what it reads against what the node tells.
    got = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert got[field] == put[field]
    upload = client.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm=algorithm)
    which = {"Bucket": bucket, "Key": "m", "UploadId": upload["UploadId"]}
    parts = []
    for number in (1, 2):
        part = client.upload_part(**which, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
    done = client.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
    head = client.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
    assert head[field] == done[field]
    assert head["ChecksumType"] == upload["ChecksumType"]
    assert client.get_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")["Body"].read() == body * 2
    wrong = {**which, "UploadId": "none", "PartNumber": 1, "Body": body}
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.upload_part(**wrong)


def test_boto3_brings_awkward_names_through(clients: Clients, bucket: str) -> None:
    from compat.test_survival_names import NAMES

    client = clients.boto3()
    for name in NAMES:
        client.put_object(Bucket=bucket, Key=name, Body=name.encode())
    assert sorted(stored(client, bucket), key=str.encode) == sorted(NAMES, key=str.encode)
    for name in NAMES:
        assert client.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode(), name
        copied = {"Bucket": bucket, "Key": name}
        client.copy_object(Bucket=bucket, Key="copy", CopySource=copied)
        assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == name.encode(), name
    uploads = [client.create_multipart_upload(Bucket=bucket, Key=name) for name in NAMES]
    listed = client.list_multipart_uploads(Bucket=bucket, EncodingType="url")["Uploads"]
    found = {upload["UploadId"]: unquote(upload["Key"]) for upload in listed}
    assert found == {upload["UploadId"]: name for upload, name in zip(uploads, NAMES, strict=True)}
    # No document can carry these two.
    at_once = [name for name in NAMES if not {"\0", "\uffff"} & set(name)]
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in at_once]})
    assert sorted(stored(client, bucket)) == ["copy", "nul\0byte", "\uffff"]
    for name in ("nul\0byte", "\uffff"):
        client.delete_object(Bucket=bucket, Key=name)
    assert list(stored(client, bucket)) == ["copy"]


def test_boto3_lists_versions_and_empties_a_bucket_by_them(clients: Clients, bucket: str) -> None:
    client = clients.boto3()
    names = sorted([*(f"a/{number}" for number in range(4)), "b c", "é+%41", "z"], key=str.encode)
    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=name.encode())
    paginator = client.get_paginator("list_object_versions")
    found = [
        version
        for page in paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        for version in page.get("Versions", ())
    ]
    assert [version["Key"] for version in found] == names
    assert {(version["VersionId"], version["IsLatest"]) for version in found} == {("null", True)}
    plain = {entry["Key"]: entry for entry in client.list_objects_v2(Bucket=bucket)["Contents"]}
    for version in found:
        which = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
        assert client.get_object(**which)["Body"].read() == version["Key"].encode()
        assert client.head_object(**which)["ETag"] == version["ETag"] == plain[version["Key"]]["ETag"]
    folded = paginator.paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1})
    seen = [(page.get("Versions", ()), page.get("CommonPrefixes", ())) for page in folded]
    assert [[entry["Prefix"] for entry in prefixes] for _, prefixes in seen] == [["a/"], [], [], []]
    assert [[entry["Key"] for entry in some] for some, _ in seen] == [[], ["b c"], ["z"], ["é+%41"]]
    which = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in found[1:]]
    done = client.delete_objects(Bucket=bucket, Delete={"Objects": which})
    assert done["Deleted"] == which
    client.delete_object(Bucket=bucket, Key=names[0], VersionId="null")
    assert "Versions" not in client.list_object_versions(Bucket=bucket)
    client.delete_bucket(Bucket=bucket)


def test_boto3_presigns_for_whoever_has_no_keys(clients: Clients, site: Site, bucket: str) -> None:
    import requests

    client = clients.boto3()
    body = payload("k", 1, 30_000)
    where = {"Bucket": bucket, "Key": "a b/é+%41"}
    put = requests.put(client.generate_presigned_url("put_object", Params=where), data=body, timeout=20)
    assert put.status_code == 200, put.text
    url = client.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
    assert requests.get(url, timeout=20).content == body
    bare = requests.get(url.partition("?")[0], timeout=20)
    assert bare.status_code == (403 if site.checks else 200)
    if site.checks:
        assert requests.get(url.replace("Signature=", "Signature=A"), timeout=20).status_code == 403


def test_wrong_keys_are_refused_where_keys_are_checked(site: Site, bucket: str, tmp_path: Path) -> None:
    if not site.checks:
        pytest.skip("this node takes any keys")
    from botocore.exceptions import ClientError

    (tmp_path / "other").mkdir()
    for wrong in ({"secret_key": "another secret"}, {"access_key": "ANOTHERKEY"}):
        client = Clients(site.endpoint._replace(**wrong), tmp_path / "other").boto3()
        with pytest.raises(ClientError) as refused:
            client.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert stored(Clients(site.endpoint, tmp_path).boto3(), bucket) == {}


# Amazon's command line client


def test_aws_copies_lists_moves_and_removes(clients: Clients, bucket: str, tmp_path: Path) -> None:
    body = write(tmp_path / "big", 17 * MIB)
    clients.aws("s3", "cp", "big", f"s3://{bucket}/d/big", "--no-progress")
    listed = clients.aws("s3", "ls", f"s3://{bucket}/d/").lines
    assert [line.split()[2:] for line in listed] == [[str(len(body)), "big"]]
    clients.aws("s3", "cp", f"s3://{bucket}/d/big", "back", "--no-progress")
    assert (tmp_path / "back").read_bytes() == body
    clients.aws("s3", "mv", f"s3://{bucket}/d/big", f"s3://{bucket}/e/moved", "--no-progress")
    assert stored(clients.boto3(), bucket) == {"e/moved": len(body)}
    span = clients.aws(
        "s3api", "get-object", "--bucket", bucket, "--key", "e/moved", "--range", "bytes=5-9", "span"
    )
    assert span.json["ContentLength"] == 5
    assert (tmp_path / "span").read_bytes() == body[5:10]
    source = ("--copy-source", f"{bucket}/e/moved")
    copied = clients.aws("s3api", "copy-object", "--bucket", bucket, "--key", "copy", *source)
    assert "ETag" in copied.json["CopyObjectResult"]
    clients.aws("s3", "rm", f"s3://{bucket}", "--recursive")
    assert stored(clients.boto3(), bucket) == {}
    clients.aws("s3", "rb", f"s3://{bucket}")
    assert bucket not in clients.aws("s3", "ls").out


def test_aws_syncs_awkward_names_both_ways(clients: Clients, bucket: str, folder: Path) -> None:
    clients.aws("s3", "sync", str(folder), f"s3://{bucket}/p/", "--no-progress")
    check_up(clients, bucket, "p/")
    again = clients.aws("s3", "sync", str(folder), f"s3://{bucket}/p/", "--no-progress")
    assert again.out == ""
    clients.aws("s3", "sync", f"s3://{bucket}/p/", "to", "--no-progress")
    assert contents(clients.folder / "to") == contents(folder)


# s3cmd


def test_s3cmd_puts_shows_gets_and_removes(clients: Clients, bucket: str, tmp_path: Path) -> None:
    clients.write_s3cfg()
    body = write(tmp_path / "big", 12 * MIB + 5)
    clients.s3cmd("put", "big", f"s3://{bucket}/d/big", "--multipart-chunk-size-mb=5")
    assert clients.s3cmd("ls", f"s3://{bucket}/d/").out.split()[2:] == [
        str(len(body)),
        f"s3://{bucket}/d/big",
    ]
    shown = clients.s3cmd("info", f"s3://{bucket}/d/big").out
    assert f"File size: {len(body)}" in shown
    clients.s3cmd("get", f"s3://{bucket}/d/big", "back")
    assert (tmp_path / "back").read_bytes() == body
    small = write(tmp_path / "small", 5_000)
    clients.s3cmd("put", "small", f"s3://{bucket}")
    assert f"MD5 sum:   {hashlib.md5(small).hexdigest()}" in clients.s3cmd("info", f"s3://{bucket}/small").out
    clients.s3cmd("cp", f"s3://{bucket}/small", f"s3://{bucket}/copy")
    clients.s3cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    assert stored(clients.boto3(), bucket) == {"d/big": len(body), "small": 5_000, "moved": 5_000}
    clients.s3cmd("info", f"s3://{bucket}")
    clients.s3cmd("rm", f"s3://{bucket}/small", f"s3://{bucket}/moved")
    clients.s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert stored(clients.boto3(), bucket) == {}
    clients.s3cmd("rb", f"s3://{bucket}")
    clients.s3cmd("mb", f"s3://{bucket}-2")
    assert f"s3://{bucket}-2" in clients.s3cmd("ls").out


def test_s3cmd_shows_and_aborts_uploads(clients: Clients, bucket: str) -> None:
    clients.write_s3cfg()
    client = clients.boto3()
    upload = client.create_multipart_upload(Bucket=bucket, Key="half")["UploadId"]
    client.upload_part(Bucket=bucket, Key="half", UploadId=upload, PartNumber=2, Body=b"x" * 100)
    shown = clients.s3cmd("multipart", f"s3://{bucket}").lines
    assert [line.split("\t")[1:] for line in shown if upload in line] == [[f"s3://{bucket}/half", upload]]
    parts = clients.s3cmd("listmp", f"s3://{bucket}/half", upload).lines
    assert any(line.split("\t")[1:3] == ["2", f'"{hashlib.md5(b"x" * 100).hexdigest()}"'] for line in parts)
    clients.s3cmd("abortmp", f"s3://{bucket}/half", upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_s3cmd_syncs_awkward_names_both_ways(clients: Clients, bucket: str, folder: Path) -> None:
    clients.write_s3cfg()
    clients.s3cmd("sync", f"{folder}/", f"s3://{bucket}/p/")
    check_up(clients, bucket, "p/")
    (clients.folder / "to").mkdir()
    clients.s3cmd("sync", f"s3://{bucket}/p/", "to/")
    assert contents(clients.folder / "to") == contents(folder)


# rclone


@pytest.mark.parametrize(
    "program", rclones() or [pytest.param("", marks=pytest.mark.skip(reason="needs rclone"))]
)
def test_rclone_copies_checks_and_syncs(clients: Clients, bucket: str, folder: Path, program: str) -> None:
    remote = f"node:{bucket}"
    # rclone takes names that differ only in how Unicode composes them for one.
    (folder / "e\u0301").unlink()
    files = {name: size for name, size in FILES.items() if name != "e\u0301"}
    clients.rclone(program, "copy", str(folder), f"{remote}/p")
    check_up(clients, bucket, "p/", files)
    clients.rclone(program, "check", str(folder), f"{remote}/p")
    clients.rclone(program, "check", "--download", str(folder), f"{remote}/p")
    clients.rclone(program, "copy", f"{remote}/p", "to")
    assert contents(clients.folder / "to") == contents(folder)
    (folder / "empty").unlink()
    (folder / "100%").write_bytes(b"changed")
    clients.rclone(program, "sync", str(folder), f"{remote}/p")
    clients.rclone(program, "check", str(folder), f"{remote}/p")
    names = clients.rclone(program, "lsf", "-R", "--files-only", f"{remote}/p").lines
    assert sorted(names) == sorted(files.keys() - {"empty"})
    # Above its limit for single requests, in parts.
    body = write(clients.folder / "big", 12 * MIB)
    clients.rclone(
        program, "copyto", "--s3-upload-cutoff", "6Mi", "--s3-chunk-size", "5Mi", "big", f"{remote}/big"
    )
    span = clients.rclone(program, "cat", "--offset", "1000", "--count", "20", f"{remote}/big").out
    assert span.encode("utf-8", "replace")  # what it shows of binary data is not compared, only that it came
    clients.rclone(program, "copyto", f"{remote}/big", f"{remote}/copied")
    clients.rclone(program, "moveto", f"{remote}/copied", f"{remote}/moved")
    clients.rclone(program, "copyto", f"{remote}/moved", "back")
    assert (clients.folder / "back").read_bytes() == body
    clients.rclone(program, "delete", f"{remote}/p")
    clients.rclone(program, "delete", remote)
    clients.rclone(program, "rmdir", remote)
    assert f"{bucket}/" not in clients.rclone(program, "lsf", "node:").lines


@pytest.mark.parametrize(
    "program", rclones() or [pytest.param("", marks=pytest.mark.skip(reason="needs rclone"))]
)
def test_rclone_says_anything_about_files_of_any_size(clients: Clients, bucket: str, program: str) -> None:
    title = "voilà, à  la Å"
    for name, size in (("small", 10), ("big", 6 * MIB)):
        write(clients.folder / name, size)
        said = ["--metadata", "--metadata-set", f"title={title}", "--s3-upload-cutoff", "5Mi"]
        clients.rclone(program, "copyto", *said, name, f"node:{bucket}/{name}")
        shown = clients.rclone(program, "lsjson", "--metadata", f"node:{bucket}/{name}").json
        assert shown[0]["Metadata"]["title"] == title


@pytest.mark.parametrize(
    "program", rclones() or [pytest.param("", marks=pytest.mark.skip(reason="needs rclone"))]
)
def test_rclone_purges(clients: Clients, bucket: str, program: str) -> None:
    client = clients.boto3()
    for name in ("a b", "d/e/f", "é+%41"):
        client.put_object(Bucket=bucket, Key=name, Body=b"x")
    seen = clients.rclone(program, "lsf", "-R", "--files-only", "--s3-versions", f"node:{bucket}").lines
    assert len(seen) == 3
    clients.rclone(program, "purge", f"node:{bucket}/d")
    assert sorted(stored(client, bucket)) == ["a b", "é+%41"]
    clients.rclone(program, "purge", f"node:{bucket}")
    assert bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]


# s5cmd


def test_s5cmd_copies_syncs_lists_and_removes(clients: Clients, bucket: str, tmp_path: Path) -> None:
    body = write(tmp_path / "big", 12 * MIB)
    clients.s5cmd("cp", "--part-size", "5", "big", f"s3://{bucket}/d/big")
    clients.s5cmd("cp", f"s3://{bucket}/d/big", "back")
    assert (tmp_path / "back").read_bytes() == body
    assert clients.s5cmd("ls", f"s3://{bucket}/d/").out.split()[2:] == [str(len(body)), "big"]
    clients.s5cmd("cp", f"s3://{bucket}/d/big", f"s3://{bucket}/copy")
    clients.s5cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    assert clients.s5cmd("du", f"s3://{bucket}/*").out.startswith(f"{2 * len(body)} bytes in 2 objects")
    assert stored(clients.boto3(), bucket) == {"d/big": len(body), "moved": len(body)}
    clients.s5cmd("rm", f"s3://{bucket}/*")
    assert stored(clients.boto3(), bucket) == {}
    clients.s5cmd("rb", f"s3://{bucket}")
    clients.s5cmd("mb", f"s3://{bucket}-2")
    assert f"s3://{bucket}-2" in clients.s5cmd("ls").out


def test_s5cmd_syncs_awkward_names_both_ways(clients: Clients, bucket: str, folder: Path) -> None:
    clients.s5cmd("sync", f"{folder}/", f"s3://{bucket}/p/")
    check_up(clients, bucket, "p/")
    clients.s5cmd("sync", f"s3://{bucket}/p/*", "to/")
    assert contents(clients.folder / "to") == contents(folder)


def test_the_root_serves_s3_too(clients: Clients, bucket: str) -> None:
    import boto3

    session = boto3.session.Session(clients.endpoint.access_key, clients.endpoint.secret_key)
    client = session.client("s3", endpoint_url=f"http://{clients.endpoint.address}", region_name="eu-west-3")
    client.put_object(Bucket=bucket, Key="a//b", Body=b"x")
    assert stored(clients.boto3(), bucket) == {"a//b": 1}
    assert bucket in [found["Name"] for found in client.list_buckets()["Buckets"]]
