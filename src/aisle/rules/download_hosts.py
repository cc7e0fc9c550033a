"""Politeness: how many requests a server gets at a time, and how long one that asked for it gets none."""

_LIMIT_MIN = 1.0
_NOTED_MAX = 10_000


class HostGate:
    """Requests under way by server, and servers that want to be left alone. Times are seconds.

    A server that says it is asked too much gets half as many requests at a time from then on, and
    one more for each round of answers that it gives again.
    """

    def __init__(self, requests_per_host_max: int) -> None:
        assert requests_per_host_max > 0
        self._limit = float(requests_per_host_max)
        self._limits: dict[str, float] = {}  # of servers that have complained
        self._running: dict[str, int] = {}
        self._closed_until_s: dict[str, float] = {}
        self._without_ranges: set[str] = set()

    def gives_ranges(self, host: str) -> bool:
        """Whether a part of a file may be asked for: nothing speaks against it so far."""
        return host not in self._without_ranges

    def note_without_ranges(self, host: str) -> None:
        """The server gave a whole file when a part was asked for."""
        if len(self._without_ranges) >= _NOTED_MAX:
            self._without_ranges.clear()
        self._without_ranges.add(host)

    def opens_at_s(self, host: str, now_s: float) -> float | None:
        """When the server may be asked, now or later; None: when one of its requests has ended."""
        if self._running.get(host, 0) >= int(self._limits.get(host, self._limit)):
            return None
        until_s = self._closed_until_s.get(host)
        if until_s is None:
            return now_s
        if until_s <= now_s:
            del self._closed_until_s[host]
            return now_s
        return until_s

    def admit(self, host: str, now_s: float) -> bool:
        """Whether the server may be asked now; the request is counted then, as by `enter`."""
        running = self._running.get(host, 0)
        if self._limits or self._closed_until_s:
            opens_at_s = self.opens_at_s(host, now_s)
            if opens_at_s is None or opens_at_s > now_s:
                return False
        elif running >= self._limit:
            return False
        self._running[host] = running + 1
        return True

    def enter(self, host: str) -> None:
        """A request is sent."""
        self._running[host] = self._running.get(host, 0) + 1

    def leave(self, host: str, *, answered: bool) -> None:
        """A request has ended; `answered` if the server gave what it was asked for."""
        running = self._running[host] - 1
        if running:
            self._running[host] = running
        else:
            del self._running[host]
        limit = self._limits.get(host)
        if answered and limit is not None:
            grown = limit + 1 / limit
            if grown < self._limit:
                self._limits[host] = grown
            else:
                del self._limits[host]

    def close(self, host: str, until_s: float) -> None:
        """The server was asked too much: nothing before that time, and less at a time afterwards."""
        known = self._closed_until_s.get(host)
        if known is None:  # complaints about requests sent before the first one count once
            self._limits[host] = max(_LIMIT_MIN, self._limits.get(host, self._limit) / 2)
        self._closed_until_s[host] = max(until_s, known or 0.0)
