"""Real S3 clients that write into a remote bucket: through a node, to moto as its source."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.content import payload
from support.moto import running_moto
from support.node import running_node
from support.s3 import Clients, Endpoint, rclones

MIB = 1024 * 1024
ACCOUNT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
NAMES = {"plain": 3, "a b/100% é": 20_000, "plus+plus//two": 1}


class Source(NamedTuple):
    """The service behind the node, asked directly."""

    client: Any

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket="data", Key=key)["Body"].read()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture(scope="module")
def source(moto: str) -> Source:
    import boto3

    session = boto3.session.Session("x", "y", region_name="us-east-1")
    client = session.client("s3", endpoint_url=moto)
    client.create_bucket(Bucket="data")
    return Source(client)


@pytest.fixture(scope="module")
def endpoint(moto: str, source: Source) -> Iterator[Endpoint]:
    with running_node(workers=2, env={"AWS_ENDPOINT_URL": moto, **ACCOUNT}) as node:
        yield Endpoint(node.host, node.port)


@pytest.fixture
def clients(endpoint: Endpoint, tmp_path: Path) -> Clients:
    return Clients(endpoint, tmp_path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large"
    path.write_bytes(os.urandom(20 * MIB))
    return path


def small(tmp_path: Path) -> Path:
    """A folder with some files."""
    root = tmp_path / "from"
    for name, size in NAMES.items():
        path = root / name.replace("//", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload(name, 1, size))
    return root


def test_aws_copies_a_large_file_and_objects(clients: Clients, source: Source, large: Path) -> None:
    clients.aws("s3", "cp", "--quiet", str(large), "s3://data/aws/large")
    assert source.read("aws/large") == large.read_bytes()
    clients.aws("s3", "cp", "--quiet", "s3://data/aws/large", "s3://data/aws/copy")  # by parts
    assert source.read("aws/copy") == large.read_bytes()


def test_boto3_writes_with_its_usual_settings(clients: Clients, source: Source, large: Path) -> None:
    client = clients.boto3()
    told = {"ContentType": "a/b", "Metadata": {"colour": "red"}}
    client.upload_file(str(large), "data", "boto3/large", ExtraArgs=told)
    assert source.read("boto3/large") == large.read_bytes()
    there = source.client.head_object(Bucket="data", Key="boto3/large")
    here = client.head_object(Bucket="data", Key="boto3/large")
    for field in ("ETag", "ContentType", "Metadata", "ContentLength"):
        assert here[field] == there[field], field
    described = {"ContentEncoding": "gzip", "CacheControl": "max-age=60", "ContentLanguage": "de"}
    body = gzip.compress(b"x" * 100_000)
    client.put_object(Bucket="data", Key="boto3/packed", Body=body, **described)
    source.client.put_object(Bucket="data", Key="boto3/cold", Body=body, **described)
    for key in ("boto3/packed", "boto3/cold"):
        for asked in (source.client, client, client):
            found = asked.get_object(Bucket="data", Key=key)
            assert {name: found[name] for name in described} == described, key
            assert found["Body"].read() == body
    # In an own bucket, and from there into the remote one.
    client.create_bucket(Bucket="boto3-own")
    client.copy({"Bucket": "data", "Key": "boto3/large"}, "boto3-own", "copy")
    client.copy({"Bucket": "boto3-own", "Key": "copy"}, "data", "boto3/é copy%41")
    assert source.read("boto3/é copy%41") == large.read_bytes()
    client.copy_object(Bucket="data", Key="boto3/one", CopySource="boto3-own/copy")
    assert source.read("boto3/one") == large.read_bytes()


def test_s3cmd_puts_and_copies(clients: Clients, source: Source, large: Path) -> None:
    clients.s3cmd("put", str(large), "s3://data/s3cmd/large")
    assert source.read("s3cmd/large") == large.read_bytes()
    clients.s3cmd("cp", "s3://data/s3cmd/large", "s3://data/s3cmd/copy")
    assert source.read("s3cmd/copy") == large.read_bytes()


def test_s5cmd_copies(clients: Clients, source: Source, large: Path) -> None:
    clients.s5cmd("cp", str(large), "s3://data/s5cmd/large")
    assert source.read("s5cmd/large") == large.read_bytes()
    clients.s5cmd("cp", "s3://data/s5cmd/large", "s3://data/s5cmd/copy")
    assert source.read("s5cmd/copy") == large.read_bytes()


@pytest.mark.parametrize("program", rclones() or [pytest.param("", marks=pytest.mark.skip("no rclone"))])
def test_rclone_copies_and_finds_nothing_to_do_again(
    clients: Clients, source: Source, tmp_path: Path, large: Path, program: str
) -> None:
    root = small(tmp_path)
    (root / "large").symlink_to(large)
    clients.rclone(program, "copy", "--copy-links", str(root), "node:data/rclone")
    assert source.read("rclone/large") == large.read_bytes()
    for name, size in NAMES.items():
        assert source.read(f"rclone/{name.replace('//', '/')}") == payload(name, 1, size)
    clients.rclone(program, "check", "--copy-links", str(root), "node:data/rclone")
    again = clients.rclone(program, "copy", "--copy-links", "-v", str(root), "node:data/rclone")
    assert "Copied" not in again.error, str(again)
    clients.rclone(program, "copyto", "node:data/rclone/large", "node:data/rclone/copy")
    assert source.read("rclone/copy") == large.read_bytes()
