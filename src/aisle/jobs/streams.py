"""More connections for one large object, while nobody else wants them.

The first connection is the item's own. Further ones are asked for here, when measuring says that they
may pay, each for some bytes of the object; when these have come it is given back, so that other items
and other jobs have their turn before there is another one. One that fails is not replaced: the rest goes
on with those that are left, and the item has failed only when its last one has.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from aisle.errors import SourceFailed
from aisle.jobs.large import LargeObject
from aisle.jobs.piece import Piece
from aisle.rules.backoff import is_transient
from aisle.rules.download_names import public_link
from aisle.rules.download_reply import Refused, Reply, Start, judge
from aisle.rules.download_streams import StreamGauge, claim_bytes
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, Fetcher, FetchRequest
from aisle.transfer.rates import Throttle


class StreamsOwner(Protocol):
    """The job that the object is fetched for."""

    part_bytes: int
    streams_max: int
    """Connections that a single object may have."""
    throttle: Throttle | None
    bytes_received: int
    """Counts all bytes that came for the job."""


class StreamSource(NamedTuple):
    """What all connections of an object ask for, and for whom."""

    link: str
    options: RequestOptions
    owner: StreamsOwner


class StreamEnd(NamedTuple):
    """How a further connection has ended."""

    failure: Failure | None = None
    """Why it did not bring its bytes; None if it did."""
    retry_after: str = ""
    """What the server said about when to come again."""
    is_without_ranges: bool = False
    """The server gives the whole object whatever is asked for."""
    changed: bool = False
    """The source has another version now."""


def range_options(options: RequestOptions, large: LargeObject, piece: Piece) -> RequestOptions:
    """The options that ask for the rest of a piece, if it is of the same version."""
    resume = large.resume_point(piece)
    claim = piece.claim
    assert claim is not None
    last = "" if claim.end == large.total else str(claim.end - 1)
    headers = (("Range", f"bytes={resume.offset}-{last}"), ("If-Range", resume.validator))
    return options._replace(headers=(*options.headers, *headers))


class Demand:
    """How many connections an object should have, and how much each is to bring."""

    def __init__(self, large: LargeObject, owner: StreamsOwner, now_s: float) -> None:
        self._large = large
        self._owner = owner
        self._gauge = StreamGauge(owner.streams_max, now_s, large.received)

    def wants_more(self, now_s: float, running: int) -> bool:
        """Whether one more connection should fetch, beside `running` that do, and there is something left."""
        large, gauge, throttle = self._large, self._gauge, self._owner.throttle
        if large.was_held_back or (throttle is not None and throttle.is_overdrawn(now_s)):
            gauge.held_back()
        assert large.total is not None
        gauge.look(now_s, large.received, large.total - large.received, running)
        return running < gauge.wanted and large.share(self.claim_bytes())

    def claim_bytes(self) -> int:
        """How much the next connection should claim."""
        large, gauge = self._large, self._gauge
        assert large.total is not None
        left = large.total - large.received
        return claim_bytes(
            left,
            max(1, gauge.wanted),
            gauge.bytes_per_second,
            total=large.total,
            part_bytes=self._owner.part_bytes,
        )

    def refused(self, running: int) -> None:
        """A connection of the object has failed while `running` others go on."""
        self._gauge.refused(running)


class _Stream:
    """A further connection; an Intake."""

    def __init__(
        self,
        large: LargeObject,
        piece: Piece,
        source: StreamSource,
        ended: Callable[["_Stream", StreamEnd], None],
    ) -> None:
        self.piece = piece
        self.fetch: Fetch | None = None
        self._large = large
        self._source = source
        self._ended = ended
        self._end = StreamEnd()

    def head(self, reply: Reply) -> bool:
        """The answer's head; whether its body is wanted."""
        resume = self._large.resume_point(self.piece)
        verdict = judge(reply, link=self._source.link, resume=resume)
        if isinstance(verdict, Start) and reply.status == 206:
            self.piece.begin()
            return True
        if isinstance(verdict, Refused):
            refused = SourceFailed(verdict.message, status=reply.status)
            failure = Failure(refused, is_transient(reply.status))
            self._end = StreamEnd(failure, reply.retry_after)
        elif reply.status == 200 and reply.validator == resume.validator:
            self._end = StreamEnd(self._failed("its server gives no parts of files"), is_without_ranges=True)
        else:
            self._end = StreamEnd(changed=True)
        return False

    def body(self, chunk: bytes) -> bool:
        """The next bytes; False when they must come again later."""
        if not self.piece.offer(chunk, self._on_room):
            return False
        self._source.owner.bytes_received += len(chunk)
        if self.piece.is_full and self.fetch is not None:
            self.fetch.enough()
        return True

    def ended(self, failed: Failure | None) -> None:
        """The answer has come whole, or no more of it will come."""
        self.fetch = None
        end = self._end
        if self.piece.is_full:
            end = StreamEnd()
        elif end.failure is None:
            end = end._replace(failure=failed or self._failed("the answer ended before its bytes did"))
        self._ended(self, end)

    def _failed(self, reason: str) -> Failure:
        shown = public_link(self._source.link)
        return Failure(SourceFailed(f"failed to download {shown}: {reason}"), transient=True)

    def _on_room(self) -> None:
        if self.fetch is not None:
            self.fetch.resume()


class Streams:
    """The further connections of one object. `ended` hears of each; the piece is finished or parked then."""

    def __init__(
        self,
        large: LargeObject,
        source: StreamSource,
        fetcher: Fetcher,
        *,
        ended: Callable[[LargeObject, StreamEnd], None],
    ) -> None:
        self._large = large
        self._source = source
        self._fetcher = fetcher
        self._demand = Demand(large, source.owner, fetcher.now_s())
        self._ended = ended
        self._running: set[_Stream] = set()

    def __len__(self) -> int:
        return len(self._running)

    def wants_more(self, now_s: float, running: int) -> bool:
        """Whether one more connection should fetch, beside `running` that do, and there is something left."""
        return self._demand.wants_more(now_s, running)

    def start(self) -> None:
        """Ask for the next bytes; only after `wants_more` has said so."""
        piece = self._large.next_piece(self._demand.claim_bytes())
        assert piece is not None, "asked for although there was nothing left"
        link, options, owner = self._source
        stream = _Stream(self._large, piece, self._source, self._stream_ended)
        self._running.add(stream)
        options = range_options(options, self._large, piece)
        stream.fetch = self._fetcher.start(FetchRequest(link, options, owner.throttle), stream)

    def failed(self, running: int) -> None:
        """A connection of the object has failed while `running` others go on."""
        self._demand.refused(running)

    def cancel(self) -> int:
        """Break all off; how many there were."""
        count = len(self._running)
        for stream in self._running:
            if stream.fetch is not None:
                stream.fetch.cancel()
                stream.fetch = None
        self._running.clear()
        return count

    def _stream_ended(self, stream: _Stream, end: StreamEnd) -> None:
        if stream not in self._running:
            return
        self._running.discard(stream)
        if stream.piece.is_full:
            self._large.finish(stream.piece)
        else:
            self._large.park(stream.piece)
        self._ended(self._large, end)
