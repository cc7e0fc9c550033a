"""The `ais` command: finds the subcommand, runs it, and turns every expected error into words."""

import os
import signal
import sys

import click

from aisle import __version__
from aisle.cli.exit_codes import FAILED, INTERRUPTED, TERMINATED
from aisle.cli.lazy import Entry, LazyGroup
from aisle.cli.streams import complete_streams, settle_streams, use_utf8

COMMANDS = {
    "create": Entry("buckets", "create", "Create buckets."),
    "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
    "put": Entry("put", "put", "Write files, folders or standard input into a bucket."),
    "get": Entry("get", "get", "Read an object, a range of it, or all below a prefix."),
    "cat": Entry("objects", "cat", "Write an object to standard output."),
    "cp": Entry("transfer", "cp", "Copy objects, or a bucket, to any other bucket."),
    "mv": Entry("transfer", "mv", "Rename an object or a bucket."),
    "rm": Entry("remove", "rm", "Remove objects."),
    "rmb": Entry("buckets", "rmb", "Remove buckets with all that they hold."),
    "archive": Entry("groups", "archive", "Archives: put files in, list and read them, pack objects."),
    "download": Entry("download", "download", "Let the node fetch files from the Internet."),
    "prefetch": Entry("prefetch", "prefetch", "Fetch objects of a remote bucket ahead of their use."),
    "evict": Entry("evict", "evict", "Drop what is kept of a remote bucket."),
    "blob-download": Entry(
        "prefetch",
        "blob_download",
        "Fetch a large object of a remote bucket in parallel ranges.",
        hidden=True,
    ),
    "show": Entry("groups", "show", "Show jobs, buckets, objects, the cluster and how it does."),
    "job": Entry("groups", "job", "Show, start, wait for, stop or forget jobs."),
    "start": Entry("groups", "start", "Start a job: download, or one of the node's own."),
    "config": Entry("groups", "config", "Show, set or reset the cluster's configuration."),
    "auth": Entry("groups", "auth", "Users, their access keys and their tokens; for administrators."),
    "cluster": Entry("groups", "cluster", "Show the nodes; attach and detach other clusters."),
    "storage": Entry("groups", "storage", "Check and mend the folders of a stopped node."),
    "bucket": Entry("groups", "bucket", "Buckets: their properties; create, ls, rm."),
    "object": Entry("groups", "object_", "Objects: their properties; put, get, ls, rm."),
    "log": Entry("groups", "log", "Show or save the logs of nodes."),
    "alias": Entry("groups", "alias", "Commands that you name yourself."),
    "search": Entry("search", "search", "Find commands by a word."),
    "help": Entry("search", "help_", "Tell how a command is used."),
    "completion": Entry("completion", "completion", "Print what a shell needs to complete this command."),
    "version": Entry("version", "version", "Show the versions of this command and of the node."),
    # The forms that AIStore's own command has beside these.
    "rmo": Entry("remove", "rm", "Remove objects.", hidden=True),
    "performance": Entry(
        "performance", "show", "Show what has been done, how much and how fast.", hidden=True
    ),
    "space-cleanup": Entry("starting", "cleanup", "Remove what is left of deleted objects.", hidden=True),
    "stop": Entry("groups", "stop", "Stop jobs.", hidden=True),
    "wait": Entry("groups", "wait", "Wait for a job.", hidden=True),
}

HELP = """Move data in and out of a store for AI datasets.

Buckets and objects are written ais://bucket/name. The node is the one that AIS_ENDPOINT names, else
http://127.0.0.1:8080; start one with `aisnode`.
"""


class Root(LazyGroup):
    """The outermost loop: nothing expected leaves it as a traceback."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or that one of the user's aliases stands for."""
        if args[0] not in self.entries and not args[0].startswith("-"):
            from aisle.cli.aliases import expanded

            args = [*(expanded(args[0], self.entries) or args[:1]), *args[1:]]
        elif args[:3] == ["rm", "job", "download"]:
            args = ["job", "rm", *args[2:]]  # the same the other way round
        return super().resolve_command(ctx, args)

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
    use_utf8()
    complete_streams()
    if "_AIS_COMPLETE" in os.environ:
        from aisle.cli.completion import prepare

        prepare()
    # Half-written files are removed on the way out, whoever asks us to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        colour = False if os.environ.get("NO_COLOR") else None
        cli(prog_name=os.path.basename(sys.argv[0]) or "ais", color=colour)
    except KeyboardInterrupt:
        # Before or behind the command's own handling of it.
        sys.exit(INTERRUPTED)
    except OSError as error:
        # Help and versions are printed before there is a command.
        from aisle.cli.outcome import os_error_text
        from aisle.cli.output import fail

        fail(os_error_text(error))
        sys.exit(FAILED)
    finally:
        settle_streams()
