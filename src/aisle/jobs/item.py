"""One item of a download job: asked for as often as needed, stored once.

Small bodies wait in memory and are committed the moment they are whole, without a task of their own:
that is the path of datasets made of many files. Larger ones, and those of unknown length once they
have grown, flow through a `LargeObject`, which remembers how far it is between attempts.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Protocol

from aisle.errors import AisleError, NotFound, OutOfSpace, SourceFailed, UploadNotFound
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.large import LargeObject, SavedParts, Source
from aisle.model.record import INLINE_BYTES_MAX, Record
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
from aisle.storage.engine import Draft
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, Fetcher, FetchRequest, RequestOptions
from aisle.transfer.rates import TokenBucket

BUFFERED_BYTES_MAX = 256 * 1024
"""Bodies up to this size wait in memory until they are whole."""

_HEADWAY_BYTES = 64 * 1024  # this much more than ever before is progress


class ItemOwner(Protocol):
    """The job that an item belongs to."""

    id: str
    destination: Destination
    budget: ByteBudget
    part_bytes: int
    options: RequestOptions
    packed_options: RequestOptions
    """The same for files that are packed by their names: such a body stays as it comes."""
    throttle: TokenBucket | None
    bytes_received: int
    """Counts all bytes that came for the job."""

    def item_received(self, item: "ItemDownload") -> None:
        """All bytes are here, the connection is free; they are not stored yet."""

    def item_stored(self, item: "ItemDownload", record: Record) -> None:
        """The object is visible and durable."""

    def item_unchanged(self, item: "ItemDownload") -> None:
        """The source still has what the item's known object was made from."""

    def item_failed(self, item: "ItemDownload", failure: Failure, retry_after: str) -> None:
        """An attempt has failed; `retry_after` is what the server said about when to come again."""

    def item_broken(self, item: "ItemDownload", error: Exception) -> None:
        """Something happened that nobody thought of: the item has failed for good."""

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work that must not be lost when the job ends."""


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
        self._fetch: Fetch | None = None
        self._reply: Reply | None = None
        self._refused: Refused | None = None
        self._again = self._unchanged = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._large: LargeObject | None = None
        self._over = False
        self._furthest = 0  # the most bytes that were ever here

    @property
    def name(self) -> str:
        """The object's name, to be shown."""
        return self.item.key.decode("utf-8", "backslashreplace")

    @property
    def received(self) -> int:
        """Bytes of the object that are here."""
        return self._large.received if self._large is not None else self._buffered

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has stored of the object."""
        self._large = self._new_large()
        self._large.adopt(saved)
        self.size = self._large.total

    def start(self, fetcher: Fetcher) -> None:
        """Ask for the object, or for the rest of it."""
        self._reply = self._refused = None
        self._again = self._unchanged = False
        self._chunks, self._buffered = [], 0
        if self._large is not None and self._large.resume_point() is None:
            self._discard_large()
        resume = self._large.resume_point() if self._large is not None else None
        if resume is not None and resume.offset == resume.total:
            resume = None  # a request for nothing has no answer
            self._discard_large()
        link, owner = self.item.link, self._owner
        options = owner.packed_options if is_packed(link) else owner.options
        if resume is not None:
            headers = (("Range", f"bytes={resume.offset}-"), ("If-Range", resume.validator))
            options = options._replace(headers=headers)
        elif self.known is not None:
            options = options._replace(headers=(self.known.condition,))
        self._fetch = fetcher.start(FetchRequest(link, options, owner.throttle), self)

    def cancel(self, *, keep_parts: bool) -> None:
        """Stop at once. What is durable of a large object is kept for another process, or dropped."""
        self._over = True
        if self._fetch is not None:
            self._fetch.cancel()
            self._fetch = None
        self._chunks.clear()
        if self._large is not None:
            self._owner.spawn(self._large.abandon(keep_parts=keep_parts))
            self._large = None

    # Called by the fetch.

    def head(self, reply: Reply) -> bool:
        """The answer's head; whether its body is wanted."""
        if self._wanted is not None:
            reply = reply._replace(wanted=self._wanted)
        self._reply = reply
        resume = self._large.resume_point() if self._large is not None else None
        known, earlier = None if resume else self.known, self._earlier
        if earlier is None and self.known is not None:
            earlier = Earlier(self.known.size, self.known.content_type)
        verdict = judge(reply, link=self.item.link, resume=resume, known=known, earlier=earlier)
        if isinstance(verdict, Start):
            self._begin(reply, verdict)
            return True
        if verdict is Again.FROM_ZERO:
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
        assert self._large is not None
        if not self._large.offer(chunk, self._on_room):
            return False
        self._owner.bytes_received += len(chunk)
        return True

    def ended(self, failed: Failure | None) -> None:
        """The answer is complete, or no more of it will come."""
        self._fetch = None
        if self._over:
            return
        try:
            self._judge_end(failed)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            self._owner.item_broken(self, error)

    # The rest is storing.

    def _judge_end(self, failed: Failure | None) -> None:
        reply = self._reply
        if self.received >= self._furthest + _HEADWAY_BYTES:
            self.failures = 0  # a bad line must not use up the attempts of a large file
            self._furthest = self.received
        if self._refused is not None and reply is not None:
            refused = SourceFailed(self._refused.message, status=reply.status)
            retry_after = reply.fields.get("Retry-After", "")
            may_pass = self._refused.may_pass or is_transient(reply.status)
            self._attempt_failed(Failure(refused, may_pass), retry_after)
        elif self._unchanged:
            self._owner.item_unchanged(self)
        elif failed is not None:
            self._attempt_failed(failed)
        elif self._again:
            self._discard_large()
            self._attempt_failed(self._source_failed("its source has changed: beginning again"))
        elif (wrong := self._wrong_size()) is not None:
            self._discard_large()
            self._attempt_failed(wrong)
        else:
            self._owner.item_received(self)
            self._store()

    def _wrong_size(self) -> Failure | None:
        """Why what has come cannot be the object, if its size says so."""
        if self.size is not None and self.received != self.size:
            return self._source_failed(f"{self.received} bytes came, {self.size} were announced")
        if self.item.size not in (-1, self.received):
            return self._source_failed(f"it has {self.received} bytes, it should have {self.item.size}")
        return None

    def _begin(self, reply: Reply, start: Start) -> None:
        if start.offset == 0:
            self._discard_large()
            self._earlier = Earlier(start.total, reply.fields.get("Content-Type", ""))
            self.size = start.total
            if start.total is None or start.total <= BUFFERED_BYTES_MAX:
                return  # memory first: what does not tell its size may be small
            self._large = self._new_large()
        assert self._large is not None
        self._large.started(reply, start.total)

    def _outgrow(self) -> None:
        """A body of unknown length is not small: what has come of it goes ahead."""
        assert self._reply is not None
        large = self._large = self._new_large()
        large.started(self._reply, self.size)
        for chunk in self._chunks:
            taken = large.offer(chunk, self._on_room)
            assert taken, "an empty queue takes what fits into memory"
        self._chunks = []

    def _new_large(self) -> LargeObject:
        owner = self._owner
        return LargeObject(
            owner.destination,
            Source(self.item.key, self.item.link, owner.id),
            owner.budget,
            part_bytes=owner.part_bytes,
            broken=self._storing_broke,
        )

    def _discard_large(self) -> None:
        if self._large is not None:
            self._owner.spawn(self._large.abandon())
            self._large = None

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
            self._store_in_file(payload, reply)
            return
        try:
            future = owner.destination.put_small(self.item.key, self.item.link, reply, payload)
        except AisleError as error:
            self._storing_failed(error)
        else:
            future.add_done_callback(self._committed)

    def _store_in_file(self, payload: bytes, reply: Reply) -> None:
        owner = self._owner
        draft = owner.destination.draft(self.item.key, reply.digests(), size=len(payload))
        try:
            pending = draft.write(payload)
            if pending is not None:
                owner.spawn(self._commit_after(pending, draft, reply, finished=False))
            elif (pending := draft.finish()) is not None:
                owner.spawn(self._commit_after(pending, draft, reply, finished=True))
            else:
                self._commit(draft, reply)
        except AisleError as error:
            draft.abort()
            self._storing_failed(error)

    async def _commit_after(
        self, pending: Awaitable[None], draft: Draft, reply: Reply, *, finished: bool
    ) -> None:
        try:
            await pending
            if not finished:
                finishing = draft.finish()
                if finishing is not None:
                    await finishing
            if self._over:
                draft.abort()
            else:
                self._commit(draft, reply)
        except AisleError as error:
            draft.abort()
            self._storing_failed(error)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            draft.abort()
            self._owner.item_broken(self, error)

    def _commit(self, draft: Draft, reply: Reply) -> None:
        future = self._owner.destination.commit(self.item.key, self.item.link, reply, draft)
        future.add_done_callback(self._committed)

    def _committed(self, future: "asyncio.Future[Record]") -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            if not self._over:
                self._owner.item_stored(self, future.result())
        elif isinstance(error, AisleError):
            self._storing_failed(error)
        elif isinstance(error, Exception):
            self._owner.item_broken(self, error)

    async def _complete_large(self, large: LargeObject) -> None:
        try:
            record = await large.complete()
        except AisleError as error:
            if self._large is large:  # else its failure has been reported already
                self._storing_failed(error)
            return
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            if self._large is large:
                self._owner.item_broken(self, error)
            return
        self._large = None
        if not self._over:
            self._owner.item_stored(self, record)

    def _storing_broke(self, error: Exception) -> None:
        """The large object cannot be stored, whatever else would come."""
        if isinstance(error, AisleError):
            self._storing_failed(error)
        else:
            self._owner.item_broken(self, error)

    def _storing_failed(self, error: AisleError) -> None:
        if self._over:
            return
        if self._fetch is not None:
            self._fetch.cancel()
            self._fetch = None
        self._discard_large()
        self._attempt_failed(Failure(error, transient=_may_pass(error)))

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
