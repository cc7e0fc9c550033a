"""The log: one line for each event on standard error, with time, level and process.

The same lines go to a file that all processes of the node share, for clients that ask for the log.
"""

import fcntl
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from aisle.gateway.logs import LOG_BYTES_MAX, log_paths

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Formatter(logging.Formatter):
    """`2026-11-21T10:00:00.000Z INFO worker-0 message`, in UTC."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002
        """The record's time; the name and its parameters are the library's."""
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback; or what stands in an exception's place: aiofastnet hands over classes."""
        error = ei[1]
        return super().formatException(ei) if isinstance(error, BaseException) else f"{error!r}"


class SharedLogFile(logging.Handler):
    """Appends to the node's log file, and puts it aside when it is large, together with other processes.

    Every line is one write at the file's end, so that lines of several processes never mix. A disk
    that is full or failing costs lines here, and nothing else: standard error has them.
    """

    def __init__(self, folder: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
        super().__init__()
        self._paths = log_paths(folder)
        self._bytes_max = bytes_max
        self._fd = -1
        self._inode = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            self._follow()
            os.write(self._fd, line)
            if os.fstat(self._fd).st_size >= self._bytes_max:
                self._put_aside()
        except OSError:
            pass

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()

    def _follow(self) -> None:
        """Open the file, or the new one if another process has put ours aside."""
        if self._fd >= 0 and self._is_current():
            return
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self._paths[0], flags, 0o640)
        self._inode = os.fstat(self._fd).st_ino

    def _is_current(self) -> bool:
        try:
            return os.stat(self._paths[0]).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _put_aside(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            if self._is_current():
                for younger, older in reversed(list(zip(self._paths, self._paths[1:], strict=False))):
                    if younger.exists():
                        younger.replace(older)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def start_log(process: str, level: str, folder: Path | None = None) -> None:
    """Send everything from `level` on to standard error; `process` names the one that speaks.

    With a folder the lines go to the node's log file in it too.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if folder is not None:
        handlers.append(SharedLogFile(folder))
    for handler in handlers:
        handler.setFormatter(_Formatter(f"%(asctime)s %(levelname)s {process} %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(_LEVELS[level])
    if folder is not None:
        # Whoever reads the log then sees which processes there have been, whatever the level.
        started = {"name": __name__, "levelno": logging.INFO, "levelname": "INFO"}
        handlers[-1].handle(logging.makeLogRecord({**started, "msg": f"started, process id {os.getpid()}"}))
