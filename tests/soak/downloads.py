"""Download jobs for the kill rounds: each must end by itself, whatever was killed meanwhile."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from support.content import payload
from support.load import Address
from support.native import CONNECTION_ERRORS, Answer, NativeClient
from support.oracle import Operation, Oracle

SMALL_FILES = 30
LARGE_FILES = 2
KEPT_JOBS = 3  # what older jobs fetched is deleted again, which is load too
LARGE_BYTES = 6 * 1024 * 1024
STREAMED_BYTES = 64 * 1024 * 1024
"""Takes so long that a node opens more connections for it, each with a range of its own."""
STREAMED_EVERY = 3
_CONNECTIONS_MIN = 3
NGINX_LIMIT = "limit_rate_after 2m; limit_rate 6m;"  # so that a kill finds a job under way


class _Job(NamedTuple):
    id: str
    request: Mapping[str, object]
    writes: list[tuple[str, Operation]]
    is_again: bool = False
    """Whether all it is to fetch is there already, unchanged at its source."""


class Downloads:
    """Jobs that fetch files, whose content follows from their object name, into `bucket`."""

    def __init__(self, oracle: Oracle, bucket: str, address: Address, *, source_url: str, root: Path) -> None:
        self._oracle = oracle
        self._bucket = bucket
        self._address = address
        self._source_url = source_url
        self._root = root
        self._jobs: list[_Job] = []
        self._finished: list[_Job] = []
        self._started = 0

    def start(self) -> bool:
        """Start one job, and the last one again; acknowledged, they must end with every object in place.

        Returns whether one of the files is large enough to come over several connections.
        """
        self._started += 1
        is_streamed = self._started % STREAMED_EVERY == 0
        sizes = [100 + 977 * number for number in range(SMALL_FILES)] + [LARGE_BYTES] * LARGE_FILES
        sizes += [STREAMED_BYTES] * is_streamed
        writes = []
        for number, size in enumerate(sizes):
            base = f"j{self._started}-{number}.bin"
            name = f"dl/{base}"
            operation = self._oracle.begin(name, size)
            (self._root / base).write_bytes(payload(name, operation.sequence, size))
            (self._root / base).chmod(0o644)
            writes.append((name, operation))
        body = {
            "type": "range",
            "bucket": {"name": self._bucket, "provider": "ais"},
            "template": f"{self._source_url}/j{self._started}-{{0..{len(sizes) - 1}}}.bin",
            "subdir": "dl",
            "description": f"round {self._started}",
        }
        if self._finished:
            request = self._finished[-1].request
            self._jobs.append(_Job(self._submit(request), request, [], is_again=True))
        self._jobs.append(_Job(self._submit(body), body, writes))
        return is_streamed

    def assert_streamed(self, log: Path) -> int:
        """How many files came over several connections, as nginx's log tells: all the large ones."""
        ranges = Counter(
            match[1] for match in re.finditer(r'"GET /(j\S+) HTTP/1.1" 206 ', log.read_text(encoding="ascii"))
        )
        number = SMALL_FILES + LARGE_FILES
        streamed = [
            f"j{job}-{number}.bin" for job in range(STREAMED_EVERY, self._started + 1, STREAMED_EVERY)
        ]
        assert all(ranges[name] >= _CONNECTIONS_MIN for name in streamed), ranges
        return len(streamed)

    def _submit(self, body: Mapping[str, object]) -> str:
        answer = self._request("POST", "/v1/download", body)
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["id"])

    def wait(self, *, timeout_s: float = 60.0) -> None:
        """Wait until every job has ended, and without an error; their objects must now be there."""
        deadline = time.monotonic() + timeout_s
        for job in self._jobs:
            while not self._has_ended(job):
                assert time.monotonic() < deadline, f"download job {job.id} does not end"
                time.sleep(0.1)
            for name, operation in job.writes:
                self._oracle.acknowledge(name, operation)
        self._finished += [job for job in self._jobs if not job.is_again]
        self._jobs = []
        while len(self._finished) > KEPT_JOBS:
            self._delete(self._finished.pop(0))

    def _delete(self, job: _Job) -> None:
        client = NativeClient(*self._address())
        for name, _ in job.writes:
            operation = self._oracle.begin(name, None)
            answer = client.delete(self._bucket, name)
            assert answer.status == 200, f"a finished download is not there: {name} {answer}"
            self._oracle.acknowledge(name, operation)
            (self._root / name.rpartition("/")[2]).unlink()
        client.close()

    def _has_ended(self, job: _Job) -> bool:
        answer = self._request("GET", "/v1/download", {"id": job.id})
        assert answer.status == 200, answer
        status = json.loads(answer.body)
        assert status["error_cnt"] == 0, status
        assert not status["aborted"], status
        if status["finished_time"].startswith("1970-") or status["finished_cnt"] != status["total"]:
            return False
        unchanged = status["total"] if job.is_again else 0
        assert (status["skipped_cnt"], status["updated_cnt"]) == (unchanged, 0), status
        self._check_manifest(job, status["total"])
        return True

    def _check_manifest(self, job: _Job, total: int) -> None:
        """Whatever was killed: one line for each item, and what it says."""
        answer = self._request("GET", "/v1/download/manifest", {"id": job.id})
        assert answer.status == 200, answer
        entries = [json.loads(line) for line in answer.body.splitlines()]
        assert sorted(entry["item"] for entry in entries) == list(range(total)), (job.id, entries)
        assert {entry["result"] for entry in entries} == {"skipped" if job.is_again else "stored"}

    def _request(self, method: str, path: str, body: Mapping[str, object]) -> Answer:
        headers = {"Content-Type": "application/json"}
        for _ in range(20):
            client = NativeClient(*self._address())
            try:
                return client.request(method, path, body=json.dumps(body).encode(), headers=headers)
            except CONNECTION_ERRORS:
                if method != "GET":
                    raise
                time.sleep(0.1)
            finally:
                client.close()
        raise AssertionError(f"{method} {path}: no answer")
