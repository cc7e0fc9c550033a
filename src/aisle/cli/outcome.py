"""How a run of `ais` ends: the one place where exceptions become messages and exit codes."""

import errno
import os
import sys
from collections.abc import Callable

import click

from aisle.cli import output
from aisle.cli.errors import exit_code, hints
from aisle.cli.exit_codes import FAILED, INTERRUPTED, PIPE_CLOSED
from aisle.cli.session import Session
from aisle.errors import AisleError, BucketNotFound, Denied, NodeUnreachable, OutOfSpace, SourceDenied

# Among many items, what would end all others the same way ends the command.
HOPELESS = (BucketNotFound, Denied, NodeUnreachable, OutOfSpace)
SHOWN_FAILURES_MAX = 20


class Failures:
    """Items of many that failed: told one by one, and in the exit code."""

    def __init__(self, verb: str) -> None:
        self.told: list[dict[str, str]] = []
        """For JSON: `{"item", "error"}` of each."""
        self._verb = verb
        self._codes: set[int] = set()

    def add(self, item: str, error: AisleError | OSError) -> None:
        """Note a failure. Raises it if nothing after it could go better."""
        # What a source refuses may be one object of many: others may be open, or here.
        if isinstance(error, HOPELESS) and not isinstance(error, SourceDenied):
            raise error
        text = str(error) if isinstance(error, AisleError) else os_error_text(error)
        self._codes.add(exit_code(error) if isinstance(error, AisleError) else FAILED)
        self.told.append({"item": item, "error": text})
        if len(self.told) <= SHOWN_FAILURES_MAX:
            output.fail(output.printable(f"{item}: {text}" if item not in text else text))

    def end(self) -> None:
        """End the command with an exit code if anything failed."""
        more = len(self.told) - SHOWN_FAILURES_MAX
        if more > 0:
            output.fail(f"could not {self._verb} {more:,} more")
        if self._codes:
            raise click.exceptions.Exit(self._codes.pop() if len(self._codes) == 1 else FAILED)


def guarded(ctx: click.Context, run: Callable[[click.Context], object]) -> object:
    """Run a command. Expected errors become a message and an exit code."""
    try:
        result = run(ctx)
        sys.stdout.flush()
    except AisleError as error:
        output.fail(output.printable(str(error)), *hints(error, ctx.ensure_object(Session)))
        ctx.exit(exit_code(error))
    except click.UsageError as error:
        # It quotes what was typed, or what a script took from a listing.
        text = "\n".join(map(output.printable, error.format_message().split("\n")))
        if text == error.format_message():
            raise
        raise click.UsageError(text, error.ctx) from error
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough. Nothing may be flushed into the pipe any more.
        _silence(sys.stdout)
        ctx.exit(PIPE_CLOSED)
    except KeyboardInterrupt:
        output.note("\nInterrupted.")
        ctx.exit(INTERRUPTED)
    except OSError as error:
        output.fail(os_error_text(error))
        ctx.exit(FAILED)
    return result


def os_error_text(error: OSError) -> str:
    """An operating system's error for people, with the file that it is about."""
    if error.errno == errno.ENOSPC:
        reason = "no space left on the disk here"
    else:
        reason = (error.strerror or str(error)).lower()
    name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
    return f"{output.printable(str(name))}: {reason}" if name else reason


def _silence(stream: object) -> None:
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[attr-defined]
        os.close(null)
    except (OSError, AttributeError, ValueError):
        pass
