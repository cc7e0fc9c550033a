"""Buckets of Oracle's Object Storage: a real node, the real `ais`, a stand-in that checks each signature."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from support.ais import ais
from support.node import RunningNode, running_node
from support.oci_server import FINGERPRINT, TENANCY, OciServer, running_oci_server
from support.processes import wait_until

pytest.importorskip("oci", reason="Oracle's library is not installed: pip install '.[oci]'")

WAIT_S = 60.0
LARGE = os.urandom(5_000_000)
ELSEWHERE = "eu-paris-1"


@pytest.fixture(scope="module")
def server() -> Iterator[OciServer]:
    with running_oci_server() as running:
        running.objects("data")
        yield running


@pytest.fixture(scope="module")
def node(server: OciServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("oci")
    account = server.configure(folder)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "stranger.pem").write_text(OciServer("", stranger).pem)
    with Path(account["OCI_CLI_CONFIG_FILE"]).open("a") as config:
        config.write(f"[stranger]\nkey_file={folder}/stranger.pem\n")
    parts = {"OCI_MULTI_PART_UPLOAD_THRESHOLD": "2MiB", "OCI_MAX_UPLOAD_SEGMENT_SIZE": "1MiB"}
    with running_node(workers=1, env={**account, **parts}) as running:
        yield running


def url(node: RunningNode, key: str, bucket: str = "data") -> str:
    return f"{node.url}/v1/objects/{bucket}/{quote(key, safe='')}?provider=oci"


def is_kept(node: RunningNode, key: str) -> bool:
    return requests.head(f"{url(node, key)}&presence=2", timeout=WAIT_S).status_code == 200


def test_a_cold_object_is_fetched_once(node: RunningNode, server: OciServer) -> None:
    stored = server.store("data", "cold", LARGE, **{"content-type": "text/x", "opc-meta-k": "v"})
    cold = requests.get(url(node, "cold"), timeout=WAIT_S)
    assert cold.content == LARGE
    assert wait_until(lambda: is_kept(node, "cold"), timeout_s=WAIT_S)
    warm = requests.get(url(node, "cold"), timeout=WAIT_S)
    assert warm.content == LARGE
    for answer in (cold, warm):
        assert answer.headers["ETag"] == f'"{stored.etag}"'
        assert answer.headers["Content-Type"] == "text/x"
        assert "Last-Modified" in answer.headers
    assert server.count("GET", "/o/cold") == 1
    told = cold.headers["Ais-Custom-Md"]
    assert f"md5={hashlib.md5(LARGE).hexdigest()}" in told
    assert "Opc-Meta-K=v" in told
    span = requests.get(url(node, "cold"), headers={"Range": "bytes=100-199"}, timeout=WAIT_S)
    assert (span.status_code, span.content) == (206, LARGE[100:200])


def test_a_wrong_digest_never_makes_a_whole_object(node: RunningNode, server: OciServer) -> None:
    server.store("data", "wrong", LARGE)
    server.wrong_sums = True
    with pytest.raises(requests.RequestException):
        requests.get(url(node, "wrong"), timeout=WAIT_S)
    server.wrong_sums = False
    assert not is_kept(node, "wrong")


def test_a_connection_that_breaks_is_continued(node: RunningNode, server: OciServer) -> None:
    server.store("data", "cut", LARGE)
    server.cuts = 2
    assert requests.get(url(node, "cut"), timeout=WAIT_S).content == LARGE
    spans = [each.headers.get("range") for each in server.asked if each.target.endswith("/o/cut")]
    assert (server.cuts, len(spans)) == (0, 3)
    assert spans[0] is None
    assert all(spans[1:])


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "in parts"])
def test_a_write_goes_through(node: RunningNode, server: OciServer, content: bytes) -> None:
    key = f"written-{len(content)}"
    answer = requests.put(url(node, key), data=content, headers={"Content-Type": "text/x"}, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    stored = server.objects("data")[key]
    assert (stored.content == content, stored.fields["content-type"]) == (True, "text/x")
    read = requests.get(url(node, key), timeout=WAIT_S)
    assert (read.content == content, read.headers["ETag"]) == (True, f'"{stored.etag}"')
    assert server.count("GET", f"/o/{key}") == 0
    assert requests.delete(url(node, key), timeout=WAIT_S).status_code in (200, 204)
    assert key not in server.objects("data")
    assert requests.get(url(node, key), timeout=WAIT_S).status_code == 404


def test_names_are_exact(node: RunningNode, server: OciServer) -> None:
    names = ["a b", "a%20b", "a//b", "ä/ö\U0001f600", "x" * 1024, "?#&+"]
    objects = server.objects("names")
    for number, name in enumerate(names):
        server.store("names", name, b"%d" % number)
        assert requests.get(url(node, name, "names"), timeout=WAIT_S).content == b"%d" % number
        assert requests.put(url(node, name, "names"), data=b"new", timeout=WAIT_S).ok
        assert objects[name].content == b"new"
    listed = ais(node.url, "ls", "oc://names", "--json")
    assert sorted(entry["name"] for entry in listed.json["objects"]) == sorted(names)
    for name in names:
        assert requests.delete(url(node, name, "names"), timeout=WAIT_S).ok
    assert not objects


def test_the_command_line_knows_both_schemes(node: RunningNode, server: OciServer, tmp_path: Path) -> None:
    server.store("shelf", "a/1", b"one")
    server.store("shelf", "b", b"two")
    listed = ais(node.url, "ls", "oc://shelf")
    assert [line.split()[0] for line in listed.lines if line.split()[0] in ("a/1", "b")] == ["a/1", "b"]
    got = ais(node.url, "get", "oci://shelf/a/1", str(tmp_path / "one"))
    assert (got.code, (tmp_path / "one").read_bytes()) == (0, b"one")
    assert ais(node.url, "rm", "oc://shelf/a/1").code == 0
    assert list(server.objects("shelf")) == ["b"]
    # A cloud's bucket is made in the compartment, and never removed.
    assert ais(node.url, "create", "oc://made").code == 0
    assert ("us-ashburn-1", "made") in server.buckets
    assert ais(node.url, "rmb", "oc://made", "--yes").code != 0
    assert ("us-ashburn-1", "made") in server.buckets


def test_a_bucket_is_found_in_its_region(node: RunningNode, server: OciServer) -> None:
    server.regions.append(ELSEWHERE)
    server.objects("far", ELSEWHERE)["k"] = server.store("data", "near", b"content")
    assert requests.get(url(node, "k", "far"), timeout=WAIT_S).content == b"content"
    shown = requests.head(f"{node.url}/v1/buckets/far?provider=oci", timeout=WAIT_S)
    assert f'"oci":{{"region":"{ELSEWHERE}"}}' in shown.headers["Ais-Bucket-Props"]


def test_a_bucket_that_is_there_is_made_known_with_what_is_said_of_it(
    node: RunningNode, server: OciServer
) -> None:
    server.objects("named", ELSEWHERE)["k"] = server.store("data", "near", b"content")
    created = ais(node.url, "create", "oc://named", "--props", f"extra.oci.region={ELSEWHERE}")
    assert created.code == 0, created.stderr
    assert requests.get(url(node, "k", "named"), timeout=WAIT_S).content == b"content"
    assert ais(node.url, "create", "oc://data").code != 0
    assert ("us-ashburn-1", "named") not in server.buckets
    wrong = ais(node.url, "create", "oc://other", "--props", "extra.oci.region=a.b/c")
    assert (wrong.code != 0, "extra.oci.region" in wrong.stderr) == (True, True)


def test_what_goes_wrong_is_told(node: RunningNode) -> None:
    missing = requests.get(url(node, "k", "nothing"), timeout=WAIT_S)
    assert (missing.status_code, "oc://nothing" in missing.text) == (404, True)
    assert requests.get(url(node, "nothing"), timeout=WAIT_S).status_code == 404
    refused = requests.post(
        f"{node.url}/v1/buckets/data?provider=oci&namespace=%23other",
        json={"action": "create-bck", "value": {"extra": {"oci": {"profile": "stranger"}}}},
        timeout=WAIT_S,
    )
    assert refused.status_code == 403, refused.text
    assert "NotAuthenticated" in refused.text
    assert "key, user, tenancy and clock" in refused.text
    assert TENANCY not in refused.text
    assert FINGERPRINT not in refused.text
