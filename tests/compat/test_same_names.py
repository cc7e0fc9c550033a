"""One bucket name under four providers: this cluster, an S3 account, a web server, another cluster.

The S3 account and the other cluster are one node, so that they have the same objects.
"""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
import requests
from aistore.sdk import Client
from aistore.sdk.namespace import Namespace
from botocore.exceptions import ClientError

from support.ais import ais
from support.node import RunningNode, running_node

WAIT_S = 60.0
WHERE = {"ais": "own", "aws": "elsewhere", "ht": "web"}
"""What the object `who` says in the bucket of a provider."""


class Site(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("site")
    (root / "who").write_text(WHERE["ht"])
    (root / "web").write_text("x")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(root)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RunningNode]:
    with running_node() as node:
        s3(node).create_bucket(Bucket="shared")
        s3(node).put_object(Bucket="shared", Key="who", Body=WHERE["aws"].encode())
        s3(node).create_bucket(Bucket="lazy")
        s3(node).put_object(Bucket="lazy", Key="who", Body=b"lazy")
        yield node


@pytest.fixture(scope="module")
def node(site: str, elsewhere: RunningNode) -> Iterator[RunningNode]:
    account = {
        "AWS_ENDPOINT_URL": f"{elsewhere.url}/s3",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }
    with running_node(env=account) as running:
        s3(running).create_bucket(Bucket="shared")
        s3(running).put_object(Bucket="shared", Key="who", Body=WHERE["ais"].encode())
        assert ais(running.url, "create", "ht://shared", "--url", site).code == 0
        assert ais(running.url, "cluster", "remote-attach", f"other={elsewhere.url}").code == 0
        for bucket in ("s3://shared", "ais://@other/shared"):
            assert ais(running.url, "cat", f"{bucket}/who").text == WHERE["aws"]
        yield running


def s3(node: RunningNode) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"{node.url}/s3",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
    )


def read(client: Any, bucket: str) -> str:
    body: bytes = client.get_object(Bucket=bucket, Key="who")["Body"].read()
    return body.decode()


def names(client: Any) -> set[str]:
    return {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}


def test_the_command_tells_them_apart(node: RunningNode) -> None:
    for bucket, said in (
        ("ais://shared", WHERE["ais"]),
        ("s3://shared", WHERE["aws"]),
        ("ht://shared", WHERE["ht"]),
        ("ais://@other/shared", WHERE["aws"]),
    ):
        assert ais(node.url, "cat", f"{bucket}/who").text == said
    assert ais(node.url, "ls", "ht://shared", "-H").text.split()[::2] == ["web", "who"]
    assert ais(node.url, "put", "-", "s3://shared/new", stdin=b"new").code == 0
    assert ais(node.url, "ls", "ais://shared", "-H").text.split()[::2] == ["who"]
    assert ais(node.url, "ls", "ais://@other/shared", "-H").text.split()[::2] == ["new", "who"]
    assert ais(node.url, "rm", "s3://shared/new").code == 0


def test_aistores_sdk_tells_them_apart(node: RunningNode, elsewhere: RunningNode) -> None:
    client = Client(node.url, timeout=(3, 60))
    other = Namespace(uuid=ais(elsewhere.url, "show", "cluster", "--json").json["cluster"]["id"])
    for bucket, said in (
        (client.bucket("shared"), WHERE["ais"]),
        (client.bucket("shared", provider="aws"), WHERE["aws"]),
        (client.bucket("shared", namespace=other), WHERE["aws"]),
    ):
        assert bucket.object("who").get_reader().read_all().decode() == said
        assert [entry.name for entry in bucket.list_all_objects()] == ["who"]


def test_s3_has_a_name_for_each(node: RunningNode) -> None:
    client = s3(node)
    assert names(client) >= {"shared", "shared--aws", "shared--ht"}
    for bucket, said in (
        ("shared", WHERE["ais"]),
        ("shared--ais", WHERE["ais"]),
        ("shared--aws", WHERE["aws"]),
        ("shared--ht", WHERE["ht"]),
    ):
        assert read(client, bucket) == said
        assert "who" in [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
    client.put_object(Bucket="shared--aws", Key="written", Body=b"there")
    assert ais(node.url, "ls", "ais://@other/shared", "-H").text.split()[::2] == ["who", "written"]
    client.delete_object(Bucket="shared--aws", Key="written")
    with pytest.raises(ClientError, match="InvalidBucketName"):
        client.create_bucket(Bucket="another--aws")


def test_what_nobody_has_used_is_found_and_what_is_not_there_is_remembered(
    node: RunningNode, elsewhere: RunningNode
) -> None:
    client = s3(node)
    assert "lazy" not in names(client)
    assert read(client, "lazy") == "lazy"
    assert "lazy" in names(client)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.list_objects_v2(Bucket="later")
    s3(elsewhere).create_bucket(Bucket="later")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.list_objects_v2(Bucket="later")
    # Who names the provider is not told what was remembered.
    assert requests.head(f"{node.url}/v1/buckets/later?provider=aws", timeout=WAIT_S).status_code == 200
    assert client.list_objects_v2(Bucket="later")["KeyCount"] == 0


def test_the_order_can_be_another_one(node: RunningNode) -> None:
    node.args += ["--set", "s3.order=ht,aws"]
    node.restart()
    client = s3(node)
    assert names(client) >= {"shared", "shared--aws", "shared--ais"}
    assert "shared--ht" not in names(client)
    for bucket, said in (("shared", WHERE["ht"]), *((f"shared--{name}", WHERE[name]) for name in WHERE)):
        assert read(client, bucket) == said
    told = ais(node.url, "cat", "ais://shared/who")
    assert told.text == WHERE["ais"]
