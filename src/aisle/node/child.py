"""A child process of the node: `python -m aisle.node.child --role ROLE --index N --boot FD`.

Started by the supervisor only. What all roles have in common happens here; the roles' own modules
are imported by need, so that no process carries what only another uses.
"""

import gc
import importlib
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from aisle.errors import StartError
from aisle.node.boot import COMMITTER, JOBS, START_FAILED_STATUS, WORKER, Boot, receive_boot
from aisle.node.log import start_log
from aisle.node.priority import lower_disk_priority
from aisle.telemetry import Telemetry

_log = logging.getLogger(__name__)

_MODULES = {
    COMMITTER: "aisle.node.committer",
    JOBS: "aisle.node.job_worker",
    WORKER: "aisle.node.worker",
}
# Threads take turns this often. With the default of 5 ms a thread that computes would hold up the event
# loop for as long each time it has something to do.
_SWITCH_INTERVAL_S = 0.0005


class Role(Protocol):
    """What the module of a role offers."""

    def run(self, boot: Boot, telemetry: Telemetry) -> None:
        """Do the role's work until the supervisor ends it. Raises StartError."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one child; the exit status."""
    # The supervisor alone writes this line; a parser for it would cost 10 ms of every start.
    words = sys.argv[1:] if arguments is None else arguments
    options = dict(zip(words[::2], words[1::2], strict=True))
    name, boot_fd = options["--role"], int(options["--boot"])
    _leave_signals_to_the_supervisor()
    if name == JOBS:
        lower_disk_priority()
    # Imports take most of the start: they are done before the boot message is waited for.
    role = cast("Role", importlib.import_module(_MODULES[name]))
    boot = receive_boot(boot_fd)
    if boot is None:
        return 1
    _end_with_the_supervisor(boot)
    start_log(f"{boot.role}-{boot.index}", boot.config.log_level, Path(boot.runtime_folder))
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _allow_many_files()
    try:
        telemetry = Telemetry.attach(boot.telemetry_fd, boot.slot, node_id=boot.node_id)
        os.close(boot.telemetry_fd)
        role.run(boot, telemetry)
    except StartError as error:
        _log.error("cannot start: %s", error)
        return START_FAILED_STATUS
    except Exception:  # noqa: BLE001 - the outermost loop: the log must say why the process ended
        _log.exception("ended by an unexpected error")
        return 1
    return 0


def settle_memory() -> None:
    """Call when a process has started: what lives now lives on, and is not looked at again.

    Collections then cost little, and pages shared with the file cache stay shared.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _allow_many_files() -> None:
    # Every connection is a file, and so is every part of an object that is being read.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _leave_signals_to_the_supervisor() -> None:
    # A terminal sends SIGINT, and service managers send SIGTERM, to all processes of the node at once;
    # only the supervisor knows the order in which they must end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _end_with_the_supervisor(boot: Boot) -> None:
    """Watch the lifeline from a thread of its own, which a busy event loop cannot keep waiting."""

    def watch() -> None:
        while os.read(boot.lifeline_fd, 1):
            pass
        # Killed processes lose nothing acknowledged, so there is nothing to finish.
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
