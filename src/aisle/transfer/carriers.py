"""What stands between a fetch and the connection that brings its answer."""

from typing import NamedTuple, Protocol

from aisle.rules.download_reply import Reply

PAUSE = 1
"""A receiver's answer to bytes: they are to come again after `resume`."""
ABORT = 2
"""A receiver's answer to bytes: no more of them are wanted."""
SMALL_RECEIVE_BYTES = 16 * 1024
"""What is taken from a socket in one call beside somebody who is served (decision 0027)."""


Header = tuple[str, str]
"""A request header's name and value."""


class RequestOptions(NamedTuple):
    """What differs between requests beside their links; the same object for many costs least."""

    headers: tuple[tuple[str, str], ...] = ()
    """Sent to every host that the request is redirected to."""
    private_headers: tuple[tuple[str, str], ...] = ()
    """Sent to the link's own host only: credentials."""
    decode: bool = True
    """Undo a content encoding that the server uses although none was asked for."""
    timeout_s: float = 0.0
    """Longest time for the whole exchange, 0 for none."""


class Receiver(Protocol):
    """Who is told of an answer. Calls come from the event loop: `on_head`, `on_body`s, `on_done`, once."""

    def on_head(self, reply: Reply) -> None:
        """The answer's head."""

    def on_body(self, chunk: bytes) -> int:
        """The next bytes: 0 if they were taken.

        PAUSE if the same bytes are to come again after `resume`, ABORT if no more are wanted.
        """

    def on_refused(self, reason: str) -> None:
        """No socket was opened: its address may not be connected to."""

    def on_whole(self, reply: Reply, body: bytes) -> bool:
        """All of an answer at once, head and body; if False is answered, it is told piece by piece."""

    def on_done(self, code: int, message: str) -> None:
        """The exchange has ended, with libcurl's code (0 is success) and words about it."""

    def hand_over(self) -> None:
        """Whoever was asked cannot bring the answer, and nothing was told of it: ask libcurl."""


class Carrier(Protocol):
    """What brings one answer."""

    @property
    def is_multiplexed(self) -> bool:
        """Whether many answers share its connection; known once the head has come."""

    def hand_to(self, receiver: Receiver) -> None:
        """From now on, tell this receiver instead."""

    def resume(self) -> None:
        """Go on after `on_body` answered PAUSE. Never from within the receiver's callbacks."""

    def release(self) -> None:
        """Nothing more is wanted of this answer; it is broken off if it has not ended."""
