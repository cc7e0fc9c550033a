"""The committer: the only process that writes the index."""

import os
import socket
from pathlib import Path

from aisle.node.boot import READY, Boot
from aisle.node.child import settle_memory
from aisle.storage.commit_server import serve
from aisle.storage.layout import open_mountpaths
from aisle.telemetry import Telemetry


def run(boot: Boot, telemetry: Telemetry) -> None:
    """Commit what the others send until the supervisor ends it. Raises StartError."""
    listener = socket.socket(fileno=boot.committer_fd)
    mountpaths = open_mountpaths([Path(folder) for folder in boot.mountpaths])

    def on_ready() -> None:
        settle_memory()
        os.write(boot.control_fd, READY)

    # Whatever the supervisor says to a committer means that it is to end.
    serve(
        listener,
        mountpaths,
        config=boot.config.storage,
        stop_fd=boot.control_fd,
        on_ready=on_ready,
        telemetry=telemetry,
    )
