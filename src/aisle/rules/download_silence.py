"""How often to try a server that does not answer.

A large list of links names many servers that are gone. Trying each of their items as patiently as a server
that was there a moment ago would take longer than all the rest. But silence may also be the network's: only
while others answer is it the server's own.
"""

_HEARD_MAX = 10_000
UNHEARD_RETRIES_MAX = 2
"""So often an item is tried again whose server has never answered, while others did."""
_GONE_ITEMS = 3
_PROBE_INTERVAL_NS = 60 * 10**9


class Heard:
    """Which servers have answered a job's requests; times are nanoseconds of one clock."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()
        self._last_ns = 0
        self.given_up: dict[str, tuple[int, int]] = {}
        """By server: items that were given up, and when the last one was tried."""

    def note(self, host: str, now_ns: int) -> None:
        """The server has answered, whatever it said."""
        self._last_ns = now_ns
        if host not in self._hosts:
            if len(self._hosts) >= _HEARD_MAX:
                self._hosts.clear()
            self._hosts.add(host)
            self.given_up.pop(host, None)

    def note_given_up(self, host: str, now_ns: int) -> None:
        """An item was given up because its server did not answer."""
        if host not in self._hosts:
            if len(self.given_up) >= _HEARD_MAX:
                self.given_up.clear()
            self.given_up[host] = self.given_up.get(host, (0, 0))[0] + 1, now_ns

    def is_gone(self, host: str, now_ns: int) -> bool:
        """Whether a server need not be asked: several items were given up, none ever came.

        Once in a minute the answer is no, so that it is heard if it comes back.
        """
        items, tried_ns = self.given_up.get(host, (0, 0))
        if items < _GONE_ITEMS:
            return False
        if now_ns - tried_ns < _PROBE_INTERVAL_NS:
            return True
        self.given_up[host] = items, now_ns
        return False

    def retries_max(self, host: str, *, since_ns: int, usual: int) -> int:
        """How often an item may be tried again that was first tried at that time and got no answer."""
        if host in self._hosts or self._last_ns <= since_ns:
            return usual
        return min(usual, UNHEARD_RETRIES_MAX)
