"""Pages of remote listings that are asked for before they are wanted, so that nobody waits for the source.

A page that was asked for ahead is used at most once and soon: what has changed at its source since then is
not in it. What changes through this process drops it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aisle.backends.provider import RemotePage
from aisle.errors import AisleError

AHEAD_S: Final = 1.0
"""How long such a page is good for, from when it was asked for."""
_PAGES_MAX: Final = 64

Ask = Callable[[], Awaitable[RemotePage]]


class Question(NamedTuple):
    """What tells one page of a listing from all others."""

    bucket: int
    """The number of the bucket here."""
    prefix: str
    token: str
    after: str
    limit: int
    delimiter: str


class _Ahead(NamedTuple):
    pages: asyncio.Task[RemotePage]
    until_s: float


class ReadAhead:
    """The pages on their way to one process."""

    def __init__(self) -> None:
        self._pages: dict[Question, _Ahead] = {}

    def begin(self, question: Question, ask: Ask) -> None:
        """Ask for a page now; `ask` does that."""
        if question in self._pages:
            return
        while len(self._pages) >= _PAGES_MAX:
            self._drop(next(iter(self._pages)))
        loop = asyncio.get_running_loop()
        task = loop.create_task(_asked(ask))
        task.add_done_callback(_seen)
        ahead = self._pages[question] = _Ahead(task, loop.time() + AHEAD_S)
        loop.call_later(AHEAD_S, self._expire, question, ahead)

    async def page(self, question: Question, ask: Ask) -> RemotePage:
        """The page, asked for now if it was not before. Raises what `ask` raises."""
        ahead = self._pages.pop(question, None)
        if ahead is not None:
            if asyncio.get_running_loop().time() < ahead.until_s:
                try:
                    return await ahead.pages
                except AisleError:
                    pass  # whoever wants it now hears what the source says now
            else:
                ahead.pages.cancel()
        return await ask()

    def forget(self, bucket: int) -> None:
        """Something in a bucket has changed."""
        for question in [known for known in self._pages if known.bucket == bucket]:
            self._drop(question)

    def _expire(self, question: Question, ahead: _Ahead) -> None:
        if self._pages.get(question) is ahead:
            self._drop(question)

    def _drop(self, question: Question) -> None:
        self._pages.pop(question).pages.cancel()


async def _asked(ask: Ask) -> RemotePage:
    return await ask()


def _seen(task: asyncio.Task[RemotePage]) -> None:
    """A failure that nobody asks for is no news for the log."""
    if not task.cancelled():
        task.exception()
