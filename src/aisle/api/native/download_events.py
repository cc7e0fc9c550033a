"""Events of a download job: `GET /v1/download?id=…&follow=1`, as server-sent events.

    event: status      the job as its status shows it, without what is over; when something changed
    event: end         the whole status, once: the job has ended
    event: removed     the job was removed; nothing more is known

`download_errors` of a status event are those that no event before has told. Lines that begin with a colon
show that the connection lives.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from aisle.api.native.download_status import WireError, wire_status
from aisle.errors import JobNotFound, TooBusy
from aisle.httpd.response import Response, StreamBody
from aisle.jobs.board import JobBoard

FOLLOWERS_MAX: Final = 256
"""Followers of a worker; more are asked to come again later."""
_LOOK_INTERVAL_S: Final = 0.25
_HEARTBEAT_S: Final = 5.0
_HEADERS: Final = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]


class DownloadEvents:
    """The followers of one worker."""

    def __init__(self, board: JobBoard, *, is_ending: Callable[[], bool] = lambda: False) -> None:
        """`is_ending` tells that the process wants to end: followers then have to come again."""
        self._board = board
        self._is_ending = is_ending
        self._followers = 0

    def follow(self, job_id: str) -> Response:
        """The events of a job. Raises TooBusy."""
        if self._followers >= FOLLOWERS_MAX:
            raise TooBusy(f"{FOLLOWERS_MAX} clients follow jobs here already: ask for the status instead")
        self._followers += 1
        return Response(
            200, _HEADERS, StreamBody(_Following(self._board, job_id, self._is_ending, self._left))
        )

    def _left(self) -> None:
        self._followers -= 1


class _Following:
    """One follower: an iterator over the text that is sent."""

    def __init__(
        self, board: JobBoard, job_id: str, is_ending: Callable[[], bool], left: Callable[[], None]
    ) -> None:
        self._board = board
        self._job_id = job_id
        self._is_ending = is_ending
        self._left: Callable[[], None] | None = left
        self._is_over = False
        self._told = b""
        self._told_errors = 0
        self._said_s = time.monotonic()

    def __aiter__(self) -> "_Following":
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        while True:
            if self._told:
                await asyncio.sleep(_LOOK_INTERVAL_S)
            event = self._event()
            now_s = time.monotonic()
            if not event and now_s - self._said_s >= _HEARTBEAT_S:
                event = b":\n\n"
            if event:
                self._said_s = now_s
                return event
            if self._is_ending():
                raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing more is wanted."""
        self._is_over = True
        left, self._left = self._left, None
        if left is not None:
            left()

    def _event(self) -> bytes:
        """What is new, or nothing."""
        try:
            status = self._board.glance(self._job_id)
        except JobNotFound:
            self._is_over = True
            return _event("removed", msgspec.json.encode({"id": self._job_id}))
        if status.finished_ns:
            self._is_over = True
            return _event("end", msgspec.json.encode(wire_status(status, only_active=False)))
        errors = status.progress.errors[self._told_errors :]
        shown = msgspec.structs.replace(
            wire_status(status, only_active=True),
            download_errors=[WireError(*error) for error in errors] or msgspec.UNSET,
        )
        told = msgspec.json.encode(shown)
        if told == self._told:
            return b""
        self._told = told
        self._told_errors += len(errors)
        return _event("status", told)


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
