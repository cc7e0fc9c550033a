"""Storing a body that waited in memory and is too large for the index: by way of a file."""

from asyncio import Future
from collections.abc import Awaitable, Coroutine
from typing import Protocol

from aisle.errors import AisleError
from aisle.jobs.destination import Destination
from aisle.model.record import Record
from aisle.rules.download_plan import Item
from aisle.rules.download_reply import Reply
from aisle.storage.engine import Draft


class Filed(Protocol):
    """The item that a body belongs to."""

    item: Item
    is_over: bool
    """Nobody wants it any more."""

    def committed(self, future: "Future[Record]") -> None:
        """The object is stored, or could not be."""

    def storing_broke(self, error: Exception) -> None:
        """It could not be stored."""


class Filing:
    """Checks bodies and makes them objects of a destination, each under its item's name."""

    def __init__(self, destination: Destination, filed: Filed, reply: Reply) -> None:
        self._destination = destination
        self._filed = filed
        self._reply = reply

    def store(self, payload: bytes) -> Coroutine[object, object, None] | None:
        """Store a whole body; what is returned, if anything, must be run to its end."""
        draft = self._destination.draft(self._filed.item.key, self._reply.digests(), size=len(payload))
        try:
            pending = draft.write(payload)
            if pending is not None:
                return self._commit_after(pending, draft, finished=False)
            if (pending := draft.finish()) is not None:
                return self._commit_after(pending, draft, finished=True)
            self._commit(draft)
        except AisleError as error:
            draft.abort()
            self._filed.storing_broke(error)
        return None

    async def _commit_after(self, pending: Awaitable[None], draft: Draft, *, finished: bool) -> None:
        try:
            await pending
            if not finished:
                finishing = draft.finish()
                if finishing is not None:
                    await finishing
            if self._filed.is_over:
                draft.abort()
            else:
                self._commit(draft)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            draft.abort()
            self._filed.storing_broke(error)

    def _commit(self, draft: Draft) -> None:
        item = self._filed.item
        future = self._destination.commit(item.key, item.link, self._reply, draft)
        future.add_done_callback(self._filed.committed)
