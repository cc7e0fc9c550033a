"""Downloads by a real node from a real nginx, killed in the middle: the job goes on, nothing is torn."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.faulty_bucket import NAME, faulty_bucket
from support.folders import files_below
from support.held_file import held_file
from support.native import NativeClient
from support.nginx import RunningNginx, running_nginx
from support.node import RunningNode, running_node
from support.processes import wait_until

# Job workers start at the lowest priority: slowly beside others.
pytestmark = [pytest.mark.program("nginx"), pytest.mark.timeout(300)]

FILES = 2_000
BIG_BYTES = 60_000_000
EPOCH = "1970-01-01T00:00:00Z"
PART_BYTES = 4 * 1024 * 1024
CONFIG = f"[download]\npart_bytes = {PART_BYTES}\n"
# Slow enough to be killed in the middle.
SLOW = """
    location /slow/ { limit_rate 12m; alias %s/; }
    location / { limit_rate 100k; }
    error_log %s/error.log;
"""


@pytest.fixture(scope="module")
def source() -> Iterator[RunningNginx]:
    # Not below pytest's own folder: the next session to start anywhere makes that private again, and
    # nginx's worker, which is another user, then cannot read it.
    with tempfile.TemporaryDirectory(prefix="downloader-source-") as name:
        root = Path(name)
        root.chmod(0o755)
        for number in range(FILES):
            (root / f"o{number:04d}").write_bytes(content(number))
        (root / "big").write_bytes(big())
        logs = root / "logs"
        logs.mkdir()
        with running_nginx(root, extra=SLOW % (root, logs)) as server:
            yield server


def content(number: int) -> bytes:
    return hashlib.sha512(str(number).encode()).digest() * (number % 400)


def big() -> bytes:
    block = hashlib.shake_256(b"big").digest(1_000_003)
    return (block * (BIG_BYTES // len(block) + 1))[:BIG_BYTES]


class Api:
    """The downloader's API of a node, on whichever port it listens now."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        client = NativeClient(self.node.host, self.node.port)
        answer = client.request(method, path, body=b"" if body is None else json.dumps(body).encode())
        text = answer.body.decode()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    def start(self, **body: object) -> str:
        status, answer = self.call("POST", "/v1/download", {"bucket": {"name": "b"}, **body})
        assert status == 200, answer
        return str(answer["id"])

    def status(self, job_id: str) -> dict[str, Any]:
        status, answer = self.call("GET", "/v1/download", {"id": job_id})
        assert status == 200, answer
        return dict(answer)

    def until(
        self, job_id: str, holds: Callable[[dict[str, Any]], bool], *, within_s: float = 200.0
    ) -> dict[str, Any]:
        end_s = time.monotonic() + within_s
        while not holds(status := self.status(job_id)):
            assert time.monotonic() < end_s, status
            assert status["state"] == "running", status.get("download_errors")
            time.sleep(0.02)
        return status

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, lambda status: status["finished_time"] != EPOCH)

    def content(self, name: str) -> bytes:
        client = NativeClient(self.node.host, self.node.port)
        answer = client.request("GET", f"/v1/objects/b/{name}?provider=ais")
        assert answer.status == 200, name
        return answer.body


def kill_and_recover(node: RunningNode, victim: str) -> None:
    if victim == "jobs":
        before = node.children("jobs")
        assert node.kill("jobs") == before
        return
    node.kill(victim)
    node.restart()


@pytest.mark.parametrize("victim", ["all"])
def test_a_range_survives_kills(source: RunningNginx, victim: str) -> None:
    with running_node(config=CONFIG) as node:
        api = Api(node)
        # At this rate the job takes some ten seconds, so that it is killed in the middle for sure.
        per_hour = sum(len(content(number)) for number in range(FILES)) * 360
        job_id = api.start(
            type="range",
            template=f"{source.url}/slow/o{{0000..{FILES - 1}}}",
            limits={"connections": 8, "bytes_per_hour": per_hour},
        )
        for share in (0.1, 0.5):
            api.until(job_id, lambda status, share=share: status["finished_cnt"] >= share * FILES)
            assert api.status(job_id)["finished_cnt"] < FILES
            if victim == "committer":
                node.kill("committer")
            else:
                kill_and_recover(node, victim)
        status = api.ended(job_id)
        assert (status["finished_cnt"], status["error_cnt"], status["total"]) == (FILES, 0, FILES)
        assert status["bytes"] == sum(len(content(number)) for number in range(FILES))
        assert not status["aborted"]
        for number in range(FILES):
            assert api.content(f"o{number:04d}") == content(number)


@pytest.mark.parametrize("victim", ["all"])
def test_a_second_run_survives_kills_and_its_counts_add_up(source: RunningNginx, victim: str) -> None:
    files, folder = 400, source.root / f"again-{victim}"
    folder.mkdir()
    bodies = {number: content(number) + b"first" for number in range(files)}
    for number, body in bodies.items():
        (folder / f"o{number:03d}").write_bytes(body)
    with running_node(config=CONFIG) as node:
        api = Api(node)
        template = f"{source.url}/slow/again-{victim}/o{{000..{files - 1}}}"
        api.ended(api.start(type="range", template=template))
        for number in range(0, files, 2):
            bodies[number] = content(number) + b"second, and longer"
            (folder / f"o{number:03d}").write_bytes(bodies[number])
        # What is fetched again takes some five seconds, so that the job is killed in the middle for sure.
        per_hour = sum(len(bodies[number]) for number in range(0, files, 2)) * 720
        limits = {"connections": 8, "bytes_per_hour": per_hour}
        job_id = api.start(type="range", template=template, limits=limits)
        for share in (0.2, 0.5):
            # Those that are skipped are done in no time; these are held to their pace.
            api.until(job_id, lambda status, share=share: status["updated_cnt"] >= share * files / 2)
            kill_and_recover(node, victim)
        status = api.ended(job_id)
        assert (status["finished_cnt"], status["error_cnt"], status["total"]) == (files, 0, files)
        assert (status["skipped_cnt"], status["updated_cnt"]) == (files // 2, files // 2)
        assert status["bytes"] == sum(len(bodies[number]) for number in range(0, files, 2))
        for number, body in bodies.items():
            assert api.content(f"o{number:03d}") == body


@pytest.mark.parametrize("victim", ["jobs"])
def test_a_big_file_goes_on_by_range_after_kills(victim: str) -> None:
    with (
        held_file(big()) as source,
        running_node(config=CONFIG + "connections_per_object_max = 1\n") as node,
    ):
        api = Api(node)
        job_id = api.start(type="single", link=source.url, object_name="big")
        for share in (0.5, 0.8):
            limit = int(share * BIG_BYTES)
            source.let(limit)
            api.until(job_id, lambda status, limit=limit: status["bytes"] >= limit)
            # All but the part that fills, and perhaps the one before it.
            assert wait_until(
                lambda limit=limit: stored_bytes(node) >= limit - 2 * PART_BYTES, timeout_s=100, poll_s=0.02
            )
            kill_and_recover(node, victim)
            status, _ = api.call("HEAD", "/v1/objects/b/big?provider=ais")
            assert status == 404  # nothing half-downloaded is visible
        source.release()
        status = api.ended(job_id)
        assert (status["finished_cnt"], status["error_cnt"]) == (1, 0)
        assert api.content("big") == big()
        assert [sent.status for sent in source.sent] == [200, 206, 206]
        # Fetched again at each kill: the part that fills, the one that is committed, and what is queued.
        # Beginning again would be 78 million bytes for both.
        assert sum(sent.bytes for sent in source.sent) <= BIG_BYTES + 2 * (2 * PART_BYTES + 6 * 1024**2)


def test_a_big_object_of_a_provider_goes_on_by_range_after_a_kill() -> None:
    with faulty_bucket() as source:
        account = {"AWS_ENDPOINT_URL": source.url, "AWS_REGION": "us-east-1"}
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
        source.objects["big"] = big()
        limit = BIG_BYTES // 2
        source.hold("big", limit)
        config = CONFIG + "connections_per_object_max = 1\n"
        with running_node(config=config, env={**account, **keys}) as node:
            api = Api(node)
            assert api.call("HEAD", f"/v1/objects/{NAME}/big?provider=aws")[0] == 200
            job_id = api.start(type="single", link=f"s3://{NAME}/big", object_name="big")
            api.until(job_id, lambda status: status["bytes"] >= limit)
            assert wait_until(
                lambda: stored_bytes(node) >= limit - 2 * PART_BYTES, timeout_s=100, poll_s=0.02
            )
            kill_and_recover(node, "jobs")
            source.go_on.set()
            status = api.ended(job_id)
            assert (status["finished_cnt"], status["error_cnt"]) == (1, 0)
            assert api.content("big") == big()
            first, second = source.gets("big")
            assert first == 0
            # Fetched again: the part that fills, the one that is committed, and what is queued.
            assert limit - 2 * PART_BYTES - 6 * 1024**2 <= second <= limit


def stored_bytes(node: RunningNode) -> int:
    """Bytes of files that were finished, be they parts or objects."""
    return sum(file.stat().st_size for folder in node.data for file in files_below(folder / "data"))


def test_a_big_file_over_many_connections_goes_on_after_a_kill() -> None:
    with held_file(big(), bytes_per_second=2_000_000) as source, running_node(config=CONFIG) as node:
        api = Api(node)
        source.let(int(0.75 * BIG_BYTES))
        job_id = api.start(type="single", link=source.url, object_name="big")
        # So much has come that connections beside the first have brought whole parts.
        api.until(job_id, lambda status: status["bytes"] >= 0.6 * BIG_BYTES)
        kill_and_recover(node, "jobs")
        status, _ = api.call("HEAD", "/v1/objects/b/big?provider=ais")
        assert status == 404
        source.release()
        status = api.ended(job_id)
        assert (status["finished_cnt"], status["error_cnt"]) == (1, 0)
        assert api.content("big") == big()
        statuses = [sent.status for sent in source.sent]
        # How much was durable by then is up to the disk; which bytes are asked for then is tried without one.
        assert statuses.count(200) <= 2
        assert statuses.count(206) == len(statuses) - statuses.count(200) > 2


def test_the_api_as_recorded(source: RunningNginx) -> None:
    with running_node() as node:
        api = Api(node)
        assert api.call("GET", "/v1/download") == (200, [])
        assert api.call("GET", "/v1/download", {}) == (200, [])
        status, answer = api.call("GET", "/v1/download", {"id": "nosuch"})
        assert (status, answer["tcode"]) == (404, "ErrNotFound")
        assert answer["message"].endswith("]: download job nosuch does not exist")
        for body, message in (
            (
                {"type": "zzz"},
                "input does not match any of the supported formats (single, range, multi, backend)",
            ),
            ({"type": "single", "object_name": "one"}, "missing 'link' in the request body"),
            (
                {"type": "range", "template": "http://h/o{0004..0000}"},
                (
                    "errTemplateInvalid: invalid 'bash' template \"http://h/o{0004..0000}\": "
                    "'start' cannot be greater than 'end'"
                ),
            ),
        ):
            status, answer = api.call("POST", "/v1/download", {"bucket": {"name": "b"}, **body})
            assert (status, answer["message"]) == (400, f"Error starting download: {message}")
        job_id = api.start(type="single", link=f"{source.url}/big", description="slow one")
        assert job_id.startswith("dnl-")
        status, answer = api.call("DELETE", "/v1/download/remove", {"id": job_id})
        assert (status, answer["message"]) == (400, f'job "{job_id}" is still running')
        assert [job["id"] for job in api.call("GET", "/v1/download", {"regex": "^slow"})[1]] == [job_id]
        assert api.call("GET", "/v1/download?regex=fast")[1] == []
        assert api.call("GET", f"/v1/download?id={job_id}")[1]["id"] == job_id
        status, answer = api.call("GET", "/v1/download", {"id": job_id, "regex": "x"})
        assert (status, "mutually exclusive" in answer["message"]) == (400, True)
        assert api.call("DELETE", "/v1/download/abort", {"id": job_id})[0] == 200
        assert api.status(job_id)["aborted"]
        assert api.call("GET", "/v1/download", {"only_active_tasks": True})[1] == []
        assert api.call("DELETE", "/v1/download/remove", {"id": job_id})[0] == 200
        assert api.call("DELETE", "/v1/download/remove", {"id": job_id})[0] == 404
        assert api.call("DELETE", "/v1/download/abort", {})[1]["message"] == "UUID not specified"
        assert api.call("POST", "/v1/download", {"type": "backend", "bucket": {"name": "b"}})[0] == 400


def test_progress_moves_in_every_worker() -> None:
    with held_file(big()) as source, running_node(workers=3) as node:
        api = Api(node)
        job_id = api.start(type="single", link=source.url, object_name="big")
        seen: list[int] = []
        took_s: list[float] = []
        for step in range(1, 41):
            began_s = time.monotonic()
            source.let(step * 1_000_000)
            while not seen or seen[-1] < step * 1_000_000:
                assert time.monotonic() - began_s < 60, seen
                seen.append(api.status(job_id)["bytes"])
                time.sleep(0.01)
            took_s.append(time.monotonic() - began_s)
            # Whichever worker is asked.
            seen += [api.status(job_id)["bytes"] for _ in range(12)]
            # At least twice a second; what else this machine has to do may hold up some of them.
            if step >= 10 and min(took_s) < 0.5:
                break
        assert seen == sorted(seen)
        assert min(took_s) < 0.5, took_s
        source.release()
        status = api.ended(job_id)
        assert status["finished_cnt"] == 1, status.get("download_errors")


def test_a_node_that_others_can_reach_does_not_reach_inwards(source: RunningNginx) -> None:
    anywhere = ("--insecure", "--listen", "0.0.0.0:0")
    with running_node(args=anywhere) as node:
        api = Api(node)
        job_id = api.start(type="single", link=f"{source.url}/o0001")
        status = api.ended(job_id)
        assert status["error_cnt"] == 1
        assert "set egress.allow_loopback = true" in status["download_errors"][0]["error"]
    with running_node(args=anywhere, config="[egress]\nallow_loopback = true\n") as node:
        api = Api(node)
        assert api.ended(api.start(type="single", link=f"{source.url}/o0001"))["error_cnt"] == 0
