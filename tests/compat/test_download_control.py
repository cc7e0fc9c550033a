"""Following, resting, verifying and repairing downloads of a real node, through its API and `ais`."""

import http.client
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.ais import ais
from support.folders import files_below
from support.listings import Site, running_site
from support.native import NativeClient
from support.nginx import RunningNginx, running_nginx
from support.node import RunningNode, running_node

pytestmark = pytest.mark.program("nginx")

FILES = 300
LARGE_BYTES = 200_000


@pytest.fixture(scope="module")
def source() -> Iterator[RunningNginx]:
    with tempfile.TemporaryDirectory(prefix="downloader-control-") as name:
        root = Path(name)
        root.chmod(0o755)
        for number in range(FILES):
            (root / f"o{number:03d}").write_bytes(os.urandom(1000))
        for number in range(3):
            (root / f"large{number}").write_bytes(os.urandom(LARGE_BYTES))
        with running_nginx(root) as server:
            yield server


@pytest.fixture
def site() -> Iterator[Site]:
    """A hundred small files, each held until it is let go."""
    with running_site() as running:
        running.pages = {path(number): os.urandom(1000) for number in range(100)}
        running.held = set(running.pages)
        yield running


def path(number: int) -> str:
    return f"/o{number:03d}"


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(workers=2) as running:
        yield running


def call(node: RunningNode, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    client = NativeClient(node.host, node.port)
    answer = client.request(method, path, body=b"" if body is None else json.dumps(body).encode())
    return answer.status, answer.body


def started(node: RunningNode, template: str, *, bucket: str, **more: object) -> str:
    body = {"type": "range", "bucket": {"name": bucket}, "template": template, **more}
    status, answer = call(node, "POST", "/v1/download", body)
    assert status == 200, answer
    return str(json.loads(answer)["id"])


def until(node: RunningNode, job_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end_s = time.monotonic() + 100
    while True:
        told: dict[str, Any] = json.loads(call(node, "GET", f"/v1/download?id={job_id}")[1])
        if holds(told):
            return told
        assert time.monotonic() < end_s, told
        time.sleep(0.05)


def manifest(node: RunningNode, job_id: str) -> list[dict[str, Any]]:
    status, answer = call(node, "GET", f"/v1/download/manifest?id={job_id}")
    assert status == 200
    return [json.loads(line) for line in answer.splitlines()]


def slowly(bytes_per_second: int) -> dict[str, object]:
    return {"limits": {"connections": 2, "bytes_per_hour": 3600 * bytes_per_second}}


def next_event(answer: http.client.HTTPResponse) -> tuple[str, dict[str, Any]]:
    """The next event of a stream: its first line, and what it tells."""
    lines: list[str] = []
    while True:
        line = answer.readline().decode()
        assert line, "the stream ends without its end"
        if line == "\n" and lines:
            name, data = lines
            return name, json.loads(data.removeprefix("data: "))
        if line != "\n" and not line.startswith(":"):
            lines.append(line.rstrip("\n"))


def test_followers_on_every_worker_hear_of_it_until_the_end(node: RunningNode, site: Site) -> None:
    job_id = started(node, f"{site.url}/o{{000..099}}", bucket="followed")
    answers = []
    for _ in range(6):  # the two workers share new connections evenly
        connection = http.client.HTTPConnection(node.host, node.port, timeout=60)
        connection.request("GET", f"/v1/download?id={job_id}&follow=1")
        answers.append(connection.getresponse())
    # One goes away in the middle; nobody minds.
    answers.pop().close()
    heard = [[next_event(answer)] for answer in answers]
    site.release(*map(path, range(50)))
    for answer, events in zip(answers, heard, strict=True):
        while events[-1][1]["finished_cnt"] < 50:
            events.append(next_event(answer))
    site.release()
    for answer, events in zip(answers, heard, strict=True):
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
        while events[-1][0] != "event: end":
            events.append(next_event(answer))
        assert answer.read().strip() == b""
        assert {name for name, _ in events[:-1]} == {"event: status"}
        told = [job for _, job in events]
        counts = [job["finished_cnt"] for job in told]
        assert counts == sorted(counts)
        assert counts[-1] == 100
        assert len(counts) > 2
        assert told[-1]["state"] == "finished"


def test_a_node_that_is_told_to_end_does_not_wait_for_followers(source: RunningNginx) -> None:
    with running_node(config="shutdown_grace_s = 110\n") as ending:
        job_id = started(ending, f"{source.url}/o{{000..199}}", bucket="b", **slowly(1_000))
        connection = http.client.HTTPConnection(ending.host, ending.port, timeout=60)
        connection.request("GET", f"/v1/download?id={job_id}&follow=1")
        answer = connection.getresponse()
        assert answer.readline().startswith(b"event: status")
        began_s = time.monotonic()
        assert ending.stop() == 0
        assert time.monotonic() - began_s < 60  # far below its grace
        answer.read()


def test_kills_leave_the_manifest_in_step_with_the_job(site: Site) -> None:
    with running_node() as killed:
        job_id = started(killed, f"{site.url}/o{{000..099}}", bucket="b")
        site.release(*map(path, range(20)))
        # One more at a time, until one has come that is not in the manifest yet.
        for number in range(20, 90):
            site.release(path(number))
            told = until(killed, job_id, lambda told, number=number: told["finished_cnt"] > number)
            if told["finished_cnt"] > len(manifest(killed, job_id)):
                break
        else:
            raise AssertionError("the manifest is never behind")
        killed.kill()
        killed.restart()
        items = [entry["item"] for entry in manifest(killed, job_id)]
        assert len(set(items)) == len(items)
        call(killed, "PUT", "/v1/download/pause", {"id": job_id})
        killed.kill()
        killed.restart()
        assert until(killed, job_id, lambda _: True)["state"] == "paused"
        call(killed, "PUT", "/v1/download/resume", {"id": job_id})
        site.release()
        told = until(killed, job_id, lambda told: told["state"] != "running")
        assert (told["finished_cnt"], told["error_cnt"]) == (100, 0)
        assert sorted(entry["item"] for entry in manifest(killed, job_id)) == list(range(100))


def test_damage_on_the_disk_is_found_and_repaired(node: RunningNode, source: RunningNginx) -> None:
    job_id = started(node, f"{source.url}/large{{0..2}}", bucket="damaged")
    until(node, job_id, lambda told: told["state"] == "finished")
    good = ais(node.url, "download", "verify", job_id)
    assert (good.code, good.text) == (0, "Verified 3 files (585.94KiB): all are what was stored\n")
    wanted = call(node, "GET", "/v1/objects/damaged/large1?provider=ais")[1]
    flip(node, wanted)
    assert call(node, "DELETE", "/v1/objects/damaged/large2?provider=ais")[0] in (200, 204)
    bad = ais(node.url, "download", "verify", job_id)
    assert bad.code == 1
    assert "Bad: 2 of 3 files" in bad.text
    assert "large1: checksum: " in bad.stderr
    assert "large2: missing: " in bad.stderr
    repaired = ais(node.url, "download", "repair", job_id)
    assert repaired.code == 0, repaired
    assert ais(node.url, "download", "verify", job_id).code == 0
    assert call(node, "GET", "/v1/objects/damaged/large1?provider=ais")[1] == wanted
    assert "Nothing to repair" in ais(node.url, "download", "repair", job_id).text


def flip(node: RunningNode, payload: bytes) -> None:
    """Change a byte of the file that holds this payload, as a bad disk does."""
    for file in files_below(*(folder / "data" for folder in node.data)):
        at = file.read_bytes().find(payload)
        if at >= 0:
            with file.open("r+b") as opened:
                opened.seek(at + 1000)
                opened.write(bytes([payload[1000] ^ 1]))
            return
    raise AssertionError("no file holds it")


def test_what_a_stopped_job_had_not_come_to_is_told_and_fetched(node: RunningNode, site: Site) -> None:
    job_id = started(node, f"{site.url}/o{{000..009}}", bucket="stopped", limits={"connections": 1})
    site.wait_for(path(0))
    assert ais(node.url, "stop", "download", job_id).code == 0
    until(node, job_id, lambda told: told["state"] == "aborted")
    site.release()
    # That it is over is told at once, what it leaves a moment later.
    end_s = time.monotonic() + 60
    while (told := ais(node.url, "download", "verify", job_id)).code == 0:
        assert time.monotonic() < end_s
    assert told.text == "Bad: 10 of 10 files (0B) (10 failed)\n"
    assert ais(node.url, "download", "repair", job_id).code == 0
    assert NativeClient(node.host, node.port).get("stopped", "o009").body == site.pages[path(9)]


def test_a_folder_that_could_not_be_walked_through_has_nothing_to_verify(
    node: RunningNode, site: Site
) -> None:
    body = {"type": "index", "bucket": {"name": "none"}, "link": f"{site.url}/none/"}
    job_id = json.loads(call(node, "POST", "/v1/download", body)[1])["id"]
    until(node, job_id, lambda told: told["state"] == "aborted")
    told = ais(node.url, "download", "verify", job_id)
    assert (told.code, told.text) == (0, "Verified 0 files (0B): all are what was stored\n")


def test_the_command_line_writes_the_manifest(
    node: RunningNode, source: RunningNginx, tmp_path: Path
) -> None:
    job_id = started(node, f"{source.url}/o{{000..019}}", bucket="told")
    until(node, job_id, lambda told: told["state"] == "finished")
    result = ais(node.url, "job", "manifest", job_id)
    rows = [json.loads(line) for line in result.lines]
    assert rows == manifest(node, job_id)
    assert {row["object"] for row in rows} == {f"o{number:03d}" for number in range(20)}
    paused = ais(node.url, "download", "pause", job_id)
    assert (paused.code != 0, "has ended" in paused.stderr) == (True, True)
