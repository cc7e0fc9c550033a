"""A bulk job's counts, which always agree with the place where it would go on."""

from collections.abc import Awaitable, Callable
from typing import Final

from aisle.model.bulk import ERRORS_KEPT_MAX, BulkProgress

_ERROR_CHARS_MAX: Final = 500


class BatchCounts:
    """What became of the objects of one batch."""

    def __init__(self) -> None:
        self.objects = 0
        self.bytes = 0
        self.errors: list[str] = []

    def done(self, size: int) -> None:
        """An object was dealt with; its size in bytes."""
        self.objects += 1
        self.bytes += size

    def failed(self, error: Exception) -> None:
        """An object could not be dealt with."""
        self.errors.append(str(error)[:_ERROR_CHARS_MAX])


class BulkTally:
    """Counts of a job; starts from what was kept last.

    `is_resumed` tells that an earlier process had begun it, and died: some of what follows may have been
    done already.
    """

    def __init__(self, kept: BulkProgress, *, is_resumed: bool = False) -> None:
        self._kept = kept
        self.visited = kept.visited
        self.after = kept.after
        self.is_resumed = is_resumed
        self.keep: Callable[[], Awaitable[object]] = _keep_nothing
        """Makes durable now what is counted, which happens once a second anyway."""
        self.batches = 0
        """Batches that this process has been through."""
        self.error = kept.error
        self.removed = kept.removed
        """Objects that were removed from the destination."""
        self.under_way: Callable[[], int] = _nothing
        """Bytes that have come of objects which are not whole yet."""
        self._objects = kept.objects
        self._bytes = kept.bytes
        self._failed = kept.failed
        self._errors = list(kept.errors)

    def add(self, counts: BatchCounts, *, visited: int, after: bytes) -> None:
        """A batch is through: count it, and go on behind it. Call it last, and once per batch."""
        self._objects += counts.objects
        self._bytes += counts.bytes
        self._failed += len(counts.errors)
        self._errors += counts.errors[: ERRORS_KEPT_MAX - len(self._errors)]
        self.visited += visited
        self.after = after
        self.batches += 1

    def progress(self, *, finished_ns: int = 0) -> BulkProgress:
        """What to keep now."""
        return BulkProgress(
            id=self._kept.id,
            visited=self.visited,
            after=self.after,
            objects=self._objects,
            bytes=self._bytes,
            failed=self._failed,
            errors=tuple(self._errors),
            finished_ns=finished_ns,
            error=self.error,
            removed=self.removed,
            under_way=0 if finished_ns else self.under_way(),
        )


def _nothing() -> int:
    """No bytes."""
    return 0


async def _keep_nothing() -> None:
    """Keep nothing: nobody would go on."""
