"""Bulk jobs: work on many objects of a bucket that outlives the request which asked for it.

As with downloads (model/job.py), two documents per job have one writer each: the *record*
(`bulk/<id>`) says what to do and is written by whoever answers the API; the *progress*
(`bulkprogress/<id>`) says how far it is and is written by the job worker. Names that were given one by
one lie beside them in `bulknames/<id>/<number>`, so that records stay small; they go when the job has
ended. Documents are MessagePack maps: fields are only ever added, with defaults.
"""

from typing import Final

import msgspec

from aisle.model.names import Bucket

BULK_PREFIX: Final = "bulk/"
BULK_PROGRESS_PREFIX: Final = "bulkprogress/"
BULK_NAMES_PREFIX: Final = "bulknames/"

COPY_BUCKET: Final = "copy-bck"
MOVE_BUCKET: Final = "move-bck"
COPY_OBJECTS: Final = "copy-listrange"
DELETE_OBJECTS: Final = "delete-listrange"
EVICT_OBJECTS: Final = "evict-listrange"
ARCHIVE: Final = "archive"
PROMOTE: Final = "promote"
PREFETCH: Final = "prefetch-listrange"
BLOB_DOWNLOAD: Final = "blob-download"
EVICTION: Final = "lru"
CLEANUP: Final = "cleanup-store"

IDLE_KINDS: Final = frozenset({COPY_OBJECTS, ARCHIVE})
"""Kinds that AIStore keeps as running for a while after their work is done (ais-native-api.md §7.2)."""
IDLE_NS: Final = 10 * 1_000_000_000
"""For how long such a job counts as running, and idle, after its work."""

SELECTED_ALL, SELECTED_NAMES, SELECTED_TEMPLATE, SELECTED_PREFIX = "all", "names", "template", "prefix"

ERRORS_KEPT_MAX: Final = 100
"""Failures that a job remembers word by word; all are counted."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects of a bucket a job is about."""

    by: str = SELECTED_ALL
    """`all`, `names`, `template` or `prefix`."""
    names: int = 0
    """How many names were given one by one."""
    documents: int = 0
    """In how many documents they lie."""
    text: str = ""
    """The template, or the prefix."""


class CopySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How objects are copied."""

    prepend: str = ""
    """What the names of the copies begin with."""
    extensions: dict[str, str] = {}
    """File extensions to replace, without dots: from what, to what."""
    dry_run: bool = False
    """Only count what would be copied."""
    synchronize: bool = False
    """Also remove from the destination what the source has not."""
    latest: bool = False
    """Copy what the source of a remote bucket has now, whatever is here of it."""
    only_present: bool = False
    """Of a remote bucket: copy only what is here."""


class BulkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was asked for. Times are Unix nanoseconds, 0 for not yet."""

    id: str
    kind: str
    """AIStore's name of the kind: `copy-bck`, `delete-listrange`, …"""
    started_ns: int
    bucket: Bucket | None = None
    """The bucket whose objects are worked on."""
    number: int = 0
    """Its number in storage: a bucket made again under its old name is another."""
    to_bucket: Bucket | None = None
    to_number: int = 0
    """That one's number; 0 where it is not known, as of a bucket that does not exist yet."""
    selection: Selection = Selection()
    copying: CopySettings = CopySettings()
    workers: int = 0
    """Objects worked on at a time; 0 for as many as the node likes, -1 for one after the other."""
    continues_on_error: bool = False
    details: bytes = b""
    """What only this kind needs, encoded by it."""
    aborted_ns: int = 0
    """Set when somebody asked to stop: the job counts as ended from then on."""
    owner: str = ""
    """Id of the user who asked for it; empty for root, and where nobody has a name."""


class BulkProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is, as of the last flush. Counts always agree with the place where it would go on."""

    id: str
    visited: int = 0
    """Names that were dealt with, well or not."""
    after: bytes = b""
    """For a scan of a bucket: the last name dealt with."""
    objects: int = 0
    """Objects that were copied, deleted, …"""
    bytes: int = 0
    """Bytes of these."""
    failed: int = 0
    errors: tuple[str, ...] = ()
    """The first failures, at most `ERRORS_KEPT_MAX`."""
    finished_ns: int = 0
    error: str = ""
    """Why the whole job ended early, if it did."""
    removed: int = 0
    """Objects that were removed from the destination because the source has none of their names."""
    under_way: int = 0
    """Bytes that have come of objects which are not whole yet."""


encode_bulk = msgspec.msgpack.Encoder().encode
decode_bulk_record = msgspec.msgpack.Decoder(BulkRecord).decode
decode_bulk_progress = msgspec.msgpack.Decoder(BulkProgress).decode
encode_names = msgspec.msgpack.Encoder().encode
decode_names = msgspec.msgpack.Decoder(list[str]).decode
