"""Listing the names of one index, or of several as one, in exact byte order.

Runs of entries are read by LMDB's own iterator, which makes tuples in C; Python touches an entry on its
own only where names are longer than an index key, or collapse at a delimiter.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter

import lmdb

from aisle.storage.engine import Entry, Page
from aisle.storage.keys import CHUNK_BYTES, DIRECT_BYTES_MAX, MARKED_BYTES, MARKER, SPACE_BYTES
from aisle.storage.tables import IndexTables

TAKEN_MAX = 5_000
"""Entries read in one read transaction: old pages must not be held for long."""
_by_key = itemgetter(0)


def successor(prefix: bytes) -> bytes | None:
    """The smallest run of bytes above all that begin with `prefix`, or None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


class IndexScan:
    """A scan of one bucket in one index, taken in pieces."""

    def __init__(
        self, tables: IndexTables, bucket: bytes, *, prefix: bytes, after: bytes, delimiter: bytes
    ) -> None:
        self._tables = tables
        self._bucket = bucket
        self._prefix = prefix
        self._delimiter = delimiter
        self.exhausted = False
        """Nothing follows what was taken."""
        self._start = b""
        self._go_on_at(self._first(after))

    def take(self, limit: int) -> list[Entry]:
        """At most `limit` further entries; fewer only at the end."""
        taken: list[Entry] = []
        while len(taken) < limit and not self.exhausted:
            wanted = min(limit - len(taken), TAKEN_MAX)
            with self._tables.environment.begin() as transaction:
                if self._delimiter:
                    taken += self._take_collapsed(transaction, wanted)
                else:
                    found = self._run(transaction, wanted)
                    taken += found
                    self._pass(found, wanted)
        return taken

    def _first(self, after: bytes) -> bytes | None:
        if after < self._prefix:
            return self._prefix
        if not after.startswith(self._prefix):
            return None  # it lies behind all that begins with the prefix
        delimiter, skipped = self._delimiter, len(self._prefix)
        if delimiter:
            # A common prefix stands for all that begins with it.
            end = after.find(delimiter, skipped)
            if end >= 0 and end + len(delimiter) == len(after):
                return successor(after)
        return after + b"\0"

    def _go_on_at(self, start: bytes | None) -> None:
        if start is None:
            self.exhausted = True
        else:
            self._start = start

    def _pass(self, found: list[Entry], wanted: int) -> None:
        if len(found) < wanted:
            self.exhausted = True
        else:
            self._start = found[-1].key + b"\0"

    def _run(self, transaction: "lmdb.Transaction[bytes]", limit: int) -> list[Entry]:
        return self._collect(transaction, self._bucket, b"", self._start, limit=limit)

    def _collect(
        self,
        transaction: "lmdb.Transaction[bytes]",
        space: bytes,
        stem: bytes,
        start: bytes,
        *,
        limit: int,
    ) -> list[Entry]:
        """Entries of one space (a bucket, or a chain whose names all begin with `stem`)."""
        found: list[Entry] = []
        bound = space + self._prefix[len(stem) : len(stem) + CHUNK_BYTES]
        with transaction.cursor(self._tables.objects) as cursor:
            if len(start) > CHUNK_BYTES:
                marker = space + start[:CHUNK_BYTES] + MARKER
                positioned = cursor.set_range(marker)
                if positioned and cursor.key() == marker:
                    inner, chain = stem + start[:CHUNK_BYTES], cursor.value()
                    found = self._collect(transaction, chain, inner, start[CHUNK_BYTES:], limit=limit)
                    positioned = cursor.next()
            else:
                positioned = cursor.set_range(space + start)
            entries = cursor.iternext() if positioned else iter(())
            while len(found) < limit:
                wanted = limit - len(found)
                batch = list(islice(entries, wanted))
                inside = _cut(batch, bound)
                if not inside:
                    break
                if max(len(key) for key, _ in inside) < MARKED_BYTES:
                    found += [Entry(stem + key[SPACE_BYTES:], value) for key, value in inside]
                else:
                    self._descend(transaction, stem, inside, (found, limit))
                if len(inside) < wanted:
                    break
        return found

    def _descend(
        self,
        transaction: "lmdb.Transaction[bytes]",
        stem: bytes,
        batch: Sequence[tuple[bytes, bytes]],
        into: tuple[list[Entry], int],
    ) -> None:
        found, limit = into
        for key, value in batch:
            if len(found) >= limit:
                return
            if len(key) < MARKED_BYTES:
                found.append(Entry(stem + key[SPACE_BYTES:], value))
            else:
                inner = stem + key[SPACE_BYTES:DIRECT_BYTES_MAX]
                found += self._collect(transaction, value, inner, b"", limit=limit - len(found))

    def _take_collapsed(self, transaction: "lmdb.Transaction[bytes]", limit: int) -> list[Entry]:
        taken: list[Entry] = []
        step = 1
        while len(taken) < limit and not self.exhausted:
            if len(self._start) <= CHUNK_BYTES and step == 1:
                self._seek_prefixes(transaction, taken, limit)
            if len(taken) < limit and not self.exhausted:
                # Plain names follow: ever longer runs, as long as they hold no delimiter.
                step = self._take_plain(transaction, taken, min(step * 8, limit - len(taken)))
        return taken

    def _seek_prefixes(self, transaction: "lmdb.Transaction[bytes]", taken: list[Entry], limit: int) -> None:
        """Take common prefixes as long as one follows the other: one look-up each."""
        delimiter, width = self._delimiter, len(self._delimiter)
        bound, skipped = self._bucket + self._prefix, SPACE_BYTES + len(self._prefix)
        following = successor(delimiter)
        position = self._bucket + self._start
        with transaction.cursor(self._tables.objects) as cursor:
            seek, current = cursor.set_range, cursor.key
            while len(taken) < limit:
                if not seek(position) or not (key := current()).startswith(bound):
                    self.exhausted = True
                    return
                end = key.find(delimiter, skipped, DIRECT_BYTES_MAX)
                if end < 0 or following is None:
                    break
                taken.append(Entry(key[SPACE_BYTES : end + width], None))
                position = key[:end] + following
        self._start = position[SPACE_BYTES:]

    def _take_plain(self, transaction: "lmdb.Transaction[bytes]", taken: list[Entry], wanted: int) -> int:
        """Take names up to the first common prefix; how long the next run may be."""
        found = self._run(transaction, wanted)
        delimiter, skipped = self._delimiter, len(self._prefix)
        for number, entry in enumerate(found):
            end = entry.key.find(delimiter, skipped)
            if end >= 0:
                common = entry.key[: end + len(delimiter)]
                taken += found[:number]
                taken.append(Entry(common, None))
                self._go_on_at(successor(common))
                return 1
        taken += found
        self._pass(found, wanted)
        return wanted


def _cut(batch: list[tuple[bytes, bytes]], bound: bytes) -> list[tuple[bytes, bytes]]:
    """What begins with `bound`, in a run that starts with it."""
    if not batch or batch[-1][0].startswith(bound):
        return batch
    return batch[: bisect_left(batch, True, key=lambda entry: not entry[0].startswith(bound))]


def merged_page(scans: Sequence[IndexScan], limit: int, newer: Callable[[bytes, bytes], bytes]) -> Page:
    """One page of several scans of the same names. Of a name found twice, `newer` picks the record."""
    if len(scans) == 1:
        entries = scans[0].take(limit + 1)
        return Page(entries[:limit], more=len(entries) > limit)
    pool: list[Entry] = []
    reached: dict[IndexScan, bytes] = {}
    page: list[Entry] = []
    while len(page) <= limit:
        going = [scan for scan in scans if not scan.exhausted]
        # Names are spread evenly; a little more than the share makes a second round rare.
        share = (limit + 1 - len(page)) // len(scans)
        share += 3 * int(share**0.5) + 8
        lowest = min((reached.get(scan, b"") for scan in going), default=b"")
        for scan in going:
            if reached.get(scan, b"") == lowest and (taken := scan.take(share)):
                pool += taken
                reached[scan] = taken[-1].key
        pool.sort(key=_by_key)
        # Beyond the scan that came least far, others may have names that it has yet to show.
        bounds = [reached[scan] for scan in scans if not scan.exhausted]
        ready = bisect_left(pool, min(bounds) + b"\0", key=_by_key) if bounds else len(pool)
        _append_once(page, pool[:ready], newer)
        del pool[:ready]
        if not bounds:
            break
    return Page(page[:limit], more=len(page) > limit)


def _append_once(page: list[Entry], entries: list[Entry], newer: Callable[[bytes, bytes], bytes]) -> None:
    if not entries:
        return
    if len({entry.key for entry in entries}) == len(entries) and not (
        page and page[-1].key == entries[0].key
    ):
        page += entries
        return
    for entry in entries:
        if page and page[-1].key == entry.key:
            last = page[-1].encoded
            if last is not None and entry.encoded is not None:
                page[-1] = Entry(entry.key, newer(last, entry.encoded))
        else:
            page.append(entry)
