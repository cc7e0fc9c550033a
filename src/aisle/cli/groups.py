"""Groups of commands: by noun (`job`, and AIStore's `bucket`, `object`) and by verb (`show`, `start`)."""

import click

from aisle.cli.lazy import Entry, LazyGroup

Resolved = tuple[str | None, click.Command | None, list[str]]


class AliasGroup(LazyGroup):
    """`alias`: alone it shows them, and `ais alias sc "show cluster"` sets one, as in a shell."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show aliases where there are no words at all."""
        return super().parse_args(ctx, args or ["show"])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """Take a name that is no verb, with a command behind it, for one to be set."""
        if args[0] not in self.entries and not args[0].startswith("-") and len(args) > 1:
            args = ["set", *args]
        return super().resolve_command(ctx, args)


class JobGroup(LazyGroup):
    """`stop`, `wait`: the word `job` may be left out, as in `ais stop ID` and `ais wait copy-bucket ID`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what is no entry for a kind, an id or an option of the job's command."""
        if args and args[0] not in self.entries and args[0] not in ctx.help_option_names:
            args = ["job", *args]
        return super().parse_args(ctx, args)


class StartGroup(LazyGroup):
    """`start`: the kinds of jobs that a node begins on request need no entries of their own."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Resolved:
        """Take a kind of the node's own for what `start kind` does."""
        from aisle.rules.job_kinds import STARTABLE, canonical_kind

        if args[0] not in self.entries and canonical_kind(args[0]) in STARTABLE:
            args = ["kind", *args]
        return super().resolve_command(ctx, args)


show = LazyGroup(
    name="show",
    help="Show jobs, buckets, objects, the cluster and how it does.",
    entries={
        "job": Entry("job", "show", "Show one job, or those that run."),
        "bucket": Entry("properties", "show_bucket", "Show a bucket's properties in brief."),
        "object": Entry("objects", "show", "Show what is known of an object."),
        "cluster": Entry("clusters", "show", "Show the nodes and how they are."),
        "storage": Entry("clusters", "storage", "Show how full the disks are."),
        "performance": Entry("performance", "show", "Show what has been done, how much and how fast."),
        "config": Entry(
            "configuration", "show", "Show the configuration of the cluster, a node or this command."
        ),
        "log": Entry("logs", "show", "Show a node's log."),
        "remote-cluster": Entry("remote_clusters", "show", "Show the clusters that are attached."),
        "backend": Entry("backends", "show", "Show the clouds whose buckets can be used."),
    },
)
config = LazyGroup(
    name="config",
    help="Show, set or reset the cluster's configuration.",
    entries={
        "cluster": Entry("configuration", "cluster", "Show or set the cluster's configuration."),
        "node": Entry("configuration", "node", "Show or set a node's configuration."),
        "show": Entry(
            "configuration", "show", "Show the configuration of the cluster, a node or this command."
        ),
        "cli": Entry("configuration", "own", "Show what this command goes by."),
        "reset": Entry("configuration", "reset", "Bring back the defaults."),
    },
)
auth = LazyGroup(
    name="auth",
    help="Users, their access keys and their tokens; for administrators.",
    entries={
        "user": Entry("groups", "auth_user", "Users: add, rm, show."),
        "key": Entry("groups", "auth_key", "Access keys for S3 clients: add, rm, show."),
        "token": Entry("groups", "auth_token", "Bearer tokens: add, rm, show."),
        # The order of words that AIStore's own command has.
        "add": Entry("groups", "auth_add", "Add a user, a key or a token.", hidden=True),
        "rm": Entry("groups", "auth_remove", "Remove users, keys or tokens.", hidden=True),
        "show": Entry("groups", "auth_show", "Show users, keys or tokens.", hidden=True),
    },
)
_USER = {
    "add": Entry("auth", "add_user", "Add a user."),
    "rm": Entry("auth", "remove_user", "Remove users with their keys and tokens."),
    "show": Entry("auth", "show_users", "Show users."),
}
_KEY = {
    "add": Entry("auth", "add_key", "Give a user another access key."),
    "rm": Entry("auth", "remove_key", "Take access keys back."),
    "show": Entry("auth", "show_keys", "Show access keys and whose they are."),
}
_TOKEN = {
    "add": Entry("auth", "add_token", "Mint a token for a user."),
    "rm": Entry("auth", "remove_token", "Take tokens back."),
    "show": Entry("auth", "show_tokens", "Show the tokens that have not expired."),
}
auth_user = LazyGroup(name="user", help="Users: add, rm, show.", entries=_USER)
auth_key = LazyGroup(name="key", help="Access keys for S3 clients: add, rm, show.", entries=_KEY)
auth_token = LazyGroup(name="token", help="Bearer tokens: add, rm, show.", entries=_TOKEN)


def _auth(verb: str, help_text: str) -> LazyGroup:
    """One verb for users, keys and tokens."""
    entries = {"user": _USER[verb], "key": _KEY[verb], "token": _TOKEN[verb]}
    return LazyGroup(name=verb, help=help_text, entries=entries)


auth_add = _auth("add", "Add a user, a key or a token.")
auth_remove = _auth("rm", "Remove users, keys or tokens.")
auth_show = _auth("show", "Show users, keys or tokens.")
archive = LazyGroup(
    name="archive",
    help="Archives: put files in, list and read them, pack objects.",
    entries={
        "put": Entry("archive", "put", "Put a file into an archive."),
        "get": Entry("archive", "get", "Read a file out of an archive."),
        "ls": Entry("archive", "ls", "List what is in archives."),
        "bucket": Entry("archive", "bucket", "Pack objects into an archive."),
    },
)
job = LazyGroup(
    name="job",
    help="Show, start, wait for, stop or forget jobs.",
    entries={
        "show": Entry("job", "show", "Show one job, or those that run."),
        "wait": Entry("job", "wait", "Wait until a job ends."),
        "abort": Entry("job", "abort", "Stop jobs; what they did stays."),
        "pause": Entry("download_verbs", "pause", "Let downloads rest until they are resumed."),
        "resume": Entry("download_verbs", "resume", "Let downloads that rest go on."),
        "manifest": Entry(
            "manifest", "manifest", "Write what a download stored, from where and in which version."
        ),
        "rm": Entry("job", "forget", "Forget finished jobs."),
        "stop": Entry("job", "abort", "The same as abort.", hidden=True),
        "start": Entry("groups", "start", "Start a job: download, or one of the node's own."),
    },
)
bucket = LazyGroup(
    name="bucket",
    help="Buckets: their properties; create, ls, rm.",
    entries={
        "props": Entry("properties", "props", "Show, set or reset the properties of a bucket."),
        "create": Entry("buckets", "create", "Create buckets."),
        "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
        "cp": Entry("transfer", "cp", "Copy objects, or a bucket, to any other bucket."),
        "mv": Entry("transfer", "mv", "Rename an object or a bucket."),
        "rm": Entry("buckets", "rmb", "Remove buckets with all that they hold."),
        "show": Entry("properties", "show_bucket", "Show a bucket's properties in brief."),
        "summary": Entry("summary", "summary", "Sum up what is in buckets."),
    },
)
object_ = LazyGroup(
    name="object",
    help="Objects: their properties; put, get, ls, rm.",
    entries={
        "show": Entry("objects", "show", "Show what is known of an object."),
        "set-custom": Entry("objects", "set_custom_properties", "Set custom properties of an object."),
        "cat": Entry("objects", "cat", "Write an object to standard output."),
        "promote": Entry("starting", "promote", "Make files of the node's machine objects."),
        "put": Entry("put", "put", "Write files, folders or standard input into a bucket."),
        "get": Entry("get", "get", "Read an object, a range of it, or all below a prefix."),
        "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
        "cp": Entry("transfer", "cp", "Copy objects, or a bucket, to any other bucket."),
        "mv": Entry("transfer", "mv", "Rename an object or a bucket."),
        "rm": Entry("remove", "rm", "Remove objects."),
    },
)
storage = LazyGroup(
    name="storage",
    help="Check and mend the folders of a stopped node.",
    entries={
        "fsck": Entry("storage", "fsck", "Check that everything is there, and as it was stored."),
        "compact": Entry("storage", "compact", "Give back the space that an index no longer needs."),
        "backup": Entry("storage", "backup", "Copy the indexes into a folder."),
        "restore": Entry("storage", "restore", "Put copies of the indexes back."),
        "show": Entry("clusters", "storage", "Show how full the disks are.", hidden=True),
        "summary": Entry("summary", "summary", "Sum up what is in buckets.", hidden=True),
        "cleanup": Entry("starting", "cleanup", "Remove what is left of deleted objects.", hidden=True),
    },
)
log = LazyGroup(
    name="log",
    help="Show or save the logs of nodes.",
    entries={
        "show": Entry("logs", "show", "Show a node's log."),
        "get": Entry("logs", "get", "Save the logs of nodes."),
    },
)
alias = AliasGroup(
    name="alias",
    help="Commands that you name yourself.",
    entries={
        "set": Entry("aliases", "set_", "Name a command."),
        "rm": Entry("aliases", "remove", "Remove aliases."),
        "show": Entry("aliases", "show", "Show aliases."),
        "reset": Entry("aliases", "reset", "Remove all aliases."),
    },
)
cluster = LazyGroup(
    name="cluster",
    help="Show the nodes; attach and detach other clusters.",
    entries={
        "show": Entry("clusters", "show", "Show the nodes and how they are."),
        "remote-attach": Entry("remote_clusters", "attach", "Attach other clusters."),
        "remote-detach": Entry("remote_clusters", "detach", "Detach other clusters."),
    },
)
start = StartGroup(
    name="start",
    help="Start a job: download, or one of the node's own.",
    entries={
        "download": Entry("download", "download", "Let the node fetch files from the Internet."),
        "prefetch": Entry("prefetch", "prefetch", "Fetch objects of a remote bucket ahead of their use."),
        "blob-download": Entry(
            "prefetch", "blob_download", "Fetch a large object of a remote bucket in parallel ranges."
        ),
        "kind": Entry("starting", "start", "Start a job of the node's own."),
    },
)
stop = JobGroup(
    name="stop",
    help="Stop jobs.",
    entries={
        "job": Entry("job", "abort", "Stop jobs; what they did stays."),
    },
)
wait = JobGroup(
    name="wait",
    help="Wait for a job.",
    entries={
        "job": Entry("job", "wait", "Wait until a job ends."),
    },
)
