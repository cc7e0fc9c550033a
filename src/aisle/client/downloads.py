"""Download jobs as the wire tells them (ais-downloader-backends-s3.md §1.1 and §1.5)."""

import datetime
from collections.abc import Mapping, Sequence

import msgspec

EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


class DownloadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to download. With `{1..9}` in the link it is a template and stands for many files.

    With neither a link nor objects, its items come behind it as a list: see `download_lists`.
    """

    link: str = ""
    name: str = ""
    """The object's name for one file (empty: the link's last part), the folder for a template or a list."""
    objects: Mapping[str, str] | Sequence[str] = ()
    """Instead of a link: links by object name, or links alone, whose last parts are the names."""
    description: str = ""
    timeout_s: float = 0
    """For one file, in one attempt; 0 leaves it to the node."""
    connections_max: int = 0
    bytes_per_hour_max: int = 0
    headers: Mapping[str, Sequence[str]] = {}
    """Header fields for the servers that the links name, and for no others."""
    priority: int = 0
    """Jobs with a higher one get free connections first."""
    recursive: bool = False
    """The link is a folder, and all files that its pages list are meant, and those of folders in it."""
    include: Sequence[str] = ()
    """Of a folder: glob patterns of the files that are wanted; none means all."""
    exclude: Sequence[str] = ()
    """Of a folder: glob patterns of files, and with a slash at the end of folders, that are not."""
    extract: bool = False
    """Archives become the objects that are in them."""
    fills: bool = False
    """The objects of the remote bucket itself are meant, which are kept as its copies."""
    prefix: str = ""
    """Then: what their names begin with."""
    sync: bool = False
    """Then: what its source has no more goes."""

    @property
    def is_range(self) -> bool:
        """Whether the link is a template."""
        return "{" in self.link and "}" in self.link

    def message(self) -> dict[str, object]:
        """The body of the request, but for the bucket."""
        told: dict[str, object] = {
            "type": "multi" if self.objects else "range" if self.is_range else "single",
            "description": self.description,
            # No exponent: a node reads durations as Go writes them.
            "timeout": f"{self.timeout_s:.9f}".rstrip("0").rstrip(".") + "s",
            "limits": {"connections": self.connections_max, "bytes_per_hour": self.bytes_per_hour_max},
        }
        if self.headers:
            told["headers"] = {name: list(values) for name, values in self.headers.items()}
        if self.priority:
            told["priority"] = self.priority
        if self.extract:
            told["extract"] = True
        if self.fills:
            return told | {"type": "backend", "prefix": self.prefix, "sync": self.sync}
        if self.recursive:
            patterns = {"include": list(self.include), "exclude": list(self.exclude)}
            return told | {"type": "index", "link": self.link, "subdir": self.name, **patterns}
        if self.objects:
            return told | {"objects": self.objects}
        if self.is_range:
            return told | {"template": self.link, "subdir": self.name}
        if not self.link:
            return told | {"type": "list", "subdir": self.name}
        return told | {"link": self.link, "object_name": self.name}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a job. Sizes are in bytes; `total` is 0 when the source does not tell."""

    name: str
    downloaded: int = 0
    total: int = 0


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could not be had."""

    name: str
    error: str


class DownloadJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job's counters; with its id asked for also its tasks."""

    id: str
    description: str = ""
    started: datetime.datetime = msgspec.field(name="started_time", default=EPOCH)
    finished: datetime.datetime = msgspec.field(name="finished_time", default=EPOCH)
    """The epoch while it runs."""
    done: int = msgspec.field(name="finished_cnt", default=0)
    """Files that are there, those that were there before included."""
    scheduled: int = msgspec.field(name="scheduled_cnt", default=0)
    skipped: int = msgspec.field(name="skipped_cnt", default=0)
    updated: int = msgspec.field(name="updated_cnt", default=0)
    """Aisle's own: files that were there before, and were fetched anew because they had changed."""
    errors: int = msgspec.field(name="error_cnt", default=0)
    total: int = 0
    """Negative while it is not known."""
    aborted: bool = False
    bytes: int = 0
    """Received so far. This and the next two are Aisle's own: a node of AIStore does not tell."""
    total_bytes: int = -1
    """Of the files whose size is known by now; negative while none is."""
    rate: int = 0
    """Bytes per second at present."""
    retrying: int = msgspec.field(name="retrying_cnt", default=0)
    """Aisle's own: files whose last attempt failed, and that wait for another one."""
    trouble: str = ""
    """Aisle's own: why the last of these failed."""
    said_state: str = msgspec.field(name="state", default="")
    """What the node calls its state, if it does; see `state`."""
    current_tasks: list[Task] = []
    finished_tasks: list[Task] = []
    failures: list[Failure] = msgspec.field(name="download_errors", default=[])

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.finished == EPOCH

    @property
    def elapsed_s(self) -> float:
        """How long it took; 0 while it runs."""
        return 0.0 if self.is_running else max((self.finished - self.started).total_seconds(), 0.0)

    @property
    def state(self) -> str:
        """`running`, `paused`, `finished` or `aborted`."""
        if self.is_running:
            return "paused" if self.said_state == "paused" else "running"
        return "aborted" if self.aborted else "finished"


# The wire writes sizes as strings; strict=False reads them as numbers.
def decode_job(data: bytes) -> DownloadJob:
    """A job's status. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(data, type=DownloadJob, strict=False)


def decode_jobs(data: bytes) -> list[DownloadJob]:
    """A list of jobs. Raises msgspec.MsgspecError."""
    return msgspec.json.decode(data, type=list[DownloadJob], strict=False)
