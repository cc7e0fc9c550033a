"""What a process begins with: an encoding of names, and standard streams, which may be closed."""

import os
import sys
from typing import TextIO, cast


def use_utf8() -> None:
    """Begin again if the locale is not UTF-8: names are bytes, and UTF-8 wherever a node is told of them."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding().lower() == "utf-8":
        return
    # What is printed stays in the terminal's encoding.
    printed = getattr(sys.stdout, "encoding", None) or "ascii"
    os.environ.setdefault("PYTHONIOENCODING", f"{printed}:backslashreplace")
    arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execv(sys.executable, arguments)  # noqa: S606 - this very program


def complete_streams() -> None:
    """Let there be streams, and let nothing that is printed fail for its characters.

    What goes to one that was closed (`>&-`) goes nowhere; to read from one fails.
    """
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def settle_streams() -> None:
    """Keep what could not be written from failing again when Python ends, with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), stream.fileno())


def _nowhere(mode: str) -> TextIO:
    """A stream that takes everything and gives nothing: to read from it is an OSError."""
    return cast("TextIO", os.fdopen(os.open(os.devnull, os.O_WRONLY), mode))
