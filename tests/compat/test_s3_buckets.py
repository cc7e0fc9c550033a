"""Buckets and listings with real clients, unpatched: what they print and what they find afterwards."""

import http.client
import re
import shlex
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from support.native import NativeClient
from support.node import RunningNode, running_node
from support.s3 import Clients, Endpoint, program, rclones

PAGE = (Path(__file__).parents[2] / "docs" / "s3.md").read_text("utf-8")
NAMES = [
    "a//b",
    "dir/",
    "/lead",
    "per%cent",
    "plus+sign",
    "sp ace",
    "ü/é",
    "quote\"'",
    "amp&<tag>",
    "tilde~*",
]
NESTED = [f"shard-{shard}/sample-{sample}" for shard in range(3) for sample in range(3)]


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


@pytest.fixture
def clients(node: RunningNode, tmp_path: Path) -> Iterator[Clients]:
    """Clients of a node that has the buckets `full` and no others when the test is over."""
    native = NativeClient(node.host, node.port)
    made = Clients(Endpoint(node.host, node.port), tmp_path)
    yield made
    for bucket in made.boto3().list_buckets()["Buckets"]:
        assert native.destroy_bucket(bucket["Name"]).status == 200


@pytest.fixture
def full(clients: Clients, node: RunningNode) -> str:
    """A bucket that holds awkward and nested names, written natively."""
    native = NativeClient(node.host, node.port)
    assert native.create_bucket("full").status == 200
    for name in (*NAMES, *NESTED):
        assert native.put("full", name.encode(), name.encode()).status == 200
    return "full"


def code_of(failure: Any) -> tuple[int, str]:
    answer = failure.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_boto3_creates_heads_lists_and_deletes_buckets(clients: Clients) -> None:
    from botocore.exceptions import ClientError

    s3 = clients.boto3()
    assert s3.create_bucket(Bucket="photos")["Location"] == "/photos"
    eu = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="plans", CreateBucketConfiguration=eu)
    assert s3.head_bucket(Bucket="photos")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="photos")["LocationConstraint"] is None
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["photos", "plans"]
    pages = s3.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 1})
    assert [[bucket["Name"] for bucket in page["Buckets"]] for page in pages] == [["photos"], ["plans"]]
    with pytest.raises(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="photos")
    s3.delete_bucket(Bucket="plans")
    with pytest.raises(ClientError) as failure:
        s3.head_bucket(Bucket="plans")
    assert code_of(failure) == (404, "404")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="plans")


def test_boto3_is_told_of_buckets_that_hold_something(clients: Clients, full: str) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as failure:
        clients.boto3().delete_bucket(Bucket=full)
    assert code_of(failure) == (409, "BucketNotEmpty")


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_boto3_pages_through_every_name(clients: Clients, full: str, operation: str, size: int) -> None:
    pages = list(
        clients.boto3().get_paginator(operation).paginate(Bucket=full, PaginationConfig={"PageSize": size})
    )
    found = [entry for page in pages for entry in page["Contents"]]
    assert [entry["Key"] for entry in found] == sorted((*NAMES, *NESTED), key=str.encode)
    assert [entry["Size"] for entry in found] == [len(entry["Key"].encode()) for entry in found]
    assert len(pages) == -(-len(found) // size)


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_boto3_pages_through_prefixes(clients: Clients, full: str, operation: str) -> None:
    pages = (
        clients.boto3()
        .get_paginator(operation)
        .paginate(Bucket=full, Delimiter="/", Prefix="shard-", PaginationConfig={"PageSize": 1})
    )
    assert [each["Prefix"] for page in pages for each in page["CommonPrefixes"]] == [
        "shard-0/",
        "shard-1/",
        "shard-2/",
    ]


def test_boto3_reads_and_sets_what_a_bucket_has(clients: Clients, full: str) -> None:
    from botocore.exceptions import ClientError

    s3 = clients.boto3()
    assert s3.get_bucket_versioning(Bucket=full)["Status"] == "Enabled"
    s3.put_bucket_versioning(Bucket=full, VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=full)["Status"] == "Suspended"
    s3.put_bucket_acl(Bucket=full, ACL="public-read")
    grants = s3.get_bucket_acl(Bucket=full)["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL", "READ"]
    assert s3.get_bucket_request_payment(Bucket=full)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=full)
    for ask, code in (
        (s3.get_bucket_policy, "NoSuchBucketPolicy"),
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"),
        (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
        (s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration"),
    ):
        with pytest.raises(ClientError) as failure:
            ask(Bucket=full)
        assert code_of(failure) == (404, code)
    with pytest.raises(ClientError) as failure:
        s3.delete_bucket_policy(Bucket=full)
    assert code_of(failure) == (501, "NotImplemented")
    assert s3.head_bucket(Bucket=full)


@pytest.mark.parametrize("is_signed", [True, False])
def test_boto3_may_leave_out_the_first_element(clients: Clients, is_signed: bool) -> None:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{clients.endpoint.address}",
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config() if is_signed else Config(signature_version=UNSIGNED),
    )
    s3.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["photos"]
    for name in NAMES:
        s3.put_object(Bucket="photos", Key=name, Body=name.encode())
    listed = s3.list_objects_v2(Bucket="photos")["Contents"]
    assert [entry["Key"] for entry in listed] == sorted(NAMES, key=str.encode)
    for entry in listed:
        read = s3.get_object(Bucket="photos", Key=entry["Key"])
        assert (read["Body"].read().decode(), read["ETag"]) == (entry["Key"], entry["ETag"])
        s3.delete_object(Bucket="photos", Key=entry["Key"])
    s3.delete_bucket(Bucket="photos")


def test_aws_makes_lists_and_removes_buckets(clients: Clients, full: str) -> None:
    assert clients.aws("s3", "mb", "s3://photos").out == "make_bucket: photos\n"
    assert [line.split()[-1] for line in clients.aws("s3", "ls").lines] == ["full", "photos"]
    assert clients.aws("s3", "rb", "s3://photos").out == "remove_bucket: photos\n"
    refused = clients.aws("s3", "rb", f"s3://{full}", check=False)
    assert refused.code == 1
    assert "BucketNotEmpty" in refused.error
    shown = [line.split()[-1] for line in clients.aws("s3", "ls", f"s3://{full}/").lines if " PRE " in line]
    assert {"shard-0/", "a/", "dir/", "ü/"} <= set(shown)
    listed = clients.aws("s3api", "list-objects-v2", "--bucket", full, "--page-size", "4").json
    assert len(listed["Contents"]) == len(NAMES) + len(NESTED)


def test_s3cmd_makes_describes_and_removes_buckets(clients: Clients, full: str) -> None:
    assert clients.s3cmd("mb", "s3://photos").out == "Bucket 's3://photos/' created\n"
    assert [line.split()[-1] for line in clients.s3cmd("ls").lines] == ["s3://full", "s3://photos"]
    told = dict(line.strip().partition(":")[::2] for line in clients.s3cmd("info", "s3://photos").lines[1:])
    told = {name: value.strip() for name, value in told.items()}
    assert told["Location"] == "us-east-1"
    assert told["Policy"] == told["CORS"] == "none"
    assert clients.s3cmd("rb", "s3://photos").out == "Bucket 's3://photos/' removed\n"
    listed = clients.s3cmd("ls", "--recursive", f"s3://{full}").lines
    assert sorted(line.partition("s3://full/")[2] for line in listed) == sorted((*NAMES, *NESTED))


def test_s3cmd_changes_who_may_read_a_bucket(clients: Clients, full: str) -> None:
    clients.s3cmd("setacl", "--acl-public", f"s3://{full}")
    assert "*anon*: READ" in clients.s3cmd("info", f"s3://{full}").out
    clients.s3cmd("setacl", "--acl-private", f"s3://{full}")
    assert "*anon*" not in clients.s3cmd("info", f"s3://{full}").out


def test_s5cmd_makes_lists_and_removes_buckets(clients: Clients, full: str) -> None:
    clients.s5cmd("mb", "s3://photos")
    assert [line.split()[-1] for line in clients.s5cmd("ls").lines] == ["s3://full", "s3://photos"]
    clients.s5cmd("rb", "s3://photos")
    shards = clients.s5cmd("ls", f"s3://{full}/shard-*").lines
    assert [line.split()[-1] for line in shards] == NESTED


@pytest.mark.parametrize("path", rclones() or [""])
def test_rclone_makes_lists_and_removes_buckets(clients: Clients, full: str, path: str) -> None:
    if not path:
        pytest.skip("needs the program rclone")
    clients.rclone(path, "mkdir", "node:photos")
    assert [line.split()[-1] for line in clients.rclone(path, "lsd", "node:").lines] == ["full", "photos"]
    clients.rclone(path, "rmdir", "node:photos")
    assert [line.split()[-1] for line in clients.rclone(path, "lsd", "node:").lines] == ["full"]
    listed = clients.rclone(path, "lsf", "--recursive", "--files-only", f"node:{full}/shard-1").lines
    assert sorted(listed) == ["sample-0", "sample-1", "sample-2"]


def test_a_bucket_goes_empty_or_keeps_every_object_that_was_acknowledged(
    clients: Clients, node: RunningNode
) -> None:
    def status(method: str, path: str, body: bytes = b"") -> int:
        connection = http.client.HTTPConnection(node.host, node.port, timeout=30)
        try:
            connection.request(method, f"/s3/{path}", body=body)
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as threads:
        for number in range(12):
            bucket = f"race{number}"
            assert status("PUT", bucket) == 200
            puts = [
                threads.submit(status, "PUT", f"{bucket}/k{writer}", b"x" * 20_000) for writer in range(4)
            ]
            deleted = status("DELETE", bucket)
            written = [put.result() for put in puts]
            assert set(written) <= {200, 404}
            if deleted == 204:
                assert set(written) == {404}
                assert status("HEAD", bucket) == 404
            else:
                assert deleted == 409
                for writer, put in enumerate(written):
                    assert status("HEAD", f"{bucket}/k{writer}") == put
                assert status("PUT", f"{bucket}/after", b"y") == 200


def test_boto3_names_buckets_by_host(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **more: Any) -> Any:
        return looked_up("127.0.0.1" if host.endswith("s3.example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with running_node(args=["--set", "s3.domains=s3.example"]) as node:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://s3.example:{node.port}",
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(s3={"addressing_style": "virtual"}),
        )
        for bucket in ("photos", "with.dots"):
            s3.create_bucket(Bucket=bucket)
            s3.put_object(Bucket=bucket, Key="ü/a b", Body=b"x")
            assert s3.get_object(Bucket=bucket, Key="ü/a b")["Body"].read() == b"x"
            assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["ü/a b"]
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["photos", "with.dots"]


def test_the_examples_of_the_manual_work(clients: Clients) -> None:
    (clients.folder / "photo.jpg").write_bytes(b"\xff\xd8" * 1000)
    found = re.search(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found
    lines = found[1].replace("127.0.0.1:8080", clients.endpoint.address).splitlines()
    assert len(lines) == 4
    for line in lines:
        name, *arguments = shlex.split(line.removeprefix("$ "))
        if name == "s5cmd":
            (clients.folder / "photo.jpg").unlink()
        ended = clients.run([program(name), *arguments])
    assert (clients.folder / "photo.jpg").read_bytes() == b"\xff\xd8" * 1000
    assert ended.lines[-1].split()[-1] == "data"
    clients.aws("s3", "rm", "s3://data/photo.jpg")
