"""Which objects a process has read or written lately, on its way to the table of access times.

The committer writes that table (volatile.py). Names gather here for some seconds: each is sent once in that
time however often it is read, and many in one message.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

INTERVAL_S: Final = 10.0
READ_MAX: Final = 4_096
"""Names whose reading one process notes per interval: times of own buckets may be missing."""
NOTED_MAX: Final = 65_536
"""Names that are remembered as sent; beyond it they are sent again."""
_TOGETHER: Final = 512
"""Names in one message: the committer has others waiting."""


class AccessNotes:
    """The notes of one process. `send` takes packed names; it must not raise."""

    def __init__(self, send: Callable[[Sequence[bytes]], None]) -> None:
        self._send = send
        self.read: set[bytes] = set()
        """Names that were read since the last interval began; the same set for ever."""
        self.noted: set[bytes] = set()
        """Names that were noted as used since then; also the same set for ever."""
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def add_read(self, packed: bytes) -> None:
        """Note a name that was read and is not in `read`, unless there are too many."""
        if len(self.read) < READ_MAX:
            self.read.add(packed)
            self._wind_up()

    def add(self, packed: bytes) -> None:
        """Note a name as used, however many there are."""
        if packed in self.noted:
            return
        if len(self.noted) >= NOTED_MAX:
            self.noted.clear()
        self.noted.add(packed)
        if packed in self.read:
            return
        self._unsent.append(packed)
        if len(self._unsent) >= _TOGETHER:
            self._send_noted()
        self._wind_up()

    def flush(self) -> None:
        """Send what has gathered and begin anew."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._send_noted()
        if self.read:
            self._send(list(self.read))
        self.read.clear()
        self.noted.clear()

    def _send_noted(self) -> None:
        if self._unsent:
            self._send(self._unsent)
            self._unsent = []

    def _wind_up(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_S, self.flush)
