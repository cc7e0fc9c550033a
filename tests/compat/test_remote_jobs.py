"""Jobs between providers through real processes: an S3 account (moto), another cluster, and our own buckets.

Copies and synchronization, downloads through providers, large objects in parallel ranges; and a node that is
killed in the middle of a copy.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import boto3
import pytest
import requests
from aistore.sdk import Client

from support.ais import ais
from support.moto import running_moto
from support.native import CONNECTION_ERRORS
from support.node import RunningNode, running_node

NAMES = [f"s/{number:03}" for number in range(22)] + ["t/ü ñ", "t/a%41", "t//b"]
LARGE = random.Random("large").randbytes(3_000_000)
WAIT_S = 120.0


def payload(name: str) -> bytes:
    return LARGE if name == "large.bin" else hashlib.sha256(name.encode()).digest() * 300


@pytest.fixture(scope="module")
def amazon() -> Iterator[Any]:
    with running_moto() as url:
        account = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
        )
        account.create_bucket(Bucket="far")
        for name in [*NAMES, "large.bin"]:
            account.put_object(Bucket="far", Key=name, Body=payload(name), Metadata={"color": "red"})
        yield account


@pytest.fixture(scope="module")
def other() -> Iterator[RunningNode]:
    with running_node() as node:
        yield node


@pytest.fixture(scope="module")
def node(amazon: Any, other: RunningNode) -> Iterator[RunningNode]:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    with running_node(env={**keys, "S3_ENDPOINT": amazon.meta.endpoint_url}) as running:
        assert ais(running.url, "cluster", "remote-attach", f"there={other.url}").code == 0
        yield running


def listed(node: RunningNode, bucket: str, provider: str, flags: str = "0") -> list[str]:
    message = {"action": "list", "value": {"props": "name", "flags": flags}}
    answer = requests.get(f"{node.url}/v1/buckets/{bucket}?provider={provider}", json=message, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    return [entry["name"] for entry in answer.json()["entries"] or ()]


def names(node: RunningNode, bucket: str) -> list[str]:
    return listed(node, bucket, "ais")


def cached(node: RunningNode, bucket: str) -> list[str]:
    return listed(node, bucket, "aws", "1")


def content(node: RunningNode, path: str, provider: str = "ais") -> bytes:
    answer = requests.get(f"{node.url}/v1/objects/{quote(path)}?provider={provider}", timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    return answer.content


def evict(node: RunningNode) -> None:
    message = {"action": "evict-remote-bck"}
    requests.delete(
        f"{node.url}/v1/buckets/far?provider=aws", json=message, timeout=WAIT_S
    ).raise_for_status()


def in_account(amazon: Any, bucket: str) -> list[str]:
    listed = amazon.list_objects_v2(Bucket=bucket).get("Contents", [])
    return sorted((entry["Key"] for entry in listed), key=str.encode)


def ended(node: RunningNode, job_id: str) -> Any:
    """How a download stands when it has ended."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            told = requests.get(f"{node.url}/v1/download?id={job_id}", timeout=WAIT_S)
            if told.status_code == 200 and not told.json()["finished_time"].startswith("1970"):
                return told.json()
        except (requests.ConnectionError, *CONNECTION_ERRORS):
            pass
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def download(node: RunningNode, **request: Any) -> Any:
    answer = requests.post(f"{node.url}/v1/download", json=request, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    return ended(node, answer.json()["id"])


def manifest(node: RunningNode, told: Any) -> list[dict[str, Any]]:
    answer = requests.get(f"{node.url}/v1/download/manifest?id={told['id']}", timeout=WAIT_S)
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_bucket_is_mirrored_and_kept_like_its_source(node: RunningNode, amazon: Any) -> None:
    run = ais(node.url, "cp", "s3://far", "ais://mirror", "--sync", "--wait")
    assert run.code == 0, run.stderr
    assert run.lines[0].startswith("Copying s3://far => ais://mirror ...Done. 26 objects")
    every = sorted([*NAMES, "large.bin"], key=str.encode)
    assert names(node, "mirror") == every
    assert all(content(node, f"mirror/{name}") == payload(name) for name in [*NAMES[-3:], "large.bin"])
    assert cached(node, "far") == []  # read through, not kept
    amazon.put_object(Bucket="far", Key="s/001", Body=b"new")
    amazon.delete_object(Bucket="far", Key="s/002")
    again = ais(node.url, "cp", "s3://far", "ais://mirror", "--sync", "--wait")
    assert again.lines[0] == "Copying s3://far => ais://mirror ...Done. 1 object, 3B"
    assert names(node, "mirror") == [name for name in every if name != "s/002"]
    assert content(node, "mirror/s/001") == b"new"
    shown = ais(node.url, "show", "job", "copy-bucket", "--all").text
    assert "pruned:1" in shown
    for name in ("s/001", "s/002"):
        amazon.put_object(Bucket="far", Key=name, Body=payload(name), Metadata={"color": "red"})


def test_copies_go_out_and_across_through_the_sdk_and_one_by_one(
    node: RunningNode, other: RunningNode, amazon: Any
) -> None:
    amazon.create_bucket(Bucket="out")
    assert ais(node.url, "create", "ais://own", "ais://@there/bucket").code == 0
    for name in NAMES[:5]:
        requests.put(f"{node.url}/v1/objects/own/{name}", payload(name), timeout=WAIT_S).raise_for_status()
    client = Client(node.url, timeout=(3, 60))
    job_id = client.bucket("own").copy(client.bucket("out", provider="aws"), prepend="x/")
    client.job(job_id).wait(timeout=60)
    assert in_account(amazon, "out") == [f"x/{name}" for name in NAMES[:5]]
    # From one provider to another, some of it, and kept here as written.
    run = ais(
        *(node.url, "cp", "s3://far", "ais://@there/bucket", "--template", "s/{001..003}", "--wait"),
        "--latest",
    )
    assert run.code == 0, run.stderr
    assert names(other, "bucket") == NAMES[1:4]
    assert content(other, "bucket/s/002") == payload("s/002")
    # One object, cold, with a strange name, each way.
    assert ais(node.url, "cp", "s3://far/t/ü ñ", "ais://@there/bucket/one").code == 0
    assert content(other, "bucket/one") == payload("t/ü ñ")
    assert ais(node.url, "cp", "ais://own/s/004", "s3://out/t//4 %").code == 0
    assert amazon.get_object(Bucket="out", Key="t//4 %")["Body"].read() == payload("s/004")
    # What is in the way is told, and what is read-only or unknown is refused.
    assert ais(node.url, "cp", "s3://far", "s3://nothing", "--wait").code == 3
    assert ais(node.url, "cp", "s3://far/none", "ais://own/x").code == 3


def test_a_copy_survives_the_death_of_its_node(node: RunningNode, amazon: Any) -> None:
    amazon.create_bucket(Bucket="many")
    for number in range(40):
        amazon.put_object(Bucket="many", Key=f"{number:04}", Body=payload(str(number)))
    run = ais(node.url, "cp", "s3://many", "ais://saved", "--sync", "--num-workers", "-1", "--json")
    job_id = run.json["id"]
    node.kill()
    node.wait_gone()
    node.start()
    assert ais(node.url, "wait", job_id).code == 0
    told = ais(node.url, "show", "job", job_id, "--json").json
    assert (told["state"], told["objects"], told["error"]) == ("finished", 40, "")
    assert names(node, "saved") == [f"{number:04}" for number in range(40)]
    assert all(content(node, f"saved/{number:04}") == payload(str(number)) for number in (0, 17, 39))


def test_links_to_remote_buckets_are_downloaded_with_their_credentials(
    node: RunningNode, amazon: Any
) -> None:
    run = ais(node.url, "download", "s3://far/s/{010..012}", "ais://got/in", "--wait")
    assert (run.code, run.lines[-1]) == (0, "All 3 files successfully downloaded")
    assert names(node, "got") == ["in/010", "in/011", "in/012"]
    bucket = {"name": "got"}
    objects = {"a": "s3://far/t/a%2541", "b": "ais://@there/bucket/one", "none": "s3://far/none"}
    told = download(node, type="multi", bucket=bucket, objects=objects)
    assert (told["finished_cnt"], told["error_cnt"]) == (2, 1)
    assert "ErrNotFound: s3://far/none does not exist" in told["download_errors"][0]["error"]
    assert content(node, "got/a") == payload("t/a%41")
    assert content(node, "got/b") == payload("t/ü ñ")
    [entry] = [entry for entry in manifest(node, told) if entry["object"] == "a"]
    etag = hashlib.md5(payload("t/a%41")).hexdigest()
    assert (entry["source"], entry["size"], entry["etag"]) == ("s3://far/t/a%2541", 9600, etag)
    assert entry["checksum"].startswith("xxhash2:")
    again = download(node, type="multi", bucket=bucket, objects={"a": objects["a"]})
    assert (again["finished_cnt"], again["skipped_cnt"]) == (1, 1)
    amazon.put_object(Bucket="far", Key="t/a%41", Body=b"changed")
    third = download(node, type="multi", bucket=bucket, objects={"a": objects["a"]})
    assert (third["finished_cnt"], third["skipped_cnt"], third["updated_cnt"]) == (1, 0, 1)
    assert content(node, "got/a") == b"changed"
    amazon.put_object(Bucket="far", Key="t/a%41", Body=payload("t/a%41"))


def test_a_list_says_what_objects_of_buckets_must_be(node: RunningNode) -> None:
    good, bad = (hashlib.sha256(payload(name)).hexdigest() for name in ("s/020", "s/000"))
    lines = [
        {"type": "list", "bucket": {"name": "listed"}, "subdir": "d"},
        {"link": "s3://far/s/020", "checksum": f"sha256:{good}", "size": 9600},
        {"link": "s3://far/s/021", "checksum": f"sha256:{bad}"},
        {"link": "s3://far/large.bin", "size": 5},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    answer = requests.post(
        f"{node.url}/v1/download", body, headers={"Content-Type": "application/x-ndjson"}, timeout=WAIT_S
    )
    told = ended(node, answer.json()["id"])
    assert (told["finished_cnt"], told["error_cnt"]) == (1, 2)
    assert names(node, "listed") == ["d/020"]
    assert told["description"] == "list -> ais://listed/d/"
    texts = " ".join(failure["error"] for failure in told["download_errors"])
    assert "BAD DATA CHECKSUM" in texts
    assert "it should have 5" in texts


def test_a_backend_download_fills_a_bucket_and_keeps_it_like_its_source(
    node: RunningNode, amazon: Any
) -> None:
    evict(node)
    request = {
        "type": "backend",
        "bucket": {"name": "far", "provider": "aws"},
        "prefix": "s/00",
        "suffix": "5",
    }
    told = download(node, **request)
    assert (told["finished_cnt"], told["error_cnt"], told["total"]) == (1, 0, 1)
    assert told["description"] == "remote bucket prefetch -> s3://far"
    assert cached(node, "far") == ["s/005"]
    run = ais(node.url, "start", "download", "s3://far/s/", "s3://far", "--wait", "--sync")
    assert run.code == 0, run.stderr
    assert cached(node, "far") == NAMES[:22]
    amazon.delete_object(Bucket="far", Key="s/007")
    amazon.put_object(Bucket="far", Key="s/008", Body=b"other")
    told = download(node, **(request | {"suffix": "", "sync": True}))
    assert (told["finished_cnt"], told["skipped_cnt"], told["error_cnt"]) == (10, 8, 0)
    assert cached(node, "far") == [name for name in NAMES[:22] if name != "s/007"]
    assert content(node, "far/s/008", "aws") == b"other"
    assert sorted(entry["result"] for entry in manifest(node, told))[:2] == ["removed", "skipped"]
    refused = requests.post(
        f"{node.url}/v1/download", json={"type": "backend", "bucket": {"name": "got"}}, timeout=WAIT_S
    )
    assert refused.status_code == 400
    assert "Error starting download: bucket download requires a remote bucket" in refused.text
    for name in ("s/007", "s/008"):
        amazon.put_object(Bucket="far", Key=name, Body=payload(name))


def test_large_objects_come_in_parallel_ranges(node: RunningNode) -> None:
    evict(node)
    run = ais(
        *(
            node.url,
            "start",
            "blob-download",
            "s3://far/large.bin",
            "--chunk-size",
            "128KiB",
            "--wait",
            "--json",
        )
    )
    assert run.code == 0, run.stderr
    assert (run.json["kind"], run.json["objects"], run.json["bytes"]) == ("blob-download", 1, len(LARGE))
    assert cached(node, "far") == ["large.bin"]
    assert content(node, "far/large.bin", "aws") == LARGE
    evict(node)
    run = ais(node.url, "prefetch", "s3://far", "--blob-threshold", "1MiB", "--chunk-size", "200K", "--wait")
    assert run.code == 0, run.stderr
    assert len(cached(node, "far")) == 26
    assert content(node, "far/large.bin", "aws") == LARGE
    client = Client(node.url, timeout=(3, 60))
    job_id = (
        client.bucket("far", provider="aws").object("large.bin").blob_download(num_workers=3, latest=True)
    )
    client.job(job_id).wait(timeout=60)
    assert ais(node.url, "blob-download", "ais://own/s/001").code == 1
    assert ais(node.url, "blob-download", "s3://far/none", "--wait").code == 1
