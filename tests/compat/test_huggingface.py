"""`ais download` from a Hugging Face hub into a real node: the seed's commands, tokens, damage."""

import hashlib
import json
import os
from collections.abc import Iterator

import pytest
import requests

from aisle.client import Client
from support.ais import Run, ais
from support.hub import Hub, running_hub
from support.node import RunningNode, running_node

TRAIN, VALIDATION = os.urandom(300_000), os.urandom(20_000)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def node(hub: Hub) -> Iterator[RunningNode]:
    # Damage is taken for an accident, and asked for again, as often as that says.
    with running_node(env={"HF_ENDPOINT": hub.url, "AISLE_DOWNLOAD_RETRIES_MAX": "2"}) as running:
        yield running


@pytest.fixture(autouse=True)
def _surroundings(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.repositories.clear()
    hub.renamed.clear()
    hub.tokens.clear()
    hub.asked.clear()
    hub.refusals.clear()
    hub.damaged.clear()


def download(node: RunningNode, *arguments: str) -> Run:
    return ais(node.url, "download", *arguments, "--wait")


def content(node: RunningNode, name: str) -> bytes:
    run = ais(node.url, "get", name, "-")
    assert run.code == 0, run.stderr
    return run.stdout


def custom(node: RunningNode, bucket: str, name: str) -> str:
    answer = requests.head(f"{node.url}/v1/objects/{bucket}/{name}", timeout=30)
    assert answer.status_code == 200
    return answer.headers["Ais-Custom-Md"]


def test_a_dataset_is_downloaded_as_the_seed_shows(node: RunningNode, hub: Hub) -> None:
    squad = hub.add("datasets", "rajpurkar/squad", {"README.md": b"# SQuAD"})
    commit = squad.convert({"plain_text": {"train": [TRAIN], "validation": [VALIDATION]}})
    hub.renamed["datasets", "squad"] = "rajpurkar/squad"
    run = download(node, "--hf-dataset", "squad", "ais://datasets/squad/")
    assert run.code == 0, run.stderr
    assert run.stderr.startswith(
        "Warning: destination bucket ais://datasets/squad doesn't exist. "
        "Bucket with default properties will be created."
    )
    assert run.lines[0] == "Found 2 parquet files in dataset 'squad'"
    assert run.lines[1].startswith("Started download job dnl-")
    assert run.lines[2] == "All 2 files successfully downloaded"
    assert content(node, "ais://datasets/squad/train/0.parquet") == TRAIN
    assert content(node, "ais://datasets/squad/validation/0.parquet") == VALIDATION
    told = custom(node, "datasets", "squad/train/0.parquet")
    assert f"/datasets/rajpurkar/squad/resolve/{commit}/plain_text/train/0000.parquet" in told
    assert hashlib.sha256(TRAIN).hexdigest() in told
    assert f"version={commit}" in told
    job_id = run.lines[1].rpartition(" ")[2]
    manifest = [json.loads(line) for line in ais(node.url, "job", "manifest", job_id, "--json").lines]
    assert sorted((line["object"], line["revision"]) for line in manifest) == [
        ("squad/train/0.parquet", commit),
        ("squad/validation/0.parquet", commit),
    ]


def test_a_token_goes_to_the_hub_and_to_nobody_else(node: RunningNode, hub: Hub) -> None:
    files = {"config.json": b"{}", "model.bin": TRAIN}
    hub.add("models", "meta/llama", files, gated=True, private=True)
    hub.tokens = {"hf_very_secret": {"meta/llama"}}
    refused = download(node, "--hf-model", "meta/llama", "ais://gated/llama/")
    assert refused.code == 3
    assert "is private: give a token with --hf-auth or HF_TOKEN" in refused.stderr
    run = download(node, "--hf-model", "meta/llama", "--hf-auth", "hf_very_secret", "ais://gated/llama/")
    assert (run.code, run.lines[-1]) == (0, "All 2 files successfully downloaded"), run.stderr
    assert content(node, "ais://gated/llama/model.bin") == TRAIN
    assert content(node, "ais://gated/llama/config.json") == b"{}"
    to_cdn = [asked for asked in hub.asked if asked.server == "cdn"]
    assert to_cdn
    assert not any("authorization" in asked.headers for asked in to_cdn)
    assert {asked.token for asked in hub.asked if "/resolve" in asked.path} == {"hf_very_secret"}
    job_id = run.lines[1].rpartition(" ")[2]
    shown = ais(node.url, "show", "job", job_id, "--json")
    assert "hf_very_secret" not in shown.text + run.text + run.stderr + node.stderr_text()
    assert "hf_very_secret" not in custom(node, "gated", "llama/model.bin")


def test_a_gated_model_says_where_its_terms_are(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "meta/llama", {"config.json": b"{}"}, gated=True)
    run = download(node, "--hf-model", "meta/llama", "ais://gated/none/")
    assert run.code == 1
    assert f"accept its terms at {hub.url}/meta/llama, then give a token" in run.stderr
    assert "AIS_AUTHN_TOKEN" not in run.stderr  # that is for the node


def test_damage_on_the_way_is_not_stored(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "o/m", {"good.bin": VALIDATION, "bad.bin": TRAIN})
    hub.damaged = {hashlib.sha256(TRAIN).hexdigest()}
    run = download(node, "--hf-model", "o/m", "ais://damaged/")
    assert run.code == 1
    assert "bad.bin" in run.stderr
    assert "sha256" in run.stderr.lower()
    assert content(node, "ais://damaged/good.bin") == VALIDATION
    assert ais(node.url, "get", "ais://damaged/bad.bin", "-").code == 3


def test_a_busy_hub_is_waited_for(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "o/m", {f"{number}.json": b"%d" % number for number in range(5)})
    hub.refuse("/resolve/", 429, 2, Retry_After="1")
    hub.refuse("/resolve/", 429, RateLimit='"resolvers";r=0;t=2')
    hub.refuse("/revision/", 429, 1, Retry_After="1")
    run = download(node, "--hf-model", "o/m", "ais://busy/m/")
    assert (run.code, run.lines[-1]) == (0, "All 5 files successfully downloaded"), run.stderr
    assert "slow down (429)" in run.stderr
    assert hub.times("/resolve/", status=429) == 3


def test_addresses_are_downloaded(node: RunningNode, hub: Hub) -> None:
    hub.add("datasets", "o/d", {"a/b c.txt": b"one", "a/d/e.bin": TRAIN, "README.md": b"x"})
    run = download(node, "hf://datasets/o/d/a/b c.txt", "ais://addresses/one.txt")
    assert run.code == 0, run.stderr
    assert content(node, "ais://addresses/one.txt") == b"one"
    run = download(node, "hf://datasets/o/d@main/a/", "ais://addresses/all/")
    assert run.code == 0, run.stderr
    listed = ais(node.url, "ls", "ais://addresses/all/", "--name-only", "-H").lines
    assert listed == ["all/b c.txt", "all/d/e.bin"]


def test_large_files_get_jobs_of_their_own(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "o/m", {"1.bin": TRAIN, "2.bin": TRAIN[1:], "a.json": b"{}", "b.json": b"[]"})
    run = download(node, "--hf-model", "o/m", "--blob-threshold", "100KiB", "ais://split/")
    assert run.code == 0, run.stderr
    assert run.lines[:2] == [
        "Found 4 files in model 'o/m'",
        "Created 2 individual jobs for files >= 100.00KiB",
    ]
    assert sum(line.startswith("Started download job dnl-") for line in run.lines) == 3
    assert ais(node.url, "ls", "ais://split", "--name-only", "-H").lines == [
        "1.bin",
        "2.bin",
        "a.json",
        "b.json",
    ]


def test_nothing_is_sent_to_the_node_in_a_dry_run(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "o/m", {"a b%41#.json": b"{}", "m.bin": TRAIN})
    run = ais(node.url, "download", "--hf-model", "o/m", "ais://dry/m/", "--dry-run", "--json")
    assert run.code == 0, run.stderr
    assert [(file["name"], file["size"]) for file in run.json["files"]] == [
        ("m/a b%41#.json", 2),
        ("m/m.bin", len(TRAIN)),
    ]
    assert ais(node.url, "ls", "ais://dry").code == 3


def test_links_of_requests_may_be_addresses(node: RunningNode, hub: Hub) -> None:
    hub.add("datasets", "o/d", {"a/b c.txt": b"one", "m.bin": TRAIN, "part-0": b"p0", "part-1": b"p1"})
    bucket = {"name": "api", "provider": "ais"}
    link = "hf://datasets/o/d@main/"
    client = Client(node.url)
    bodies: list[dict[str, object]] = [
        {"type": "single", "bucket": bucket, "link": f"{link}a/b c.txt"},
        {"type": "multi", "bucket": bucket, "objects": {"named/m": f"{link}m.bin"}},
        {"type": "range", "bucket": bucket, "template": f"{link}part-{{0..1}}", "subdir": "range"},
    ]
    ids = [requests.post(f"{node.url}/v1/download", json=body, timeout=30).json()["id"] for body in bodies]
    lines = b'{"type": "list", "bucket": {"name": "api"}}\n{"link": "%sm.bin", "name": "listed/m"}\n'
    answer = requests.post(
        f"{node.url}/v1/download",
        data=lines % link.encode(),
        headers={"Content-Type": "application/x-ndjson"},
        timeout=30,
    )
    for job_id in [*ids, answer.json()["id"]]:
        assert ais(node.url, "wait", "download", job_id).code == 0, client.download(job_id)
    assert content(node, "ais://api/b c.txt") == b"one"
    assert content(node, "ais://api/named/m") == TRAIN
    assert content(node, "ais://api/listed/m") == TRAIN
    assert content(node, "ais://api/range/part-1") == b"p1"
    refused = requests.post(
        f"{node.url}/v1/download", json={"type": "single", "bucket": bucket, "link": "hf://o/d"}, timeout=30
    )
    assert refused.status_code == 400
    assert "names no file" in refused.text


def test_the_hubs_own_words_are_told(node: RunningNode, hub: Hub) -> None:
    hub.add("models", "meta/llama", {"config.json": b"{}"}, gated=True)
    body = {"type": "single", "bucket": {"name": "api"}, "link": "hf://meta/llama/config.json"}
    job_id = requests.post(f"{node.url}/v1/download", json=body, timeout=30).json()["id"]
    run = ais(node.url, "wait", "download", job_id)
    assert run.code == 1
    assert "status 401 (Access to model meta/llama is restricted.)" in run.stderr


def test_a_second_run_fetches_only_what_has_changed(node: RunningNode, hub: Hub) -> None:
    files = {f"{number}.json": b"%d" % number for number in range(5)} | {"m.bin": TRAIN, "n.bin": VALIDATION}
    model = hub.add("models", "o/m", files)
    assert download(node, "--hf-model", "o/m", "ais://again/m/").code == 0
    hub.asked.clear()
    run = download(node, "--hf-model", "o/m", "ais://again/m/", "--json")
    assert (run.code, run.json["done"], run.json["skipped"]) == (0, 7, 7)
    assert hub.times("/resolve/") == 0
    model.commit(files | {"3.json": b"new", "n.bin": VALIDATION[::-1]})
    run = download(node, "--hf-model", "o/m", "ais://again/m/", "--json")
    assert (run.code, run.json["done"], run.json["skipped"]) == (0, 7, 5)
    assert hub.times("/resolve/") == 2
    assert content(node, "ais://again/m/3.json") == b"new"
    assert content(node, "ais://again/m/n.bin") == VALIDATION[::-1]
