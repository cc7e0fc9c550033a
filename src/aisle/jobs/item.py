"""One item of a download job: asked for as often as needed, stored once.

Small bodies wait in memory and are committed the moment they are whole, without a task of their own:
that is the path of datasets made of many files. Larger ones, and those of unknown length once they
have grown, flow through a `LargeObject`, which remembers how far it is between attempts. One that comes
slowly, while connections are free, gets further ones (`Streams`); the item holds a connection as long as
any of them is left.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from aisle.errors import (
    AisleError,
    ChecksumMismatch,
    NotFound,
    OutOfSpace,
    SourceFailed,
    UploadNotFound,
)
from aisle.jobs.filing import Filing
from aisle.jobs.item_owner import ItemOwner
from aisle.jobs.large import HEADWAY_BYTES, LargeObject, SavedParts, Source
from aisle.jobs.piece import Piece
from aisle.jobs.streams import StreamEnd, Streams, StreamSource, range_options
from aisle.model.record import INLINE_BYTES_MAX, Attributes, Record
from aisle.rules.backoff import is_transient
from aisle.rules.download_names import authority_of, is_packed, public_link
from aisle.rules.download_plan import Item
from aisle.rules.download_reply import (
    Again,
    Earlier,
    Refused,
    Reply,
    Start,
    Unchanged,
    Wanted,
    judge,
)
from aisle.rules.download_unchanged import Known
from aisle.transfer.carriers import Carrier
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, Fetcher, FetchRequest

BUFFERED_BYTES_MAX = 256 * 1024
"""Bodies up to this size wait in memory until they are whole."""


class ItemDownload:
    """One item on its way, over all its attempts."""

    def __init__(self, owner: ItemOwner, item: Item, *, now_ns: int) -> None:
        self.item = item
        self.host = authority_of(item.link)
        self.started_ns = now_ns
        self.failures = 0
        """Attempts in a row that made no headway."""
        self.size: int | None = None
        self.known: Known | None = None
        """The object that is there already, if it may be what the source has: that is asked first."""
        self.replaces = False
        """Whether an object of that name is there already."""
        self._owner = owner
        self._wanted = Wanted(item.checksum, item.size) if item.checksum or item.size >= 0 else None
        self._earlier: Earlier | None = None
        self._fetcher: Fetcher | None = None
        self._fetch: Fetch | None = None
        self._reply: Reply | None = None
        self._began: Reply | None = None
        """What the large object's bytes came with last."""
        self._refused: Refused | None = None
        self._again = self._unchanged = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._large: LargeObject | None = None
        self._piece: Piece | None = None  # of the large object, what the item's own connection brings
        self._streams: Streams | None = None
        self._is_alone = False  # what several connections brought did not fit together
        self.is_over = False
        """Nobody wants the item any more."""
        self._furthest = 0  # the most bytes that were ever here
        self._wrong = ""  # how the last whole body differed from what was promised

    @property
    def name(self) -> str:
        """The object's name, to be shown."""
        return self.item.key.decode("utf-8", "backslashreplace")

    @property
    def received(self) -> int:
        """Bytes of the object that are here."""
        return self._large.received if self._large is not None else self._buffered

    @property
    def connections(self) -> int:
        """How many fetch for the item now."""
        further = len(self._streams) if self._streams is not None else 0
        return further + (self._fetch is not None)

    @property
    def is_answered(self) -> bool:
        """Whether the server has answered the last attempt, whatever it said."""
        return self._reply is not None

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has stored of the object."""
        self._large = self._new_large()
        self._large.adopt(saved)
        self.size = self._large.total

    def start(self, fetcher: Fetcher) -> None:
        """Ask for the object, or for the rest of it."""
        self._fetcher = fetcher
        self._reply = self._refused = None
        self._again = self._unchanged = False
        self._chunks, self._buffered = [], 0
        link, owner = self.item.link, self._owner
        options = owner.packed_options if is_packed(link) else owner.options
        self._piece = self._missing()
        if self._piece is not None and self._large is not None:
            options = range_options(options, self._large, self._piece)
        elif self.known is not None:
            options = options._replace(headers=(self.known.condition,))
        self._fetch = fetcher.start(FetchRequest(link, options, owner.throttle), self)

    def take_over(self, fetcher: Fetcher, carrier: Carrier | None) -> Fetch:
        """Go on with what was asked for already, over this carrier."""
        self._fetcher = fetcher
        link, owner = self.item.link, self._owner
        options = owner.packed_options if is_packed(link) else owner.options
        if self.known is not None:
            options = options._replace(headers=(self.known.condition,))
        self._fetch = fetcher.take_over(carrier, FetchRequest(link, options, owner.throttle), self)
        return self._fetch

    def _missing(self) -> Piece | None:
        """What to fetch of a large object of which something is here; None if all of it."""
        large = self._large
        if large is None:
            return None
        if large.can_continue and large.received and large.total is not None:
            piece = large.next_piece(large.total)
            if piece is not None:
                return piece
        self._discard_large()  # a request for nothing has no answer
        return None

    def wants_stream(self, now_s: float) -> bool:
        """Whether the item would come faster over one more connection."""
        return self._streams is not None and self._streams.wants_more(now_s, self.connections)

    def start_stream(self) -> None:
        """Use one more connection; only after `wants_stream` has said so."""
        assert self._streams is not None
        self._streams.start()

    def cancel(self, *, keep_parts: bool) -> None:
        """Stop at once. What is durable of a large object is kept for another process, or dropped."""
        self.is_over = True
        self._cancel_connections()
        self._chunks.clear()
        if self._large is not None:
            self._owner.spawn(self._large.abandon(keep_parts=keep_parts))
            self._large = None

    # Called by the fetch.

    def head(self, reply: Reply) -> bool:
        """The answer's head; whether its body is wanted."""
        if self._wanted is not None:
            reply = msgspec.structs.replace(reply, wanted=self._wanted)
        self._reply = reply
        large, piece = self._large, self._piece
        resume = large.resume_point(piece) if large is not None and piece is not None else None
        known, earlier = None if resume else self.known, self._earlier
        if earlier is None and self.known is not None:
            earlier = Earlier(self.known.size, self.known.content_type)
        verdict = judge(reply, link=self.item.link, resume=resume, known=known, earlier=earlier)
        if isinstance(verdict, Start) and (reply.status == 206 or self.connections <= 1):
            self._begin(reply, verdict)
            return True
        if verdict is Again.FROM_ZERO or isinstance(verdict, Start):
            # Another version now: what further connections bring belongs to the last one.
            self._again = True
            self.known = None
        elif verdict is Unchanged.IS:
            self._unchanged = True
        else:
            assert isinstance(verdict, Refused)
            self._refused = verdict
        return False

    def body(self, chunk: bytes) -> bool:
        """The next bytes; False when they must come again later."""
        if self._large is None:
            if self._buffered + len(chunk) <= BUFFERED_BYTES_MAX:
                self._chunks.append(chunk)
                self._buffered += len(chunk)
                self._owner.bytes_received += len(chunk)
                return True
            self._outgrow()
        piece = self._piece
        assert piece is not None
        if not piece.offer(chunk, self._on_room):
            return False
        self._owner.bytes_received += len(chunk)
        if piece.is_full and self._fetch is not None:
            self._fetch.enough()
        return True

    def ended(self, failed: Failure | None) -> None:
        """The answer is complete, or no more of it will come."""
        self._fetch = None
        if self.is_over:
            return
        try:
            self._judge_end(failed)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            self._is_broken(error, keep=0)

    # How connections end.

    def _judge_end(self, failed: Failure | None) -> None:
        reply = self._reply
        if self.received >= self._furthest + HEADWAY_BYTES:
            self.failures = 0  # a bad line must not use up the attempts of a large file
            self._furthest = self.received
        if self._refused is not None and reply is not None:
            refused = SourceFailed(self._refused.message, status=reply.status)
            may_pass = self._refused.may_pass or is_transient(reply.status)
            self._connection_failed(Failure(refused, may_pass), reply.retry_after)
        elif self._unchanged:
            self._owner.item_unchanged(self)
        elif failed is not None and not (self._piece is not None and self._piece.is_full):
            self._connection_failed(failed)
        elif self._again:
            self._begin_again()
        elif self._large is not None and self._piece is not None:
            self._piece_ended(self._large, self._piece)
        elif (wrong := self._wrong_size()) is not None:
            self._attempt_failed(wrong)
        else:
            self._owner.item_received(self)
            self._store()

    def _piece_ended(self, large: LargeObject, piece: Piece) -> None:
        if piece.claim is None or piece.is_full:
            large.finish(piece)
            self._piece = None
            self._go_on(large)
        else:
            self._connection_failed(self._short())

    def _go_on(self, large: LargeObject) -> None:
        """A connection has brought what it was to bring: fetch what is left, or store."""
        assert self._fetcher is not None
        if not large.is_whole:
            if self.connections:
                self._owner.connection_spared(self, None, "")
            else:
                self.start(self._fetcher)
        elif (wrong := self._wrong_size()) is not None:
            self._discard_large()
            self._attempt_failed(wrong)
        else:
            self._owner.item_received(self)
            self._store()

    def _stream_ended(self, large: LargeObject, end: StreamEnd) -> None:
        """A further connection has ended."""
        if self.is_over:
            return
        try:
            self._judge_stream(large, end)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            self._is_broken(error, keep=0)

    def _judge_stream(self, large: LargeObject, end: StreamEnd) -> None:
        if end.changed:
            # Or else the servers behind one name disagree about it: whoever asks one of them only is served.
            self._is_alone = True
            self._begin_again()
        elif end.failure is not None:
            if end.is_without_ranges:
                self._owner.hosts.note_without_ranges(self.host)
            self._connection_failed(end.failure, end.retry_after)
        else:
            self._go_on(large)

    def _connection_failed(self, failure: Failure, retry_after: str = "") -> None:
        """One connection failed; with the last one, the attempt has."""
        if self._fetch is None and self._piece is not None and self._large is not None:
            self._large.park(self._piece)
            self._piece = None
        if self.connections:
            assert self._streams is not None
            self._streams.failed(self.connections)
            self._owner.connection_spared(self, failure, retry_after)
        else:
            self._attempt_failed(failure, retry_after)

    def _begin_again(self) -> None:
        self._spare_connections(keep=0)
        self._discard_large()
        self._attempt_failed(self._source_failed("its source has changed: beginning again"))

    def _cancel_connections(self) -> int:
        """Break all off; how many there were."""
        count = self._streams.cancel() if self._streams is not None else 0
        if self._fetch is not None:
            self._fetch.cancel()
            self._fetch = None
            count += 1
        return count

    def _spare_connections(self, *, keep: int) -> None:
        """Break all off; the owner counts `keep` of them itself."""
        for _ in range(self._cancel_connections() - keep):
            self._owner.connection_spared(self, None, "")

    def _is_broken(self, error: Exception, *, keep: int = 1) -> None:
        self._spare_connections(keep=keep)
        self._owner.item_broken(self, error)

    def _short(self) -> Failure:
        return self._source_failed(f"{self.received} bytes came, {self.size} were announced")

    def _wrong_size(self) -> Failure | None:
        """Why what has come cannot be the object, if its size says so."""
        if self.size is not None and self.received != self.size:
            return self._short()
        if self.item.size not in (-1, self.received):
            return self._source_failed(f"it has {self.received} bytes, it should have {self.item.size}")
        return None

    # The rest is storing.

    def _begin(self, reply: Reply, start: Start) -> None:
        if self._large is None or self._piece is None or reply.status != 206:
            self._discard_large()
            self._earlier = Earlier(start.total, reply.fields.get("Content-Type", ""))
            self.size = start.total
            if start.total is None or start.total <= BUFFERED_BYTES_MAX:
                return  # memory first: what does not tell its size may be small
            self._take_as_large(reply)
        else:
            self._large.started(reply, start.total)
            self._began = reply
            self._piece.begin()
        self._prepare_streams()

    def _take_as_large(self, reply: Reply) -> Piece:
        """The object's first piece: all of it."""
        large = self._large = self._new_large()
        large.started(reply, self.size)
        self._began = reply
        piece = self._piece = large.next_piece(self.size or 1)
        assert piece is not None
        piece.begin()
        return piece

    def _prepare_streams(self) -> None:
        """See whether the object may have further connections."""
        owner, large, fetcher, fetch = self._owner, self._large, self._fetcher, self._fetch
        if large is None or fetcher is None or fetch is None or not owner.hosts.gives_ranges(self.host):
            return
        if self._is_alone or not large.can_continue or owner.streams_max <= 1 or fetch.is_multiplexed:
            return  # over one connection, parallel ranges gain nothing
        if self._streams is None:
            options = owner.packed_options if is_packed(self.item.link) else owner.options
            source = StreamSource(self.item.link, options, owner)
            self._streams = Streams(large, source, fetcher, ended=self._stream_ended)
        owner.item_may_split(self)

    def _outgrow(self) -> None:
        """A body of unknown length is not small: what has come of it goes ahead."""
        assert self._reply is not None
        piece = self._take_as_large(self._reply)
        for chunk in self._chunks:
            taken = piece.offer(chunk, self._on_room)
            assert taken, "an empty queue takes what fits into memory"
        self._chunks = []

    def _new_large(self) -> LargeObject:
        owner = self._owner
        return LargeObject(
            owner.destination,
            Source(self.item.key, self.item.link, owner.id),
            owner.budget,
            part_bytes=owner.part_bytes,
            broken=self.storing_broke,
        )

    def _discard_large(self) -> None:
        if self._large is not None:
            self._owner.spawn(self._large.abandon())
            self._large = self._piece = self._streams = None

    def _on_room(self) -> None:
        if self._fetch is not None:
            self._fetch.resume()

    def _store(self) -> None:
        if self._large is not None:
            self._owner.spawn(self._complete_large(self._large))
            return
        owner, reply = self._owner, self._reply
        assert reply is not None
        chunks, self._chunks = self._chunks, []
        payload = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if len(payload) > INLINE_BYTES_MAX:
            work = Filing(owner.destination, self, reply).store(payload)
            if work is not None:
                owner.spawn(work)
            return
        try:
            future = owner.destination.put_small(self.item.key, self.item.link, reply, payload)
        except AisleError as error:
            self._storing_failed(error)
        else:
            future.add_done_callback(self.committed)

    def committed(self, future: "asyncio.Future[Record]") -> None:
        """A body that waited in memory is stored, or could not be."""
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            if not self.is_over:
                self._owner.item_stored(self, future.result())
        elif isinstance(error, Exception):
            self.storing_broke(error)

    async def _complete_large(self, large: LargeObject) -> None:
        try:
            record = await large.complete(self._attributes)
        except AisleError as error:
            if self._large is large:  # else its failure has been reported already
                self._storing_failed(error)
            return
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            if self._large is large:
                self._is_broken(error)
            return
        self._large = self._streams = None
        if not self.is_over:
            self._owner.item_stored(self, record)

    def _attributes(self, computed: Mapping[str, str], size: int) -> Attributes:
        assert self._began is not None
        return self._owner.destination.attributes(self.item.link, self._began, computed, size=size)

    def storing_broke(self, error: Exception) -> None:
        """The object cannot be stored, whatever else would come."""
        if isinstance(error, AisleError):
            self._storing_failed(error)
        else:
            self._is_broken(error)

    def _storing_failed(self, error: AisleError) -> None:
        if self.is_over:
            return
        self._spare_connections(keep=1)
        self._is_alone = self._is_alone or isinstance(error, ChecksumMismatch)
        self._discard_large()
        self._attempt_failed(Failure(error, transient=_may_pass(error) and not self._is_wrong_again(error)))

    def _is_wrong_again(self, error: AisleError) -> bool:
        """Whether a whole body differs from what was promised just as the one before did.

        What was damaged on the way is not damaged twice in the same way: then it is what the source has.
        """
        wrong = str(error) if isinstance(error, ChecksumMismatch | SourceFailed) else ""
        again, self._wrong = bool(wrong) and wrong == self._wrong, wrong
        return again

    def _attempt_failed(self, failure: Failure, retry_after: str = "") -> None:
        self.failures += 1
        self._owner.item_failed(self, failure, retry_after)

    def _source_failed(self, reason: str) -> Failure:
        return Failure(
            SourceFailed(f"failed to download {public_link(self.item.link)}: {reason}"), transient=True
        )


def _may_pass(error: AisleError) -> bool:
    """Whether storing may succeed later: not on a full disk, not in a bucket that is gone."""
    if isinstance(error, OutOfSpace):
        return False
    return isinstance(error, UploadNotFound) or not isinstance(error, NotFound)
