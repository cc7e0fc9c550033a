"""Properties and configuration on a real node: seen by every process, kept, and with the effect they name."""

import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aisle.storage.hashing import hex_digest
from support.ais import Run, ais
from support.folders import files_below
from support.native import Answer, NativeClient
from support.node import RunningNode, running_node

LARGE = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


def ask(node: RunningNode, method: str, target: str, body: bytes = b"") -> Answer:
    """One request on a connection of its own: any worker may answer."""
    client = NativeClient(node.host, node.port)
    try:
        return client.request(method, target, body=body)
    finally:
        client.close()


def act(node: RunningNode, method: str, target: str, verb: str, value: Any = None) -> Answer:
    return ask(node, method, target, json.dumps({"action": verb, "value": value}).encode())


def run(node: RunningNode, line: str) -> Run:
    """A line of the manual."""
    return ais(node.url, *shlex.split(line)[1:])


def test_the_lines_of_the_manuals_answer_as_shown(node: RunningNode) -> None:
    assert run(node, "ais ls ais:").lines == ["AIS Buckets (0)"]
    assert run(node, "ais create ais://abc").lines == ['"ais://abc" created']
    updated = ["Bucket props successfully updated", '"checksum.type" set to: "md5" (was: "xxhash2")']
    assert run(node, "ais bucket props set ais://abc checksum.type=md5").lines == updated
    assert run(node, 'ais create ais://bck --props="checksum.type=md5"').lines == ['"ais://bck" created']
    shown = [line.split(None, 1) for line in run(node, "ais show bucket ais://bck").lines]
    assert ["checksum", "Type: md5 | Validate: Nothing"] in shown
    assert run(node, "ais create ais://nnn").code == 0
    assert run(node, "ais bucket props ais://nnn checksum.type=md5").lines == updated
    assert run(node, "ais ls ais://").lines == [
        "AIS Buckets (3)",
        "  ais://abc",
        "  ais://bck",
        "  ais://nnn",
    ]
    for name, value in (("net.http.use_https", "false"), ("checksum.type", "xxhash2")):
        told = [line.split() for line in run(node, f"ais config cluster {name}").lines]
        assert told == [["PROPERTY", "VALUE"], [name, value]]
    assert run(node, "ais config cluster checksum.type=md5").json == {"checksum.type": "md5"}
    assert run(node, "ais create ais://mmm").code == 0
    properties = run(node, "ais bucket props show ais://mmm checksum.type --json").json
    assert properties == {"checksum": {"type": "md5"}}
    features = run(node, "ais config cluster features S3-Presigned-Request")
    assert features.json == {"features": "S3-Presigned-Request"}
    assert run(node, "ais config reset").code == 0
    told = [line.split() for line in run(node, "ais config cluster checksum.type").lines]
    assert told[1] == ["checksum.type", "xxhash2"]


def test_a_change_is_seen_by_all_workers_at_once(node: RunningNode) -> None:
    act(node, "POST", "/v1/buckets/seen?provider=ais", "create-bck")
    for round_ in range(20):
        size = 1_000 + round_
        assert act(node, "PUT", "/v1/cluster", "set-config", {"lru": {"batch_size": size}}).status == 200
        changes = {"lru": {"batch_size": size}}
        assert act(node, "PATCH", "/v1/buckets/seen?provider=ais", "set-bprops", changes).status == 200
        for _ in range(6):
            told = json.loads(ask(node, "GET", "/v1/cluster?what=cluster_config").body)
            assert told["lru"]["batch_size"] == size
            head = ask(node, "HEAD", "/v1/buckets/seen?provider=ais")
            assert json.loads(head.headers["ais-bucket-props"])["lru"]["batch_size"] == size
    act(node, "PUT", "/v1/cluster", "reset-config")


@pytest.mark.parametrize("kind", ["none", "xxhash", "xxhash2", "md5", "crc32c", "sha256", "sha512"])
def test_every_kind_of_checksum_is_kept_and_compared(node: RunningNode, kind: str) -> None:
    url = f"/v1/buckets/kind-{kind}?provider=ais"
    assert act(node, "POST", url, "create-bck", {"checksum": {"type": kind}}).status == 200
    for size in (5, len(LARGE)):
        target = f"/v1/objects/kind-{kind}/o{size}?provider=ais"
        assert ask(node, "PUT", target, LARGE[:size]).status == 200
        answer = ask(node, "GET", target)
        assert answer.body == LARGE[:size]
        assert answer.headers.get("ais-checksum-type", "none") == kind
        # The command computes it again from what it reads, or the node refuses to serve it.
        assert ais(node.url, "get", f"ais://kind-{kind}/o{size}", "-").stdout == LARGE[:size]
        if kind != "none":
            wrong = {"Ais-Checksum-Type": kind, "Ais-Checksum-Value": "0" * 16}
            client = NativeClient(node.host, node.port)
            assert client.request("PUT", target, body=b"other", headers=wrong).status == 400
            client.close()
            assert ask(node, "GET", target).body == LARGE[:size]


def test_writes_that_overlap_get_versions_of_their_own(node: RunningNode) -> None:
    act(node, "POST", "/v1/buckets/counted?provider=ais", "create-bck")

    def write(number: int) -> int:
        answer = ask(node, "PUT", "/v1/objects/counted/o?provider=ais", LARGE[: 20_000 * (number % 3)])
        assert answer.status == 200
        return int(answer.headers["ais-version"])

    with ThreadPoolExecutor(12) as threads:
        assert sorted(threads.map(write, range(120))) == [*range(1, 121)]
    assert ask(node, "GET", "/v1/objects/counted/o?provider=ais").headers["ais-version"] == "120"


def payload_files(node: RunningNode) -> set[Path]:
    return set(files_below(*(data / "data" for data in node.data)))


def test_a_damaged_payload_is_refused_where_reads_are_validated(node: RunningNode) -> None:
    url = "/v1/buckets/warm?provider=ais"
    act(node, "POST", url, "create-bck", {"checksum": {"validate_warm_get": True}})
    before = payload_files(node)
    target = "/v1/objects/warm/o?provider=ais"
    ask(node, "PUT", target, LARGE)
    (file,) = payload_files(node) - before
    assert ask(node, "GET", target).body == LARGE
    assert ask(node, "GET", "/s3/warm/o").body == LARGE
    file.chmod(0o640)
    with file.open("r+b") as damaged:
        damaged.seek(50_000)
        damaged.write(b"flip")
    for where in (target, "/s3/warm/o"):
        answer = ask(node, "GET", where)
        assert answer.status >= 500
        assert b"flip" not in answer.body
        assert LARGE[:100] not in answer.body
    act(node, "PATCH", url, "set-bprops", {"checksum": {"validate_warm_get": False}})
    assert ask(node, "GET", target).status == 200
    # One read may ask for it too.
    assert ask(node, "GET", f"{target}&validate-checksum=true").status >= 500
    assert ask(node, "GET", f"{target}&validate-checksum=false").status == 200


@pytest.mark.parametrize("kind", ["xxhash2", "md5", "crc32c", "none"])
def test_a_range_has_a_checksum_of_its_own_where_a_bucket_wants_it(node: RunningNode, kind: str) -> None:
    url = f"/v1/buckets/range-{kind}?provider=ais"
    act(node, "POST", url, "create-bck", {"checksum": {"type": kind, "enable_read_range": True}})
    for size in (300, len(LARGE)):
        target = f"/v1/objects/range-{kind}/o{size}?provider=ais"
        ask(node, "PUT", target, LARGE[:size])
        client = NativeClient(node.host, node.port)
        answer = client.request("GET", target, headers={"Range": "bytes=7-250"})
        whole = client.request("GET", target)
        client.close()
        assert (answer.status, answer.body) == (206, LARGE[7:251])
        assert whole.body == LARGE[:size]
        if kind == "none":
            assert "ais-checksum-value" not in answer.headers
        else:
            assert answer.headers["ais-checksum-value"] == hex_digest(kind, LARGE[7:251])
            assert whole.headers["ais-checksum-value"] == hex_digest(kind, LARGE[:size])


def test_settings_and_properties_outlive_a_kill(tmp_path: Path) -> None:
    with running_node([tmp_path / "data"], workers=1) as node:
        act(node, "POST", "/v1/buckets/kept?provider=ais", "create-bck")
        act(node, "PUT", "/v1/cluster", "set-config", {"checksum": {"type": "sha256"}})
        act(node, "PATCH", "/v1/buckets/kept?provider=ais", "set-bprops", {"access": "771"})
        node.kill()
        node.start()
        told = json.loads(ask(node, "GET", "/v1/cluster?what=cluster_config").body)
        assert (told["checksum"]["type"], told["config_version"]) == ("sha256", "2")
        head = ask(node, "HEAD", "/v1/buckets/kept?provider=ais")
        assert json.loads(head.headers["ais-bucket-props"])["access"] == "771"


@pytest.mark.parametrize("policy", ["immediate", "delayed", "never"])
def test_objects_are_written_under_every_policy(node: RunningNode, policy: str) -> None:
    bucket = f"policy-{policy}"
    url = f"/v1/buckets/{bucket}?provider=ais"
    act(node, "POST", url, "create-bck", {"write_policy": {"data": policy}})
    target = f"/v1/objects/{bucket}/parts?provider=ais"
    upload = act(node, "POST", target, "mpt-upload").body.decode()
    part = f"{target}&uploadId={upload}&partNumber=1"
    synced = syncs(node)
    assert ask(node, "PUT", part, LARGE).status == 200
    assert ask(node, "PUT", f"/v1/objects/{bucket}/o?provider=ais", LARGE).status == 200
    assert ask(node, "PUT", f"/v1/objects/{bucket}/small?provider=ais", b"small").status == 200
    assert syncs(node) - synced == (2 if policy == "immediate" else 0)
    done = [{"part-number": 1, "etag": ""}]
    assert act(node, "POST", f"{target}&uploadId={upload}", "mpt-complete", done).status == 200
    for name, content in (("parts", LARGE), ("o", LARGE), ("small", b"small")):
        assert ask(node, "GET", f"/v1/objects/{bucket}/{name}?provider=ais").body == content


def syncs(node: RunningNode) -> int:
    """How many payload files were made durable before their writers were answered."""
    lines = ask(node, "GET", "/metrics").body.decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("aisle_data_sync_seconds_count"))
