"""`ais download` and `ais show job` against a real node and a real web server."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    """Small files at full speed, `slow/large`, which takes some seconds, and `crawl/large`: minutes."""
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
        crawl = f"location /crawl/ {{ alias {root}/slow/; limit_rate 10k; }}"
        # nginx sends what a second may carry at once: over several connections that must not be all.
        with running_nginx(root, extra=f"location /slow/ {{ limit_rate 500k; }} {crawl}") as nginx:
            yield nginx.url


def started_job(text: str) -> str:
    found = re.search(r"Started download job (\S+)", text)
    assert found, text
    return found[1]


def test_one_file_arrives_under_its_name(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f001", "ais://nnn", "--wait")
    assert (run.code, run.lines[1:]) == (0, ["File successfully downloaded"])
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
    assert "destination bucket ais://fresh doesn't exist" in run.stderr
    assert ais(node.url, "ls", "ais://fresh", "--count-only").lines == ["1"]


def test_progress_is_live_on_a_terminal(node: RunningNode, web: str) -> None:
    sizes: set[str] = set()
    for attempt in range(5):  # on a machine with much else to do the bar may hardly ever be drawn
        destination = f"ais://nnn/large-{attempt}"
        code, seen = ais_on_terminal(node.url, "download", f"{web}/slow/large", destination, "--progress")
        assert code == 0, seen
        assert "Files downloaded" in seen
        assert "File successfully downloaded" in seen
        # The bar of the one file moved: more than two different sizes were shown on the way.
        sizes |= set(re.findall(r"(\d+\.\d+)MiB/5\.72MiB", seen))
        if len(sizes) > 2:
            break
    assert len(sizes) > 2, seen


def test_progress_without_a_terminal_is_lines(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/slow/large", "ais://nnn/large2", "--progress")
    assert run.code == 0
    assert run.lines[-1] == "File successfully downloaded"
    assert "5.72MiB in " in run.stderr
    assert "1/1 files" in run.stderr
    assert "\x1b" not in run.stderr


def test_a_failed_file_is_told(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/missing", "ais://nnn", "--wait")
    assert run.code == 1
    job_id = started_job(run.text)
    assert run.stderr.splitlines()[-3:] == [
        "Error: 1 file could not be downloaded",
        "  The server has nothing of that name: check the link.",
        f"  Fetch it, when it can go better: ais download repair {job_id}",
    ]
    assert f"failed missing: ErrNotFound: {web}/missing does not exist" in run.stderr
    assert ais(node.url, "job", "wait", job_id).code == 1
    told = ais(node.url, "show", "job", job_id, "--json").json
    assert [failure["name"] for failure in told["failures"]] == ["missing"]


def test_a_job_is_watched_stopped_and_forgotten(node: RunningNode, web: str) -> None:
    run = ais(
        node.url, "download", f"{web}/crawl/large", "ais://nnn/stopped", "--json", "--desc", "to be stopped"
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
    assert (run.text, "was aborted" in run.stderr) == ("", True)
    assert ais(node.url, "get", "ais://nnn/stopped", "-").code == 3
    assert ais(node.url, "job", "rm", job_id).lines == [f'Removed finished download job "{job_id}"']
    assert ais(node.url, "show", "job", job_id).code == 3


def test_a_time_out_leaves_the_job_alone(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/crawl/large", "ais://nnn/a", "--wait", "--timeout", "500ms")
    job_id = started_job(run.text)
    assert run.code == 1
    assert f"timed out: job {job_id} has not finished in 0.5 s; it goes on" in run.stderr
    assert ais(node.url, "show", "job", job_id, "--json").json["state"] == "running"
    assert ais(node.url, "stop", "download", job_id).code == 0


def test_a_wrong_template_is_told(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f{{9..1}}", "ais://nnn")
    assert run.code == 1
    assert "start" in run.stderr


def test_an_unknown_job_is_told(node: RunningNode) -> None:
    for command in (["show", "job"], ["job", "wait"], ["job", "abort"], ["job", "rm"]):
        run = ais(node.url, *command, "dnl-unknown")
        assert run.code == 3, command
        assert "dnl-unknown does not exist" in run.stderr


def interrupted(node: RunningNode, job_id: str, *, twice: bool) -> tuple[int, str]:
    """Follow a job, press Ctrl-C, and if `twice` again when that is offered: exit code, standard error."""
    with subprocess.Popen(
        [PROGRAM, "show", "job", "download", job_id, "--progress", "--progress-interval", "100ms"],
        env=environment(node.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        seen = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        for line in process.stderr:
            seen += line
            if "Press Ctrl-C again" in line:
                break
        if twice:
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert stdout == ""
    assert seen.startswith(f"{job_id}: ")
    return process.returncode, seen + stderr


def test_ctrl_c_leaves_the_job_alone_and_twice_stops_it(node: RunningNode, web: str) -> None:
    job_id = ais(node.url, "download", f"{web}/crawl/large", "ais://nnn/twice", "--json").json["id"]
    code, seen = interrupted(node, job_id, twice=False)
    assert (code, f"Watch it with: ais show job download {job_id} --progress" in seen) == (130, True)
    assert "Traceback" not in seen
    assert ais(node.url, "show", "job", job_id, "--json").json["state"] == "running"
    for _ in range(3):  # it is offered for two seconds only, and this test may be held up for longer
        code, seen = interrupted(node, job_id, twice=True)
        assert code == 130
        if "Stopped" in seen:
            break
    assert seen.endswith(f"Stopped download job {job_id}\n")
    assert ais(node.url, "show", "job", job_id, "--json").json["state"] == "aborted"


def test_a_dry_run_tells_sizes_and_what_is_missing(node: RunningNode, web: str) -> None:
    run = ais(node.url, "download", f"{web}/f{{000..029}}", "ais://dry/set/", "--dry-run")
    assert run.code == 0
    total = sum(map(len, SMALL.values()))
    assert run.lines[1].split() == ["ais://dry/set/f000", "1000B", f"{web}/f000"]
    assert run.lines[-2:] == ["… and 10 more", f"Would download 30 files, {total / 1024:.2f}KiB"]
    assert ais(node.url, "ls", "ais://dry").code == 3  # nothing was made
    run = ais(node.url, "download", f"{web}/f{{028..031}}", "ais://dry", "-n", "--json")
    assert (run.code, run.json["total"], run.json["is_estimate"]) == (1, 4, True)
    assert [failed["name"] for failed in run.json["failed"]] == ["f030", "f031"]


def test_a_list_of_names_and_a_map_of_links(node: RunningNode, web: str) -> None:
    run = ais(
        node.url, "download", web, "ais://nnn/names/", "--from", "-", "--wait", stdin=b'["f001", "f002"]'
    )
    assert (run.code, run.lines[-1]) == (0, "All 2 files successfully downloaded")
    listed = json.dumps({"100% sure?": f"{web}/f003", "dir/b": f"{web}/f004"}).encode()
    run = ais(node.url, "download", "ais://nnn/map", "--object-list", "-", "--wait", stdin=listed)
    assert run.code == 0, run.stderr
    for name, source in (("names/f001", "f001"), ("map/100% sure?", "f003"), ("map/dir/b", "f004")):
        assert ais(node.url, "get", f"ais://nnn/{name}", "-").stdout == SMALL[source]


class _Redirecting(BaseHTTPRequestHandler):
    """Sends everybody from `/go` to another server, and remembers what it was shown."""

    def do_HEAD(self) -> None:
        seen: list[tuple[str, str | None]] = self.server.seen  # type: ignore[attr-defined]
        seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(302 if self.path == "/go" else 200)
        self.send_header("Location", self.server.target)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def redirecting(target: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting)
    server.seen = []  # type: ignore[attr-defined]
    server.target = target  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_dry_run_shows_secrets_to_the_first_host_only(node: RunningNode) -> None:
    with redirecting("") as (other, seen_by_other), redirecting(f"{other}/end") as (first, seen_by_first):
        run = ais(
            node.url, "download", f"{first}/go", "ais://dry", "-n", "-H", "Authorization: secret", "--json"
        )
    assert (run.code, run.json["total_bytes"]) == (0, 12345)
    assert (seen_by_first, seen_by_other) == ([("/go", "secret")], [("/end", None)])


def test_a_dry_run_shows_the_user_of_a_link(node: RunningNode) -> None:
    with redirecting("") as (other, seen_by_other), redirecting(f"{other}/end") as (first, seen_by_first):
        link = first.replace("http://", "http://us%40er:secret@")
        run = ais(node.url, "download", f"{link}/go", "ais://dry", "-n")
    assert (run.code, "secret" in run.text + run.stderr) == (0, False)
    shown = f"Basic {b64encode(b'us@er:secret').decode()}"
    assert (seen_by_first, seen_by_other) == ([("/go", shown)], [("/end", None)])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"garbage\r\n\r\n", "the answer cannot be read: garbage"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "the answer cannot be read: got more than"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://[bad/\r\n\r\n", "the answer cannot be read: Invalid IPv6 URL"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", ""),
    ],
)
def test_a_dry_run_tells_of_answers_that_cannot_be_read(node: RunningNode, answer: bytes, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        link = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        run = ais(node.url, "download", link, "ais://dry", "-n")
        thread.join()
    assert run.code == (1 if told else 0)
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def test_what_went_wrong_is_told_with_what_helps(node: RunningNode) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        link = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        run = ais(node.url, "download", link, "ais://nnn", "-n")
        assert (run.code, "no answer: connection refused" in run.stderr) == (1, True)


def test_what_is_tried_again_is_told_with_its_reason(node: RunningNode) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        link = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        run = ais(node.url, "download", link, "ais://nnn")
        job_id = started_job(run.text)
        reason = "1 file to be tried again: x: cannot connect"
        assert run.code == 0
        # Again and again: for a moment, another attempt may be under way.
        assert any(reason in ais(node.url, "show", "job", job_id).text for _ in range(20))
        assert any(
            reason in ais(node.url, "wait", "download", job_id, "--timeout", "100ms").stderr
            for _ in range(20)
        )
        assert ais(node.url, "stop", "download", job_id).code == 0


def test_a_wrong_checksum_is_told_and_nothing_kept(node: RunningNode, web: str) -> None:
    right, wrong = (hashlib.sha256(SMALL[name]).hexdigest() for name in ("f005", "f006"))
    listed = "".join(
        json.dumps({"link": f"{web}/f005", "name": name, "checksum": f"sha256:{digest}"}) + "\n"
        for name, digest in (("right", right), ("wrong", wrong))
    )
    run = ais(
        node.url,
        *("download", "ais://nnn/sums/", "--list", "-", "--format", "jsonl", "--wait"),
        stdin=listed.encode(),
    )
    assert run.code == 1
    assert f"failed sums/wrong: BAD DATA CHECKSUM: sha256({wrong} != {right})" in run.stderr
    assert "What came is not what was promised, and was not kept" in run.stderr
    assert "1 of 2 files could not be downloaded" in run.stderr
    assert ais(node.url, "ls", "ais://nnn/sums/", "--count-only").lines == ["1"]
    repaired = ais(node.url, "download", "repair", started_job(run.text))
    assert (repaired.code, "BAD DATA CHECKSUM" in repaired.stderr) == (1, True)


def test_no_node_is_told(web: str) -> None:
    run = ais("http://127.0.0.1:1", "download", f"{web}/f001", "ais://nnn")
    assert run.code == 4
    assert "Start one here with: aisnode" in run.stderr


def test_an_address_that_is_refused_is_told_and_how_to_allow_it(node: RunningNode) -> None:
    run = ais(node.url, "download", "http://169.254.169.254/latest/meta-data", "ais://nnn", "--wait")
    assert run.code == 1
    assert "egress to 169.254.169.254 (metadata address) is refused" in run.stderr
    assert "egress.allow" in run.stderr
    assert "The node's administrator decides that" in run.stderr
