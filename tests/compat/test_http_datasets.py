"""Folders of web servers as buckets: a real node, a real nginx, the real `ais`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import requests

from aisle.rules.http_datasets import bucket_name
from support.ais import ais
from support.nginx import RunningNginx, running_nginx
from support.node import RunningNode, running_node
from support.processes import wait_until

pytestmark = pytest.mark.program("nginx")

LARGE = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def site() -> Iterator[RunningNginx]:
    """A dataset in `/data`, whose requests are logged."""
    # Not in pytest's own folder: each run that begins takes it away from nginx' user for a moment.
    with tempfile.TemporaryDirectory(prefix="aisle-site-") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "data" / "train").mkdir(parents=True)
        (root / "data" / "large.tar").write_bytes(LARGE)
        for number in range(3):
            (root / "data" / "train" / f"{number}.txt").write_text(f"sample {number}")
        (root / "log").touch()
        (root / "log").chmod(0o666)
        extra = f"location / {{ autoindex on; }} access_log {root}/log combined;"
        with running_nginx(root, extra=extra) as nginx:
            yield nginx


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as node:
        yield node


@pytest.fixture(scope="module")
def bucket(node: RunningNode, site: RunningNginx) -> str:
    """The dataset as a bucket."""
    created = ais(node.url, "create", "ht://dataset", "--url", f"{site.url}/data")
    assert created.text == '"ht://dataset" created\n', created.stderr
    return "ht://dataset"


def downloads_of(site: RunningNginx, path: str) -> int:
    return (site.root / "log").read_text().count(f'"GET {path} ')


def derived_name(site: RunningNginx, folder: str) -> str:
    """The name that a folder's bucket gets."""
    return bucket_name(f"{site.url}/{folder}/")


def test_a_dataset_is_listed_and_read_and_kept(node: RunningNode, site: RunningNginx, bucket: str) -> None:
    assert [line.split() for line in ais(node.url, "ls", bucket, "-H").lines] == [
        ["large.tar", "2.86MiB"],
        ["train/0.txt", "8B"],
        ["train/1.txt", "8B"],
        ["train/2.txt", "8B"],
    ]
    assert ais(node.url, "get", f"{bucket}/large.tar", "-").stdout == LARGE

    def is_kept() -> bool:
        return ais(node.url, "ls", bucket, "--cached", "-H").text.startswith("large.tar")

    assert wait_until(is_kept, timeout_s=30)
    # The server notes a request after its last byte.
    assert wait_until(lambda: downloads_of(site, "/data/large.tar") == 1, timeout_s=30)
    assert ais(node.url, "get", f"{bucket}/large.tar", "-").stdout == LARGE
    assert downloads_of(site, "/data/large.tar") == 1
    answer = requests.head(f"{node.url}/v1/objects/dataset/large.tar?provider=ht", timeout=30)
    assert answer.headers["Content-Length"] == "3000000"
    told = requests.head(f"{site.url}/data/large.tar", timeout=30).headers
    assert told["ETag"].strip('"') in answer.headers["Ais-Custom-Md"]


def test_a_range_of_what_is_not_here_is_read(node: RunningNode, bucket: str) -> None:
    url = f"{node.url}/v1/objects/dataset/train/1.txt?provider=ht"
    answer = requests.get(url, headers={"Range": "bytes=2-5"}, timeout=30)
    assert (answer.status_code, answer.content) == (206, b"mple")


def test_s3_clients_read_the_dataset(node: RunningNode, bucket: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"{node.url}/s3",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
    )
    listed = client.list_objects_v2(Bucket="dataset", Prefix="train/")
    assert [entry["Key"] for entry in listed["Contents"]] == [f"train/{number}.txt" for number in range(3)]
    assert client.get_object(Bucket="dataset", Key="train/2.txt")["Body"].read() == b"sample 2"


def test_other_verbs_say_that_it_is_read_only(node: RunningNode, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for command in (("put", str(tmp_path / "x"), f"{bucket}/x"), ("rm", f"{bucket}/train/0.txt")):
        run = ais(node.url, *command)
        assert run.code == 1
        assert "read-only" in run.stderr
    url = f"{node.url}/v1/objects/dataset/x?provider=ht"
    assert requests.put(url, data=b"x", timeout=30).status_code in (405, 501)
    assert ais(node.url, "rmb", bucket, "-y").code == 1
    assert ais(node.url, "get", f"{bucket}/train/0.txt", "-").text == "sample 0"


def test_a_bucket_is_named_after_its_dataset(node: RunningNode, site: RunningNginx) -> None:
    created = ais(node.url, "create", "--url", f"{site.url}/data/train/", "--json").json["created"]
    assert len(created) == 1
    assert created[0].startswith(f"ht://http_127-0-0-1-{site.port}_data_train_")
    assert ais(node.url, "get", f"{created[0]}/1.txt", "-").text == "sample 1"


def test_a_manifest_is_a_property(node: RunningNode, site: RunningNginx, bucket: str) -> None:
    (site.root / "data" / "some.txt").write_text("train/0.txt\n")
    manifest = ["--props", "extra.http.manifest=some.txt"]
    created = ais(node.url, "create", "ht://some", "--url", f"{site.url}/data/", *manifest)
    assert created.code == 0, created.stderr
    assert [line.split() for line in ais(node.url, "ls", "ht://some", "-H").lines] == [["train/0.txt", "8B"]]
    (site.root / "data" / "some.txt").unlink()


def test_what_cannot_be_a_dataset_is_told(node: RunningNode, site: RunningNginx) -> None:
    for arguments, told in (
        (["ht://x", "--url", f"{site.url}/nothing/"], "there is no such folder"),
        (["ht://x", "--url", "ftp://a/b/"], "ftp"),
        (["ht://x"], "--url"),
        (["ais://x", "--url", f"{site.url}/data/"], "ht://NAME"),
        ([], "Missing argument"),
    ):
        run = ais(node.url, "create", *arguments)
        assert run.code != 0
        assert told in run.stderr
    assert "ais create ht://nowhere --url" in ais(node.url, "ls", "ht://nowhere").stderr


def test_addresses_stand_for_their_buckets(
    node: RunningNode, site: RunningNginx, bucket: str, tmp_path: Path
) -> None:
    (site.root / "new" / "deep").mkdir(parents=True)
    (site.root / "new" / "deep" / "a b.txt").write_text("new")
    listed = ais(node.url, "ls", f"{site.url}/new", "-H")
    assert [line.split(maxsplit=1)[0] for line in listed.lines] == ["deep/a"], listed.stderr
    assert listed.stderr.startswith(f'"ht://http_127-0-0-1-{site.port}_new_')
    # The bucket is there now, and holds all that is below its folder.
    read = ais(node.url, "get", f"{site.url}/new/deep/a%20b.txt", cwd=tmp_path)
    assert (read.code, (tmp_path / "a b.txt").read_text()) == (0, "new")
    assert "created" not in read.stderr
    below = ais(node.url, "ls", f"{site.url}/new/deep/", "-H")
    assert [line.split()[0] for line in below.lines] == ["deep/a"]
    assert ais(node.url, "get", f"{site.url}/data/train/1.txt", "-").text == "sample 1"
    assert ais(node.url, "get", f"{site.url}/nothing/1.txt", "-").code == 3
    # A bucket that has the name and is another folder is not taken for it.
    ais(node.url, "create", f"ht://{derived_name(site, 'taken')}", "--url", f"{site.url}/data/")
    (site.root / "taken").mkdir()
    (site.root / "taken" / "large.tar").write_text("other")
    taken = ais(node.url, "get", f"{site.url}/taken/large.tar", "-")
    assert (taken.code, taken.text) == (1, "")
    assert "already exists" in taken.stderr
    for wrong in (f"{site.url}/data/x?sig=secret-text", "https://user:secret-text@a/b"):
        run = ais(node.url, "get", wrong, "-")
        assert run.code != 0
        assert "ais download" in run.stderr
        assert "secret-text" not in run.stderr


def test_addresses_that_downloads_may_not_reach_are_refused(node: RunningNode) -> None:
    run = ais(node.url, "create", "ht://inside", "--url", "http://169.254.169.254/latest/")
    assert run.code != 0
    assert "egress to 169.254.169.254 (metadata address) is refused" in run.stderr
