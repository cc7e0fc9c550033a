"""Groups of commands: by noun (`job`, and AIStore's `bucket`, `object`) and by verb (`show`, `start`)."""

from aisle.cli.lazy import Entry, LazyGroup

show = LazyGroup(
    name="show",
    help="Show jobs and buckets.",
    entries={
        "job": Entry("job", "show", "Show one job, or those that run."),
        "bucket": Entry("properties", "show_bucket", "Show a bucket's properties in brief."),
    },
)
config = LazyGroup(
    name="config",
    help="Show, set or reset the cluster's configuration.",
    entries={
        "cluster": Entry("configuration", "cluster", "Show or set the cluster's configuration."),
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
    },
)
auth_user = LazyGroup(
    name="user",
    help="Users: add, rm, show.",
    entries={
        "add": Entry("auth", "add_user", "Add a user."),
        "rm": Entry("auth", "remove_user", "Remove users with their keys and tokens."),
        "show": Entry("auth", "show_users", "Show users."),
    },
)
auth_key = LazyGroup(
    name="key",
    help="Access keys for S3 clients: add, rm, show.",
    entries={
        "add": Entry("auth", "add_key", "Give a user another access key."),
        "rm": Entry("auth", "remove_key", "Take access keys back."),
        "show": Entry("auth", "show_keys", "Show access keys and whose they are."),
    },
)
auth_token = LazyGroup(
    name="token",
    help="Bearer tokens: add, rm, show.",
    entries={
        "add": Entry("auth", "add_token", "Mint a token for a user."),
        "rm": Entry("auth", "remove_token", "Take tokens back."),
        "show": Entry("auth", "show_tokens", "Show the tokens that have not expired."),
    },
)
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
    help="Show, wait for, stop or forget jobs.",
    entries={
        "show": Entry("job", "show", "Show one job, or those that run."),
        "wait": Entry("job", "wait", "Wait until a job ends."),
        "abort": Entry("job", "abort", "Stop jobs; what they did stays."),
        "rm": Entry("job", "forget", "Forget finished jobs."),
        "stop": Entry("job", "abort", "The same as abort.", hidden=True),
        "start": Entry("groups", "start", "Start a job: download.", hidden=True),
    },
)
bucket = LazyGroup(
    name="bucket",
    help="Buckets: their properties; create, ls, rm.",
    entries={
        "props": Entry("properties", "props", "Show, set or reset the properties of a bucket."),
        "create": Entry("buckets", "create", "Create buckets."),
        "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
        "cp": Entry("transfer", "cp", "Copy objects, or a bucket, inside the node."),
        "mv": Entry("transfer", "mv", "Rename an object or a bucket."),
        "rm": Entry("buckets", "rmb", "Remove buckets with all that they hold."),
        "show": Entry("properties", "show_bucket", "Show a bucket's properties in brief."),
        "summary": Entry("summary", "summary", "Sum up what is in buckets."),
    },
)
object_ = LazyGroup(
    name="object",
    help="Objects: put, get, ls, rm.",
    entries={
        "put": Entry("put", "put", "Write files, folders or standard input into a bucket."),
        "get": Entry("get", "get", "Read an object, a range of it, or all below a prefix."),
        "ls": Entry("listing", "ls", "List buckets, or the objects of a bucket."),
        "cp": Entry("transfer", "cp", "Copy objects, or a bucket, inside the node."),
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
    },
)
start = LazyGroup(
    name="start",
    help="Start a job: download.",
    entries={"download": Entry("download", "download", "Let the node fetch files from the Internet.")},
)
stop = LazyGroup(
    name="stop",
    help="Stop jobs.",
    entries={
        "download": Entry("job", "abort", "Stop jobs; what they did stays."),
        "job": Entry("job", "abort", "Stop jobs; what they did stays."),
    },
)
wait = LazyGroup(
    name="wait",
    help="Wait for a job.",
    entries={
        "download": Entry("job", "wait", "Wait until a job ends."),
        "job": Entry("job", "wait", "Wait until a job ends."),
    },
)
