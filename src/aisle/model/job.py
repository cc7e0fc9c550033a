"""Jobs: what is kept about work that outlives a request.

Two documents per job, each with one writer, so that nobody waits for anybody: the *record*
(`job/<id>`) is written by whoever answers the API and says what to do; the *progress*
(`progress/<id>`) is written by the job worker and says how far it is. Both are MessagePack maps:
fields are only ever added, with defaults.
"""

from typing import NamedTuple

import msgspec

from aisle.model.names import Bucket

RECORD_PREFIX = "job/"
PROGRESS_PREFIX = "progress/"

DOWNLOAD_ID_PREFIX = "dnl-"
"""What the ids of download jobs begin with (recorded: `dnl-E3cfEFD7iF`)."""
ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""What follows."""

Span = tuple[int, int]
"""Item numbers from the first to before the second."""


PRIORITY_MAX = 1_000
"""Priorities lie between this and its negative."""
KEPT_ERRORS = 1_000
KEPT_FINISHED = 1_000
SHOWN_FINISHED = 100
"""Finished items that a running job shows between flushes; the kept progress has more."""


class DownloadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a download job shall fetch and where to; checked before it is accepted."""

    kind: str
    """`single`, `range`, `multi`, `list`, `index` or `backend`."""
    bucket: Bucket
    description: str = ""
    link: str = ""
    """Single: where from. Index: the folder that is walked."""
    object_name: str = ""
    """Single: the object's name."""
    template: str = ""
    """Range: the links."""
    subdir: str = ""
    """Range, list, index: the folder of all objects; it precedes their names."""
    objects: tuple[tuple[str, str], ...] = ()
    """Multi: pairs of object name and link, in order."""
    timeout_s: float = 0.0
    """Longest time for one request, 0 for none."""
    connections: int = 0
    """Requests at a time, 0 for as many as the node allows."""
    bytes_per_hour: int = 0
    """Bytes received per hour, 0 for no limit."""
    list_file: str = ""
    """List, index, backend: the name of the file with the items; of the last two it is written by a walk."""
    list_items: int = 0
    """List: how many there are."""
    include: tuple[str, ...] = ()
    """Index: glob patterns of the files that are wanted; none means all."""
    exclude: tuple[str, ...] = ()
    """Index: glob patterns of files and folders that are not wanted."""
    extract: bool = False
    """Whether archives become the objects that are in them."""
    refetch: bool = False
    """Whether to fetch also what is there already and has not changed at its source."""
    prefix: str = ""
    """Backend: what the names of the objects begin with."""
    suffix: str = ""
    """Backend: what they end with."""
    synchronize: bool = False
    """Backend: whether what its source has no more goes here, too."""
    fills: bool = False
    """Whether the items are the objects of the remote bucket itself, which become its copies here."""
    sources: tuple[Bucket, ...] = ()
    """The remote buckets that links lead to: whoever lets the job read must be allowed to read them."""


Headers = tuple[tuple[str, str], ...]
"""Request headers in order: pairs of name and value."""


class Sealed(msgspec.Struct, frozen=True):
    """A secret, wrapped by a master key of the cluster."""

    key: str
    """The id of that master key."""
    box: bytes
    """Nonce, cipher text and tag."""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was asked for. Times are Unix nanoseconds, 0 for not yet."""

    id: str
    started_ns: int
    download: DownloadSpec
    aborted_ns: int = 0
    """Set when somebody asked to stop: the job counts as ended from then on."""
    headers: Sealed | None = None
    """Headers of its requests, which may be credentials: JSON pairs of name and value, wrapped."""
    paused_ns: int = 0
    """Set while somebody wants it to rest."""
    priority: int = 0
    """Of jobs that could start something, those with the highest get the free connections."""
    owner: str = ""
    """Id of the user who asked for it; empty for root, and where nobody has a name."""
    bucket_number: int = 0
    """The number in storage of the bucket that it was accepted for: another bucket may get its name."""

    @property
    def is_resting(self) -> bool:
        """Whether it shall do nothing until it is resumed."""
        return bool(self.paused_ns) and not self.aborted_ns


class ItemError(NamedTuple):
    """An item that failed for good."""

    name: str
    error: str


class FinishedItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An item that is done, well or not. `size` is -1 when the source did not tell one."""

    name: str
    received: int
    size: int
    started_ns: int
    ended_ns: int


class ActiveItem(NamedTuple):
    """An item that is being fetched now. `size` is -1 when it is not known."""

    name: str
    received: int
    size: int
    started_ns: int


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is, as of the last flush. Counts and spans always agree with each other."""

    id: str
    total: int
    """Items in all, -1 when not known."""
    done: tuple[Span, ...] = ()
    """Numbers of the items that are done, well or not: sorted spans that do not touch."""
    finished: int = 0
    """Items stored, or found stored already."""
    skipped: int = 0
    """Of the finished ones: objects that were there, and are what their sources have."""
    updated: int = 0
    """Of the finished ones: objects that were there, and were fetched anew."""
    failed: int = 0
    scheduled: int = 0
    received: int = 0
    """Bytes of the items stored."""
    finished_ns: int = 0
    error: str = ""
    """Why the whole job ended early, if it did."""
    errors: tuple[ItemError, ...] = ()
    """The first failures, at most `KEPT_ERRORS`."""
    recent: tuple[FinishedItem, ...] = ()
    """The last finished items, at most `KEPT_FINISHED`."""
    manifest_bytes: int = 0
    """How much of the job's manifest tells of exactly the items in `done`; what lies behind is not valid."""
    manifest_missing: int = 0
    """Lines that the manifest has not, because there was no space for them."""


class JobBrief(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a progress that lists of jobs show; decoded from the same bytes, far faster."""

    id: str
    total: int
    finished: int = 0
    skipped: int = 0
    updated: int = 0
    failed: int = 0
    scheduled: int = 0
    received: int = 0
    finished_ns: int = 0
    error: str = ""
    errors: tuple[ItemError, ...] = ()
    manifest_bytes: int = 0
    manifest_missing: int = 0

    def progress(self, *, errors_max: int = KEPT_ERRORS) -> JobProgress:
        """The same as a progress, without items and with at most so many of the failures."""
        fields = msgspec.structs.asdict(self) | {"errors": self.errors[:errors_max]}
        return JobProgress(**fields)


class JobLive(msgspec.Struct, frozen=True, kw_only=True):
    """What a running job shows between flushes; volatile."""

    progress: JobProgress
    active: tuple[ActiveItem, ...] = ()
    bytes_received: int = 0
    """Bytes that came over the network for this job since the worker took it up."""
    bytes_per_second: float = 0.0
    """Mean over the last seconds."""
    bytes_total: int = -1
    """Bytes of all items, when the sizes of all are known, else -1."""
    retrying: int = 0
    """Items whose last attempt failed, and that wait for another one."""
    trouble: str = ""
    """Why the last of these failed; empty when none waits."""


encode_job = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(JobRecord).decode
decode_progress = msgspec.msgpack.Decoder(JobProgress).decode
decode_brief = msgspec.msgpack.Decoder(JobBrief).decode
decode_live = msgspec.msgpack.Decoder(JobLive).decode
