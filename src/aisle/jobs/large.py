"""An object too large for memory, on its way from the network to the disk.

Its bytes come in pieces, one per connection, each through a bounded queue into drafts. A source that
can continue where it was broken off gets its object stored in parts, each durable when it is complete:
whatever dies, at most the parts that were filling are fetched again. Nothing is visible before the whole
object has been checked. Its digests need the bytes in order: they run along with whichever piece is next,
and what was fetched ahead, or by an earlier process, is read once more when its turn has come.

After a mere broken connection nothing is lost at all: draft and queue wait for more bytes.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol

from aisle.errors import CorruptObject, NotFound, Unavailable
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.piece import Piece, done
from aisle.model.record import ANY, Attributes, Condition, Record
from aisle.rules.download_metadata import DOWNLOAD_JOB, ORIGIN, origin
from aisle.rules.download_reply import Resume
from aisle.rules.download_streams import Claims, split_bytes_min
from aisle.storage.engine import Draft, OpenPayload, Part, Upload
from aisle.storage.hashing import NamedDigests, is_digest_kind

HEADWAY_BYTES = 64 * 1024
"""So many bytes more than an item ever had are progress."""

_READ_BYTES = 4 * 1024 * 1024
_SLOW_KINDS = frozenset({"md5", "sha256", "sha512"})  # below 2 GB/s: hashed in a thread
_PARTS_MAX = 4096  # of one object, as far as this module has a say: each makes its record longer
# A slow source's parts are kept before they are full, so that a restart loses a few seconds of it.
_EARLY_PART_BYTES = 8 * 1024 * 1024
_EARLY_PARTS_MAX = 256  # whoever reads the object opens a file for each
_EARLY_PART_S = 10.0

# Custom metadata of an upload in progress; the finished object gets its own.
_VALIDATOR, _ETAG, _TOTAL = "download_validator", "ETag", "download_total"
_OFFSET = "download_offset"  # of a part


class Source(NamedTuple):
    """Which bytes these are."""

    key: bytes
    link: str
    job_id: str


class Answer(Protocol):
    """What a source tells about an object when it begins to deliver it."""

    @property
    def validator(self) -> str:
        """What only this version has, and a request for the rest names; empty if there is no such thing."""

    @property
    def etag(self) -> str:
        """The entity tag; may be empty."""

    def digests(self) -> Mapping[str, str]:
        """The digests that the bytes must have, by kind."""


class SavedParts(NamedTuple):
    """What an earlier process left of an object: parts by where they begin, which do not overlap."""

    upload: Upload
    parts: Mapping[int, Part]

    @property
    def size(self) -> int:
        """Bytes that need not be fetched again."""
        return sum(part.size for part in self.parts.values())


class LargeObject:
    """One object being stored. `broken` is told when storing has failed and no byte is wanted more."""

    def __init__(
        self,
        destination: Destination,
        source: Source,
        budget: ByteBudget,
        *,
        part_bytes: int,
        broken: Callable[[Exception], None],
    ) -> None:
        self._destination = destination
        self._source = source
        self._budget = budget
        self._part_bytes = part_bytes
        self._broken = broken
        self._claims = Claims(0)
        self._running: list[Piece] = []
        self._parked: list[Piece] = []
        self._whole_pieces: list[Piece] = []
        self._here = 0  # bytes of parts of earlier processes, and of pieces that are whole
        self._beginning: asyncio.Future[Upload] | None = None
        self._parts: dict[int, Part] = {}
        """Those that are durable, by where they begin."""
        self._number = 0
        self._announced: Mapping[str, str] = {}
        self._kinds: tuple[str, ...] = ()
        self._digests: NamedDigests | None = None
        self._hashed = 0
        """The digests have taken all bytes before this."""
        self._hashing: asyncio.Future[None] | None = None
        """A thread that takes bytes as they come; one of these two at a time."""
        self._catching_up: asyncio.Task[None] | None = None
        self._is_started = False
        self._is_continued = False
        self._in_parts = False
        self._abandoned = False
        self._validator = ""
        self._etag = ""
        self.total: int | None = None

    @property
    def etag(self) -> str:
        """The entity tag of the version that is being stored; may be empty."""
        return self._etag

    @property
    def received(self) -> int:
        """Bytes that are here."""
        return self._here + sum(piece.received for piece in (*self._running, *self._parked))

    @property
    def can_continue(self) -> bool:
        """Whether a new request may fetch what is missing, and nothing else."""
        return bool(self._validator and self.total is not None)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have come."""
        return not (self._running or self._parked or self._claims)

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has left; called before anything else."""
        custom = saved.upload.attributes.custom
        self._beginning = asyncio.get_running_loop().create_future()
        self._beginning.set_result(saved.upload)
        self._parts = dict(saved.parts)
        self._number = max((part.number for part in saved.parts.values()), default=0)
        self._is_continued = self._in_parts = True
        self._announced = saved.upload.attributes.digests
        self._validator, self._etag = custom[_VALIDATOR], custom.get(_ETAG, "")
        self.total = int(custom[_TOTAL])
        self._claims = Claims(self.total)
        for offset, part in saved.parts.items():
            self._claims.exclude(offset, offset + part.size)
        self._here = saved.size

    def started(self, answer: Answer, total: int | None, kinds: Sequence[str] | None = None) -> None:
        """An answer has begun to deliver this object or some of it.

        `kinds` are the digests to compute, if not the bucket's own and those that can be checked.
        """
        if self._is_started:
            return
        self._is_started = True
        if not self._is_continued:
            self.total = total
            self._validator, self._etag = answer.validator, answer.etag
            self._announced = answer.digests()
            self._claims = Claims(total or 0)
            self._in_parts = self.can_continue and total is not None and total > self._part_bytes
        wanted = self._destination.kinds(self._announced) if kinds is None else kinds
        self._kinds = tuple(dict.fromkeys((*wanted, *filter(is_digest_kind, self._announced))))
        self._digests = NamedDigests(self._kinds) if self._kinds else None
        self._catch_up()

    # Pieces: who fetches what.

    def next_piece(self, length: int) -> Piece | None:
        """A piece to fetch now, at most `length` bytes if it is a new one; None if all are being fetched."""
        if self._parked:
            piece = self._parked.pop(0)
        elif self.total is None:
            piece = Piece(self, None, self._budget)
        elif (claim := self._claims.take(length)) is not None:
            piece = Piece(self, claim, self._budget)
        else:
            return None
        if piece.claim is not None:
            piece.reach = piece.claim.end
        self._running.append(piece)
        return piece

    def share(self, length: int) -> bool:
        """Let there be a piece for one more connection, taken from others if need be; whether there is."""
        if self._parked or self._claims:
            self._in_parts = True
            return True
        largest = max(self._running, key=_left, default=None)
        if largest is None or largest.claim is None or _left(largest) < split_bytes_min(self._part_bytes):
            return False
        self._in_parts = True
        self._claims.cut(largest.claim, min(length, _left(largest) // 2))
        return True

    def resume_point(self, piece: Piece) -> Resume:
        """What a request for the rest of a piece continues."""
        return Resume(piece.position, self._validator, self._etag, self.total)

    def park(self, piece: Piece) -> None:
        """A piece's connection is gone: somebody else will go on with it."""
        self._running.remove(piece)
        if piece.claim is not None and not piece.received:
            self._claims.give_back(piece.claim)  # a neighbour may go on into it without asking again
            piece.finish()
        else:
            self._parked.append(piece)

    def finish(self, piece: Piece) -> None:
        """All bytes of a piece have been offered."""
        self._running.remove(piece)
        self._whole_pieces.append(piece)
        self._here += piece.received
        piece.finish()

    @property
    def was_held_back(self) -> bool:
        """Whether bytes had to wait for the disk since this was asked last."""
        held_back = [piece for piece in self._running if piece.held_back]
        for piece in held_back:
            piece.held_back = False
        return bool(held_back)

    # What pieces ask; see Whole.

    def hash(self, offset: int, chunks: Sequence[bytes]) -> Awaitable[None] | None:
        """Take bytes into the digests if their turn has come; they are read again later otherwise."""
        digests = self._digests
        if digests is None or offset != self._hashed or self._is_hashing:
            return None
        self._hashed += sum(map(len, chunks))
        if _SLOW_KINDS.isdisjoint(self._kinds):
            digests.update(chunks)
            return None
        self._hashing = asyncio.ensure_future(asyncio.to_thread(digests.update, chunks))
        return self._hashing

    @property
    def _is_hashing(self) -> bool:
        return self._catching_up is not None or (self._hashing is not None and not self._hashing.done())

    def seals(self, size: int, age_s: float) -> bool:
        """Whether a draft of this size, begun so long ago, should become a part now."""
        if age_s < _EARLY_PART_S or self.total is None or not self.can_continue:
            return False
        early = max(min(_EARLY_PART_BYTES, self._part_bytes), self.total // _EARLY_PARTS_MAX)
        self._in_parts = self._in_parts or size >= early
        return size >= early

    def part_room(self, size: int) -> int:
        """How many bytes more a draft of this size may take."""
        if not self._in_parts or self.total is None:
            return 2**62
        return max(0, max(self._part_bytes, self.total // _PARTS_MAX) - size)

    def new_draft(self, size: int | None) -> Draft:
        """A draft for so many bytes, if that is known."""
        if size is not None:
            size = min(size, self.part_room(0))
        destination = self._destination
        name = destination.name(self._source.key)
        return destination.engine.draft(name, size=size, sync=destination.bucket.payload_sync)

    def is_in_parts(self) -> bool:
        """Whether what a piece ends with is a part too."""
        return self._in_parts

    async def commit_part(self, offset: int, draft: Draft) -> None:
        """Make a draft durable as a part."""
        self._number += 1
        number = self._number
        try:
            upload = await self._upload()
            await done(draft.finish())
        except BaseException:
            draft.abort()
            raise
        attributes = Attributes(custom={_OFFSET: str(offset)})
        self._parts[offset] = await self._destination.engine.commit_part(upload, number, draft, attributes)
        self._catch_up()

    def extend(self, piece: Piece) -> None:
        """Let a piece go on behind its end, as far as its connection delivers and nobody else fetches."""
        assert piece.claim is not None
        self._claims.extend(piece.claim, min(self._part_bytes, piece.reach - piece.claim.end))

    def piece_broke(self, error: Exception) -> None:
        """The bytes cannot be stored."""
        if not self._abandoned:
            self._broken(error)

    # The end.

    async def complete(
        self,
        attributes_of: Callable[[Mapping[str, str], int], Attributes],
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> Record:
        """All bytes have been offered: check the object and make it visible.

        `attributes_of` gives its attributes, of its digests and its size in bytes.
        Raises ChecksumMismatch, ConditionFailed, OutOfSpace, CorruptObject, NotFound, Unavailable. Call
        `abandon` after that.
        """
        assert self._is_started
        for piece in self._whole_pieces:
            await piece.stored()
        self._catch_up()
        while self._catching_up is not None:
            await self._catching_up
        if self._abandoned:
            raise Unavailable("the download was stopped")
        source, destination = self._source, self._destination
        computed: dict[str, str] = {}
        if self._digests is not None:
            assert self.total in (None, self._hashed), f"{self._hashed} of {self.total} bytes were hashed"
            computed = {kind: self._digests.hex(kind) for kind in self._kinds}
        destination.check(source.key, self._announced, computed)
        attributes = attributes_of(computed, self.received)
        if self._beginning is not None:
            record = await destination.engine.complete_upload(
                await self._beginning,
                self._numbers(),
                attributes,
                condition=condition,
                written_ns=written_ns,
            )
            self._beginning = None
            return record
        (piece,) = self._whole_pieces
        draft, piece.draft = piece.draft or self.new_draft(None), None
        await done(draft.finish())
        return await destination.engine.commit(
            destination.name(source.key), draft, attributes, condition=condition, written_ns=written_ns
        )

    def _numbers(self) -> list[int]:
        """The numbers of the parts in the order of their bytes."""
        end = 0
        for offset in sorted(self._parts):
            assert offset == end, f"bytes from {end} to {offset} are missing"
            end += self._parts[offset].size
        assert end == self.total
        return [self._parts[offset].number for offset in sorted(self._parts)]

    async def abandon(self, *, keep_parts: bool = False) -> None:
        """Forget the object; with `keep_parts` what is durable of it stays for a later process."""
        self._abandoned = True
        pieces = (*self._running, *self._parked, *self._whole_pieces)
        await asyncio.gather(*(piece.abandon() for piece in pieces))
        for task in (self._catching_up, self._beginning):
            if task is not None:
                await asyncio.wait([task])
                if not task.cancelled():
                    task.exception()
        beginning, self._beginning = self._beginning, None
        if (
            beginning is not None
            and not keep_parts
            and not beginning.cancelled()
            and not beginning.exception()
        ):
            await abandon_upload(self._destination, beginning.result())

    def _upload(self) -> "asyncio.Future[Upload]":
        """The upload that the parts belong to, begun when there is a first one."""
        if self._beginning is None:
            custom = {
                DOWNLOAD_JOB: self._source.job_id,
                ORIGIN: origin(self._source.link),
                _VALIDATOR: self._validator,
                _ETAG: self._etag,
                _TOTAL: str(self.total),
            }
            attributes = Attributes(custom=custom, digests=dict(self._announced))
            name = self._destination.name(self._source.key)
            self._beginning = self._destination.engine.begin_upload(name, attributes)
        return self._beginning

    # Digests of what did not come in order.

    def _catch_up(self) -> None:
        """Take durable parts into the digests, from where these are."""
        if self._digests is not None and self._catching_up is None and self._hashed in self._parts:
            self._catching_up = asyncio.get_running_loop().create_task(self._hash_parts(self._digests))

    async def _hash_parts(self, digests: NamedDigests) -> None:
        try:
            if self._hashing is not None:
                await self._hashing
            while not self._abandoned and (part := self._parts.get(self._hashed)) is not None:
                upload = await self._upload()
                await asyncio.to_thread(self._hash_part, upload, part, digests)
                self._hashed += part.size
        except Exception as error:
            self.piece_broke(error)
            raise
        finally:
            self._catching_up = None

    def _hash_part(self, upload: Upload, part: Part, digests: NamedDigests) -> None:
        """Take the bytes of a part into the digests; runs in a thread."""
        payload = self._destination.engine.open_part(upload.id, part.number)
        if payload is None:
            raise CorruptObject(f"part {part.number} of upload {upload.id} is gone")
        with closing(payload):
            _hash_payload(payload, digests)


def _left(piece: Piece) -> int:
    return piece.claim.left if piece.claim is not None else 0


def saved_parts(destination: Destination, job_id: str) -> dict[bytes, SavedParts]:
    """What earlier processes left of a job's objects, by key; of several the one begun last."""
    found: dict[bytes, SavedParts] = {}
    for upload in sorted(job_uploads(destination, job_id), key=lambda upload: upload.started_ns):
        parts: dict[int, Part] = {}
        end = 0
        for part in sorted(destination.engine.parts(upload.id), key=_offset):
            offset = _offset(part)
            if offset >= end:
                parts[offset] = part
                end = offset + part.size
        if sum(part.size for part in parts.values()) == int(upload.attributes.custom[_TOTAL]):
            # All was there but not completed. A request for nothing has no answer: ask for the end again.
            parts.popitem()
        found[upload.key] = SavedParts(upload, parts)
    return found


def _offset(part: Part) -> int:
    return int(part.attributes.custom[_OFFSET])


def job_uploads(destination: Destination, job_id: str = "") -> list[Upload]:
    """The uploads in a bucket that belong to a job, or to any job."""
    uploads = destination.engine.uploads(destination.bucket.number)
    return [upload for upload in uploads if (owner := job_of(upload)) and job_id in ("", owner)]


def job_of(upload: Upload) -> str:
    """The id of the job that an upload belongs to; empty for one that a client began."""
    return upload.attributes.custom.get(DOWNLOAD_JOB, "")


async def abandon_upload(destination: Destination, upload: Upload) -> None:
    """Drop an upload; harmless when it is gone."""
    try:
        await destination.engine.abandon_upload(upload.id)
    except NotFound:
        pass


def _hash_payload(payload: OpenPayload, digests: NamedDigests) -> None:
    if payload.inline is not None:
        digests.update([payload.inline])
        return
    for segment in payload.segments:
        offset, end = segment.offset, segment.offset + segment.length
        while offset < end:
            data = os.pread(segment.fd, min(_READ_BYTES, end - offset), offset)
            if not data:
                raise CorruptObject("a part's file is shorter than its record says")
            digests.update([data])
            offset += len(data)
