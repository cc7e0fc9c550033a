"""`ais download` and `ais show job` against a real node and a real web server."""

import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ais import PROGRAM, ais, ais_on_terminal, environment
from support.nginx import running_nginx
from support.node import RunningNode, running_node

pytestmark = pytest.mark.program("nginx")

SMALL = {f"f{number:03}": os.urandom(1000 + number) for number in range(30)}
LARGE_BYTES = 6_000_000


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        assert ais(running.url, "create", "nnn").code == 0
        yield running


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """Small files at full speed, and `slow/large`, which takes some seconds."""
    # Not below pytest's own folders, which are closed to nginx's worker: another user.
    with tempfile.TemporaryDirectory(prefix="aisle-web-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name, data in SMALL.items():
            (root / name).write_bytes(data)
        (root / "slow").mkdir()
        (root / "slow").chmod(0o755)
        (root / "slow" / "large").write_bytes(os.urandom(LARGE_BYTES))
        for file in root.rglob("*"):
            if file.is_file():
                file.chmod(0o644)
        with running_nginx(root, extra="location /slow/ { limit_rate 1500k; }") as nginx:
            yield nginx.url


def started_job(text: str) -> str:
    found = re.search(r"Started download job (\S+)", text)
    assert found, text
    return found[1]


def test_one_file_arrives_under_its_name(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f001", "ais://nnn", "--wait")
    assert (run.code, run.lines[1].partition(" (")[0]) == (0, "Done: 1 file downloaded")
    assert ais(node.url, "get", "ais://nnn/f001", "-").stdout == SMALL["f001"]
    assert ais(node.url, "start", "download", f"{web}/f002", "ais://nnn/dir/", "--wait").code == 0
    assert ais(node.url, "get", "ais://nnn/dir/f002", "-").stdout == SMALL["f002"]
    assert ais(node.url, "download", f"{web}/f003", "ais://nnn/other", "--wait").code == 0
    assert ais(node.url, "get", "ais://nnn/other", "-").stdout == SMALL["f003"]


def test_a_template_arrives_whole(node: RunningNode, web: str, tmp_path: Path) -> None:
    run = ais(node.url, "download", f"{web}/f{{000..029}}", "ais://nnn/set/", "--wait", "--json")
    assert run.code == 0
    assert (run.json["state"], run.json["done"], run.json["total"]) == ("finished", 30, 30)
    assert ais(node.url, "get", "-r", "ais://nnn/set/", str(tmp_path)).code == 0
    found = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    assert found == {name: hashlib.sha256(data).digest() for name, data in SMALL.items()}


def test_a_missing_bucket_is_created(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f001", "ais://fresh", "--wait")
    assert run.code == 0
    assert "ais://fresh does not exist: it is created" in run.stderr
    assert ais(node.url, "ls", "ais://fresh", "--count-only").lines == ["1"]


def test_progress_is_live_on_a_terminal(node: RunningNode, web: str) -> None:
    code, seen = ais_on_terminal(node.url, "download", f"{web}/slow/large", "ais://nnn/large", "--progress")
    assert code == 0, seen
    assert "Files downloaded" in seen
    # The bar of the one file moved: more than two different sizes were shown on the way.
    sizes = set(re.findall(r"(\d+\.\d+)MiB/5\.72MiB", seen))
    assert len(sizes) > 2, seen
    assert "Done: 1 file downloaded" in seen


def test_progress_without_a_terminal_is_lines(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/slow/large", "ais://nnn/large2", "--progress")
    assert run.code == 0
    assert run.lines[-1].startswith("Done: 1 file downloaded (5.72MiB in ")
    assert "1/1 files" in run.stderr
    assert "\x1b" not in run.stderr


def test_a_failed_file_is_told(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/missing", "ais://nnn", "--wait")
    assert run.code == 1
    assert "1 error" in run.lines[-1]
    assert "missing" in run.stderr
    job_id = started_job(run.text)
    assert ais(node.url, "job", "wait", job_id).code == 1
    told = ais(node.url, "show", "job", job_id, "--json").json
    assert [failure["name"] for failure in told["failures"]] == ["missing"]


def test_a_job_is_watched_stopped_and_forgotten(node: RunningNode, web: str) -> None:
    run = ais(
        node.url, "download", f"{web}/slow/large", "ais://nnn/stopped", "--json", "--desc", "to be stopped"
    )
    job_id = run.json["id"]
    lines = ais(node.url, "show", "job").lines
    assert lines[0].split() == ["JOB", "ID", "STATUS", "ERRORS", "DESCRIPTION"]
    assert [job_id, "1", "pending", "0", "to", "be", "stopped"] in [line.split() for line in lines]
    refused = ais(node.url, "job", "rm", job_id)
    assert refused.code == 1
    assert "still running" in refused.stderr
    assert ais(node.url, "job", "abort", job_id).lines == [f"Stopped download job {job_id}"]
    run = ais(node.url, "job", "wait", job_id)
    assert run.code == 1
    assert run.text.startswith("Aborted: 0 files downloaded")
    assert ais(node.url, "get", "ais://nnn/stopped", "-").code == 3
    assert ais(node.url, "job", "rm", job_id).lines == [f'Removed finished download job "{job_id}"']
    assert ais(node.url, "show", "job", job_id).code == 3


def test_time_out_and_ctrl_c_leave_the_job_alone(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/slow/large", "ais://nnn/a", "--timeout", "500ms")
    assert run.code == 1
    assert "it goes on" in run.stderr
    with subprocess.Popen(
        [PROGRAM, "wait", "download", started_job(run.text)],
        env=environment(node.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"goes on in the node" in stderr
    assert b"Traceback" not in stderr
    assert ais(node.url, "job", "wait", started_job(run.text)).code == 0


def test_a_wrong_template_is_told(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f{{9..1}}", "ais://nnn")
    assert run.code == 1
    assert "start" in run.stderr


def test_an_unknown_job_is_told(node: RunningNode) -> None:
    for command in (["show", "job"], ["job", "wait"], ["job", "abort"], ["job", "rm"]):
        run = ais(node.url, *command, "dnl-unknown")
        assert run.code == 3, command
        assert "dnl-unknown does not exist" in run.stderr
