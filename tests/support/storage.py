"""A committer process of its own, for tests of the local engine without a node around it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from aisle.config import StorageConfig
from aisle.storage.filesystem import lock_mountpath
from aisle.storage.layout import Incarnations, Mountpath, prepare
from aisle.storage.local import LocalEngine, open_local_engine
from aisle.storage.sweep import sweep_all


class CommitterProcess:
    """A committer over prepared mountpaths; it can be killed and started again on the same socket."""

    def __init__(self, paths: Sequence[Path], config: StorageConfig, *, accept_missing: bool = False) -> None:
        self.paths = list(paths)
        self.config = config
        self._locks = [lock_mountpath(path) for path in self.paths]
        try:
            prepared = prepare(self.paths, new_node_id=lambda: "node", accept_missing=accept_missing)
        except BaseException:
            self._unlock()
            raise
        self.mountpaths: tuple[Mountpath, ...] = prepared.mountpaths
        sweep_all(self.mountpaths)
        self.incarnations = Incarnations(self.mountpaths)
        self._folder = tempfile.TemporaryDirectory(prefix="storage-test-")
        self.address = f"{self._folder.name}/committer"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(64)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    @property
    def pid(self) -> int:
        """The process' id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process."""
        stop, self._lifeline = os.pipe()
        self._ready, ready = os.pipe()
        settings = {
            "listener": self._listener.fileno(),
            "stop": stop,
            "ready": ready,
            "paths": [str(path) for path in self.paths],
            "config": asdict(self.config),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.storage", json.dumps(settings)],
            pass_fds=[self._listener.fileno(), stop, ready, *self._locks],
            cwd=Path(__file__).parents[1],
        )
        os.close(stop)
        os.close(ready)

    def wait_ready(self) -> None:
        """Wait until the process serves."""
        assert os.read(self._ready, 1) == b"R"

    def kill(self) -> None:
        """End the process as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._forget()

    def stop(self) -> None:
        """End the process in order."""
        if self._process is not None:
            os.close(self._lifeline)
            assert self._process.wait(60) == 0
            self._lifeline = -1
            self._forget()

    def _forget(self) -> None:
        self._process = None
        for fd in (self._lifeline, self._ready):
            if fd >= 0:
                os.close(fd)

    def engine(self) -> LocalEngine:
        """An engine of this process; only one at a time can be open."""
        return open_local_engine(
            self.paths,
            committer_path=self.address,
            incarnation=self.incarnations.new(),
            config=self.config,
        )

    def close(self) -> None:
        """End the process and let go of the mountpaths."""
        self.stop()
        self._listener.close()
        self._unlock()
        self._folder.cleanup()

    def _unlock(self) -> None:
        for lock in self._locks:
            os.close(lock)


@contextmanager
def running_committer(
    paths: Sequence[Path], *, accept_missing: bool = False, config: StorageConfig | None = None
) -> Iterator[CommitterProcess]:
    """A committer over `paths`, which are made if need be."""
    process = CommitterProcess(paths, config or StorageConfig(), accept_missing=accept_missing)
    try:
        process.start()
        yield process
    finally:
        process.close()


def main() -> None:
    """Be the committer."""
    from aisle.storage.commit_server import serve
    from aisle.storage.layout import open_mountpaths

    settings = json.loads(sys.argv[1])
    serve(
        socket.socket(fileno=settings["listener"]),
        open_mountpaths([Path(path) for path in settings["paths"]]),
        config=StorageConfig(**settings["config"]),
        stop_fd=settings["stop"],
        on_ready=lambda: os.write(settings["ready"], b"R"),
    )


if __name__ == "__main__":
    main()
