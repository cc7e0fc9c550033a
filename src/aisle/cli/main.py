"""The `ais` command: finds the subcommand, runs it, and turns every expected error into words."""

import os
import signal
import sys

import click

from aisle import __version__
from aisle.cli.exit_codes import INTERRUPTED, TERMINATED
from aisle.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "create": Entry("buckets", "create", "Create buckets."),
    "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
    "put": Entry("put", "put", "Write files, folders or standard input into a bucket."),
    "get": Entry("get", "get", "Read an object, a range of it, or all below a prefix."),
    "cp": Entry("transfer", "cp", "Copy objects, or a bucket, inside the node."),
    "mv": Entry("transfer", "mv", "Rename an object or a bucket."),
    "rm": Entry("remove", "rm", "Remove objects."),
    "rmb": Entry("buckets", "rmb", "Remove buckets with all that they hold."),
    "archive": Entry("groups", "archive", "Archives: put files in, list and read them, pack objects."),
    "download": Entry("download", "download", "Let the node fetch files from the Internet."),
    "show": Entry("groups", "show", "Show jobs and buckets."),
    "job": Entry("groups", "job", "Show, wait for, stop or forget jobs."),
    "config": Entry("groups", "config", "Show, set or reset the cluster's configuration."),
    "auth": Entry("groups", "auth", "Users, their access keys and their tokens; for administrators."),
    "storage": Entry("groups", "storage", "Check and mend the folders of a stopped node."),
    "bucket": Entry("groups", "bucket", "Buckets: their properties; create, ls, rm."),
    "version": Entry("version", "version", "Show the versions of this command and of the node."),
    # The forms that AIStore's own command has beside these.
    "rmo": Entry("remove", "rm", "Remove objects.", hidden=True),
    "object": Entry("groups", "object_", "Objects: put, get, ls, rm.", hidden=True),
    "start": Entry("groups", "start", "Start a job: download.", hidden=True),
    "stop": Entry("groups", "stop", "Stop jobs.", hidden=True),
    "wait": Entry("groups", "wait", "Wait for a job.", hidden=True),
}

HELP = """Move data in and out of a store for AI datasets.

Buckets and objects are written ais://bucket/name. The node is the one that AIS_ENDPOINT names, else
http://127.0.0.1:8080; start one with `aisnode`.
"""


class Root(LazyGroup):
    """The outermost loop: nothing expected leaves it as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand and translate its errors into a message and an exit code."""
        from aisle.cli.outcome import guarded

        return guarded(ctx, super().invoke)


@click.group(
    "ais",
    cls=Root,
    entries=COMMANDS,
    help=HELP,
    epilog="`ais COMMAND --help` tells more. Manual: docs/cli.md",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="ais %(version)s")
def cli() -> None:
    """Hold the commands together."""


def main() -> None:
    """Run the `ais` command."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Half-written files are removed on the way out, whoever asks us to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        cli(prog_name=os.path.basename(sys.argv[0]) or "ais")
    except KeyboardInterrupt:
        # Before or behind the command's own handling of it.
        sys.exit(INTERRUPTED)
