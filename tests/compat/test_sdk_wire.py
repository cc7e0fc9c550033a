"""The native API over real sockets, where the SDK does not reach: raw requests against a running node."""

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.node import RunningNode, running_node

MIB = 1024 * 1024
LARGE = bytes(range(256)) * 20_000  # 5 MB: a payload file


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        made = requests.post(f"{running.url}/v1/buckets/b?provider=ais", json={"action": "create-bck"})
        assert made.status_code == 200, made.text
        yield running


@pytest.fixture
def url(node: RunningNode) -> str:
    return f"{node.url}/v1/objects/b"


def test_a_body_of_unknown_length_is_put(url: str) -> None:
    pieces = [LARGE[start : start + 70_000] for start in range(0, len(LARGE), 70_000)]
    put = requests.put(f"{url}/chunked?provider=ais", data=iter(pieces))
    assert put.status_code == 200, put.text
    assert requests.get(f"{url}/chunked?provider=ais").content == LARGE
    assert requests.put(f"{url}/empty", data=iter(())).status_code == 200
    assert requests.get(f"{url}/empty").content == b""


def test_a_body_is_sent_when_it_is_asked_for(url: str) -> None:
    put = requests.put(f"{url}/expect", data=b"x" * 100_000, headers={"Expect": "100-continue"})
    assert put.status_code == 200
    assert len(requests.get(f"{url}/expect").content) == 100_000


@pytest.mark.parametrize("span", [(0, 1), (1, 17), (4_096, MIB), (len(LARGE) - 3, 3), (0, len(LARGE))])
def test_ranges_of_a_payload_file_are_cut_out(url: str, span: tuple[int, int]) -> None:
    requests.put(f"{url}/large", data=LARGE)
    start, length = span
    got = requests.get(f"{url}/large", headers={"Range": f"bytes={start}-{start + length - 1}"})
    assert got.status_code == 206
    assert got.content == LARGE[start : start + length]
    assert got.headers["Content-Range"] == f"bytes {start}-{start + length - 1}/{len(LARGE)}"
    assert requests.get(f"{url}/large", headers={"Range": f"bytes={len(LARGE)}-"}).status_code == 416


def test_what_did_not_change_is_not_sent_again(url: str) -> None:
    tag = requests.put(f"{url}/tagged", data=LARGE).headers["ETag"]
    again = requests.get(f"{url}/tagged", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert requests.get(f"{url}/tagged", headers={"If-Match": '"other"'}).status_code == 412
    head = requests.head(f"{url}/tagged")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(LARGE)))


def test_an_upload_that_breaks_off_leaves_what_was_there(node: RunningNode, url: str) -> None:
    requests.put(f"{url}/kept", data=b"old")
    for framing in (f"Content-Length: {5 * MIB}", "Transfer-Encoding: chunked"):
        with socket.create_connection((node.host, node.port)) as peer:
            head = f"PUT /v1/objects/b/kept HTTP/1.1\r\nHost: {node.host}:{node.port}\r\n{framing}\r\n\r\n"
            chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n" if "chunked" in framing else bytes(0x10000)
            peer.sendall(head.encode() + chunk * 16)
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            assert requests.get(f"{url}/kept").content == b"old"


def test_bytes_that_were_garbled_on_the_way_are_refused(url: str) -> None:
    announced = {"Ais-Checksum-Type": "md5", "Ais-Checksum-Value": hashlib.md5(b"other").hexdigest()}
    refused = requests.put(f"{url}/garbled", data=LARGE, headers=announced)
    assert (refused.status_code, refused.json()["tcode"]) == (400, "ErrBadCksum")
    assert requests.get(f"{url}/garbled").status_code == 404


def test_a_message_that_is_too_large_is_refused(node: RunningNode) -> None:
    body = b'{"action":"list","name":"' + b"x" * (9 * MIB) + b'"}'
    refused = requests.get(f"{node.url}/v1/buckets", data=body)
    assert refused.status_code == 413


def test_the_host_and_the_origin_are_checked_on_the_wire(node: RunningNode) -> None:
    assert requests.get(node.url, headers={"Host": "evil.example"}).status_code == 403
    assert requests.get(node.url, headers={"Origin": "https://evil.example"}).status_code == 403
    assert requests.get(f"{node.url}/v1/health?readiness=true").status_code == 200
    assert requests.get(f"http://localhost:{node.port}/").status_code == 200


def test_metrics_count_what_happened(node: RunningNode, url: str) -> None:
    def count(name: str) -> int:
        lines = requests.get(f"{node.url}/metrics").text.splitlines()
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith(name))

    before = count("ais_target_get_count"), count("ais_target_get_bytes")
    requests.put(f"{url}/counted", data=b"12345")
    for _ in range(3):
        requests.get(f"{url}/counted")
    after = count("ais_target_get_count"), count("ais_target_get_bytes")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 15)


def test_an_object_tells_which_mountpath_holds_it(tmp_path: Path) -> None:
    data = [tmp_path / "one", tmp_path / "two"]
    with running_node(data=data) as node:
        bucket = f"{node.url}/v1/buckets/b?provider=ais"
        requests.post(bucket, json={"action": "create-bck"})
        for number in range(20):
            requests.put(f"{node.url}/v1/objects/b/{number:02}", data=b"x")
        asked = {"action": "list", "value": {"props": "name,location"}}
        listed = requests.get(bucket, json=asked).json()["entries"]
        locations = {entry["name"]: entry["location"] for entry in listed}
        for name, location in locations.items():
            head = requests.head(f"{node.url}/v1/objects/b/{name}?props=location,copies").headers
            assert head["Ais-Location"] == location
            assert location.endswith(f":mp[{head['Ais-Mirror-Paths']}, , ]")
        held = {location.partition(":mp[")[2].partition(",")[0] for location in locations.values()}
        assert held == {str(path) for path in data}
