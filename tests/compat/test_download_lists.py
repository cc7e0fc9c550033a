"""Lists of downloads sent to a real node: streamed in, checked whole, fetched, and gone with their job."""

import hashlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.listings import Site, running_site
from support.native import NativeClient
from support.node import RunningNode, running_node

EPOCH = "1970-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    # What is not as it must be is asked for again, which takes its time.
    with running_node(config="[download]\nretries_max = 0\n") as running:
        yield running


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def send(node: RunningNode, *lines: object, **request: object) -> tuple[int, Any]:
    """Ask for a list job, its body in chunks; status and answer."""
    told = {"type": "list", "bucket": {"name": "b"}, **request}

    def encoded() -> Iterable[bytes]:
        for line in (told, *lines):
            yield line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"

    connection = http.client.HTTPConnection(node.host, node.port, timeout=60)
    try:
        connection.request(
            "POST",
            "/v1/download",
            body=encoded(),
            headers={"Content-Type": "application/x-ndjson"},
            encode_chunked=True,
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ended(node: RunningNode, job_id: str) -> dict[str, Any]:
    return until(node, job_id, lambda status: bool(status["finished_time"] != EPOCH))


def until(node: RunningNode, job_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    client = NativeClient(node.host, node.port)
    end_s = time.monotonic() + 100
    while True:
        answer = client.request("GET", "/v1/download", body=json.dumps({"id": job_id}).encode())
        status: dict[str, Any] = json.loads(answer.body)
        if holds(status):
            return status
        assert time.monotonic() < end_s, status
        time.sleep(0.02)


def content(node: RunningNode, name: str) -> bytes:
    return NativeClient(node.host, node.port).get("b", name).body


def lists(node: RunningNode) -> list[str]:
    return sorted(path.name for folder in node.data for path in Path(folder, "lists").glob("*"))


def test_a_list_is_fetched(node: RunningNode, site: Site) -> None:
    bodies = {f"/f{number}": os.urandom(number) for number in range(300)}
    site.pages.update(bodies)
    items: list[dict[str, object]] = [
        {"link": f"{site.url}/f{number}", "name": f"n {number}%20.bin"} for number in range(299)
    ]
    good = f"sha256:{hashlib.sha256(bodies['/f299']).hexdigest()}"
    items.append({"link": f"{site.url}/f299", "checksum": good, "size": 299})
    status, answer = send(node, *items, subdir="in", description="of the test")
    assert status == 200, answer
    told = ended(node, answer["id"])
    assert (told["total"], told["finished_cnt"], told["error_cnt"]) == (300, 300, 0)
    assert told["description"] == "of the test"
    assert content(node, "in/n 7%20.bin") == bodies["/f7"]
    assert content(node, "in/f299") == bodies["/f299"]


def test_a_checksum_that_is_given_decides(node: RunningNode, site: Site) -> None:
    site.pages.update({"/x": b"x", "/y": b"y"})
    wrong = f"sha256:{'0' * 64}"
    status, answer = send(
        node, {"link": f"{site.url}/x", "checksum": wrong}, {"link": f"{site.url}/y", "size": 2}
    )
    assert status == 200, answer
    told = ended(node, answer["id"])
    assert (told["finished_cnt"], told["error_cnt"]) == (0, 2)
    assert NativeClient(node.host, node.port).get("b", "x").status == 404


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([{"link": "http://h/a"}, {"link": "ftp://h/a"}], 'line 3: link "ftp://h/a"'),
        ([{"link": "http://h/a"}, b"{\n"], "line 3: "),
        ([{"link": "http://h/a"}, {"link": "http://g/a"}], 'items 1 ("http://h/a") and 2 ("http://g/a")'),
        ([], "the list is empty"),
        ([{"link": "http://h/a", "name": "../x"}], "line 2: "),
    ],
)
def test_a_list_is_checked_whole_before_it_is_accepted(
    node: RunningNode, lines: list[object], reason: str
) -> None:
    before = lists(node)
    status, answer = send(node, *lines)
    assert status == 400
    assert reason in answer["message"]
    assert lists(node) == before


def test_a_list_has_its_own_form(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)
    request = {"type": "list", "bucket": {"name": "b"}}
    answer = client.request("POST", "/v1/download", body=json.dumps(request).encode())
    assert (answer.status, "application/x-ndjson" in answer.body.decode()) == (400, True)
    status, told = send(node, {"link": "http://h/a"}, type="single", link="http://h/x")
    assert (status, 'type "list"' in told["message"]) == (400, True)


def test_a_client_that_goes_away_leaves_nothing(node: RunningNode) -> None:
    before = lists(node)
    connection = http.client.HTTPConnection(node.host, node.port, timeout=60)
    connection.putrequest("POST", "/v1/download")
    connection.putheader("Content-Type", "application/x-ndjson")
    connection.putheader("Content-Length", "100000")
    connection.endheaders()
    connection.send(b'{"type": "list", "bucket": {"name": "b"}}\n{"link": "http://h/a"}\n')
    end_s = time.monotonic() + 100
    while lists(node) == before:
        assert time.monotonic() < end_s, "no list was begun"
        time.sleep(0.01)
    connection.close()
    while lists(node) != before:
        assert time.monotonic() < end_s, "it is still there"
        time.sleep(0.01)


@pytest.mark.timeout(600)  # job workers start at the lowest priority: slowly beside others
def test_a_list_survives_kills_and_goes_with_its_job(site: Site) -> None:
    count = 300
    site.pages.update({f"/f{number}": str(number).encode() * 50 for number in range(count)})
    site.held = {f"/f{number}" for number in range(100, count)}
    items = [{"link": f"{site.url}/f{number}"} for number in range(count)]
    with running_node() as node:
        status, answer = send(node, *items, limits={"connections": 4})
        assert status == 200, answer
        job_id = answer["id"]
        until(node, job_id, lambda told: told["finished_cnt"] == 100)
        node.kill("jobs")
        site.wait_for("/f100", times=2)
        node.kill("all")
        node.restart()
        site.release()
        told = ended(node, job_id)
        assert (told["total"], told["finished_cnt"], told["error_cnt"]) == (count, count, 0)
        assert content(node, f"f{count - 1}") == str(count - 1).encode() * 50
        assert len(lists(node)) == 1
        removed = NativeClient(node.host, node.port).request(
            "DELETE", "/v1/download/remove", body=json.dumps({"id": job_id}).encode()
        )
        assert removed.status == 200
        end_s = time.monotonic() + 100
        while lists(node):
            assert time.monotonic() < end_s, "the list of a removed job is still there"
            time.sleep(0.05)


def test_a_list_that_is_lost_ends_its_job(site: Site) -> None:
    site.pages["/x"] = (503, {})
    with running_node() as node:
        status, answer = send(node, {"link": f"{site.url}/x"})
        assert status == 200
        node.kill("all")
        for name in lists(node):
            Path(node.data[0], "lists", name).unlink()
        node.restart()
        told = ended(node, answer["id"])
        assert "cannot be read" in told["download_errors"][0]["error"]
