"""A real node in front of Google's storage: an emulator of it, and a stand-in that asks for tokens."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from support import processes
from support.ais import ais
from support.fake_gcs import running_fake_gcs
from support.google_service import GoogleService, key_of, running_google_service
from support.node import RunningNode, running_node

WAIT_S = 60.0
NAMES = ["plain", "a b", "100%", "a//b", "ä/ö", "q?x=y&z", "x" * 1024]


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with running_fake_gcs() as url:
        requests.post(f"{url}/storage/v1/b", json={"name": "data"}, timeout=WAIT_S).raise_for_status()
        yield url


@pytest.fixture(scope="module")
def node(emulator: str) -> Iterator[RunningNode]:
    env = {"STORAGE_EMULATOR_HOST": emulator, "GOOGLE_CLOUD_PROJECT": "tests"}
    with running_node(workers=1, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def service() -> Iterator[GoogleService]:
    with running_google_service() as running:
        yield running


@pytest.fixture(scope="module")
def node_of_service(service: GoogleService) -> Iterator[RunningNode]:
    with running_node(workers=1, env={"STORAGE_EMULATOR_HOST": service.url}) as running:
        yield running


def url(node: RunningNode, key: str, bucket: str = "data") -> str:
    return f"{node.url}/v1/objects/{bucket}/{quote(key, safe='/')}?provider=gcp"


def at_source(emulator: str, key: str) -> requests.Response:
    return requests.get(
        f"{emulator}/download/storage/v1/b/data/o/{quote(key, safe='')}?alt=media", timeout=WAIT_S
    )


def is_kept(node: RunningNode, key: str) -> bool:
    return requests.head(f"{url(node, key)}&presence=2", timeout=WAIT_S).status_code == 200


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:10])
def test_an_object_is_written_through_read_cold_and_warm_and_deleted(
    node: RunningNode, emulator: str, name: str
) -> None:
    content = os.urandom(70_000)
    requests.put(url(node, name), data=content, timeout=WAIT_S).raise_for_status()
    assert at_source(emulator, name).content == content

    # Behind the node's back: another object of the same name, read cold.
    requests.delete(
        f"{node.url}/v1/buckets/data?provider=gcp",
        json={"action": "evict-listrange", "value": {"objnames": [name]}},
        timeout=WAIT_S,
    ).raise_for_status()
    assert processes.wait_until(lambda: not is_kept(node, name), timeout_s=WAIT_S, poll_s=0.02)
    content = os.urandom(50_000)
    link = f"{emulator}/upload/storage/v1/b/data/o"
    requests.post(
        link, params={"uploadType": "media", "name": name}, data=content, timeout=WAIT_S
    ).raise_for_status()
    cold = requests.get(url(node, name), timeout=WAIT_S)
    assert cold.content == content
    assert processes.wait_until(lambda: is_kept(node, name), timeout_s=WAIT_S, poll_s=0.02)
    told = requests.get(f"{emulator}/storage/v1/b/data/o/{quote(name, safe='')}", timeout=WAIT_S).json()
    warm = requests.get(url(node, name), timeout=WAIT_S)
    assert warm.content == content
    for answer in (cold, warm):
        assert answer.headers["ETag"].strip('"') == told["etag"].strip('"')
        assert answer.headers["Last-Modified"]
    assert warm.headers["Ais-Version"] == told["generation"]

    requests.delete(url(node, name), timeout=WAIT_S).raise_for_status()
    assert at_source(emulator, name).status_code == 404
    assert requests.get(url(node, name), timeout=WAIT_S).status_code == 404


def test_names_are_listed_as_they_are(node: RunningNode) -> None:
    names = [f"all/{name}"[:1024] for name in NAMES]
    for name in names:
        requests.put(url(node, name), data=b"x", timeout=WAIT_S).raise_for_status()
    listed = ais(node.url, "ls", "gs://data", "--prefix", "all/", "--json").json["objects"]
    assert [entry["name"] for entry in listed] == sorted(names, key=str.encode)


def test_a_large_object_is_written_through_in_chunks(node: RunningNode, emulator: str) -> None:
    content = os.urandom(20 * 1024 * 1024)
    requests.put(url(node, "large"), data=content, timeout=WAIT_S).raise_for_status()
    assert at_source(emulator, "large").content == content
    span = requests.get(url(node, "large"), headers={"Range": "bytes=9000000-9000009"}, timeout=WAIT_S)
    assert span.content == content[9_000_000:9_000_010]


def test_what_is_missing_is_told_as_such(node: RunningNode) -> None:
    missing = requests.get(url(node, "k", "no-such-bucket"), timeout=WAIT_S)
    assert (missing.status_code, "gs://no-such-bucket" in missing.text) == (404, True)
    assert requests.get(url(node, "nothing"), timeout=WAIT_S).status_code == 404
    assert "data" in ais(node.url, "ls", "gs:", "--all").text


def test_a_bucket_has_credentials_of_its_own(
    node_of_service: RunningNode, service: GoogleService, tmp_path: Path
) -> None:
    service.keep("data", "k", b"content")
    refused = requests.get(url(node_of_service, "k"), timeout=WAIT_S)
    assert refused.status_code == 403
    assert "extra.gcp.application_creds" in refused.text

    wrong = GoogleService(url=service.url, key=key_of("another")).key_file(tmp_path / "wrong.json")
    for path, text in ((wrong, "Invalid JWT Signature"), (tmp_path / "absent.json", "No such file")):
        props = f"extra.gcp.application_creds={path}"
        denied = ais(node_of_service.url, "create", "gs://data", "--props", props)
        assert denied.code != 0
        assert text in denied.stderr

    key = service.key_file(tmp_path / "key.json")
    ais(node_of_service.url, "create", "gs://data", "--props", f"extra.gcp.application_creds={key}")
    assert requests.get(url(node_of_service, "k"), timeout=WAIT_S).content == b"content"
    service.tokens.update(dict.fromkeys(service.tokens, 0.0))
    service.keep("data", "other", b"more")
    assert requests.get(url(node_of_service, "other"), timeout=WAIT_S).content == b"more"

    beside = f"{url(node_of_service, 'k')}&namespace=%23other"
    assert requests.get(beside, timeout=WAIT_S).status_code == 403
    ais(node_of_service.url, "create", "gs://#other/data", "--props", f"extra.gcp.application_creds={key}")
    assert requests.get(beside, timeout=WAIT_S).content == b"content"
    assert ais(node_of_service.url, "cat", "gs://#other/data/k").stdout == b"content"
