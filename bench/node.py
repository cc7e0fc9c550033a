"""A node under measurement: `aisnode` on its core, with data folders that go when it is done."""

import http.client
import json
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.measure import SERVER_CORE, Failed, pin_to, process_tree, require_core
from bench.peers import Certificate

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 45.0
_SETTLE_S = 1.0  # the job worker still imports what it needs when the node is ready
_READY = b"aisle ready "


class Node:
    """One node, started and stopped as often as wanted over the same mountpaths."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int,
        mountpaths: int,
        certificate: Certificate | None,
        environment: Mapping[str, str],
        core: int,
    ) -> None:
        self.folder = folder
        self._core = core
        self.mountpaths = [folder / f"mountpath{number}" for number in range(mountpaths)]
        self._environment = dict(environment)
        self.url = ""
        self.host, self.port = "", 0
        self.ready_s = 0.0
        """Seconds from the start of the process to its ready line."""
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [str(Path(sys.prefix) / "bin" / "aisnode")]
        self._command += ["--listen", "127.0.0.1:0", "--workers", str(workers)]
        for path in self.mountpaths:
            self._command += ["--data", str(path)]
        if certificate:
            configuration = folder / "node.toml"
            lines = [f'certificate = "{certificate.chain}"', f'key = "{certificate.key}"']
            configuration.write_text("\n".join(["[tls]", *lines, ""]), encoding="utf-8")
            self._command += ["--config", str(configuration)]

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None, "the node does not run"
        return self._process.pid

    def start(self) -> None:
        """Start and wait for the ready line; Failed with the end of its log if it never comes."""
        began = time.perf_counter()
        with (self.folder / "stderr.txt").open("ab") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
                | self._environment,
                preexec_fn=pin_to(self._core),
                start_new_session=True,
            )
        line = self._ready_line()
        self.ready_s = time.perf_counter() - began
        self.url = line.removeprefix(_READY).split()[0].decode().rstrip("/")
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        require_core(self.pid, self._core)

    def _ready_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else b""
        if not line.startswith(_READY):
            self.stop()
            log = (self.folder / "stderr.txt").read_text(errors="replace")
            raise Failed(f"the node did not start: {log[-800:]}")
        return line

    def stop(self) -> None:
        """End the node and its children, politely first."""
        if self._process is None:
            return
        tree = process_tree(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            for pid in tree:
                _kill(pid)
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None

    def children(self, role: str) -> list[int]:
        """Processes of one role: `worker`, `committer` or `jobs`."""
        found = []
        for pid in process_tree(self.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"--role" in words and words[words.index(b"--role") + 1] == role.encode():
                found.append(pid)
        return found

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """One request with a JSON body; the answer's body. Failed unless the status is 2xx."""
        if self.url.startswith("https"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=60, context=context
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        text = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        kind = {} if isinstance(body, bytes) or body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, body=text, headers={**kind, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status // 100 != 2:
            raise Failed(f"{method} {path}: {response.status} {answer[:300]!r}")
        return answer

    def create_bucket(self, name: str) -> None:
        """Create `ais://name`."""
        self.call("POST", f"/v1/buckets/{name}", {"action": "create-bck", "value": None})

    def put(self, bucket: str, name: str, payload: bytes) -> None:
        """Store one object."""
        self.call("PUT", object_path(bucket, name), payload)


def object_path(bucket: str, name: str) -> str:
    """The path of an object in the native API."""
    return f"/v1/objects/{bucket}/{name}"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@contextmanager
def node(
    scratch: Path,
    *,
    workers: int = 1,
    mountpaths: int = 1,
    certificate: Certificate | None = None,
    environment: Mapping[str, str] | None = None,
    core: int = SERVER_CORE,
) -> Iterator[Node]:
    """A node on `core` in a folder of its own in `scratch`; both go afterwards.

    `environment` is what it finds in its environment beside ours.
    """
    folder = Path(tempfile.mkdtemp(prefix="node-", dir=scratch))
    made = Node(
        folder,
        workers=workers,
        mountpaths=mountpaths,
        certificate=certificate,
        environment=environment or {},
        core=core,
    )
    try:
        made.start()
        time.sleep(_SETTLE_S)
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
