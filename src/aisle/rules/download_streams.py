"""A large object over several connections: who fetches which bytes, and how many connections pay.

Bytes are claimed from the front on, a few seconds' worth at a time, so that what is fetched out of order
is soon joined up; near the end the claims get smaller, and somebody who has nothing left takes over half
of the largest one. Whether more connections bring more is found by trying: there are more and more of
them as long as the object comes clearly faster.
"""

from bisect import bisect_left, insort

_LOOK_INTERVAL_S = 1.0
_LOOK_AFTER_GROWTH_S = 1.5  # new connections are slow at first
_FAST_BYTES_PER_SECOND = 256 * 1024 * 1024  # here the disk and this process are the limit
_SOON_S = 1.5  # not worth another connection
_GAIN_MIN = 1.25  # how much faster it must be with twice as many connections or more
_REST_S = 30.0  # how long what was found, or told by a connection that failed, is kept to
_LONG_S = 4.0  # what takes longer begins with four times as many, else with twice
_CLAIM_S = 8.0
_CLAIM_BYTES_MIN = 1024 * 1024
_CLAIMS_MAX = 256  # of one object: each becomes a file, and whoever reads the object opens them all


class Claim:
    """Bytes that one connection fetches: from `position`, which moves, to before `end`, which may too."""

    __slots__ = ("end", "position", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = self.position = start
        self.end = end

    @property
    def left(self) -> int:
        """Bytes that have not come yet."""
        return self.end - self.position


class Claims:
    """The bytes of an object that nobody has claimed: sorted spans that do not touch."""

    def __init__(self, total: int) -> None:
        self._free = [(0, total)] if total else []

    def __bool__(self) -> bool:
        return bool(self._free)

    @property
    def bytes(self) -> int:
        """How many they are."""
        return sum(end - start for start, end in self._free)

    def exclude(self, start: int, end: int) -> None:
        """These bytes are here already; they must be free."""
        at = bisect_left(self._free, (start + 1,)) - 1
        assert at >= 0, "bytes that were not free"
        first, last = self._free[at]
        assert first <= start < end <= last, "bytes that were not free"
        self._free[at : at + 1] = [span for span in ((first, start), (end, last)) if span[0] < span[1]]

    def take(self, length: int) -> Claim | None:
        """Claim the first free bytes, at most `length`; None if there are none."""
        assert length > 0
        if not self._free:
            return None
        start, end = self._free[0]
        claim = Claim(start, min(end, start + length))
        self.exclude(claim.start, claim.end)
        return claim

    def extend(self, claim: Claim, length: int) -> bool:
        """Let a claim go on with the free bytes behind it, at most `length`; False if there are none."""
        at = bisect_left(self._free, (claim.end,))
        if at == len(self._free) or self._free[at][0] != claim.end:
            return False
        start, end = self._free[at]
        claim.end = min(end, start + length)
        self.exclude(start, claim.end)
        return True

    def cut(self, claim: Claim, keep: int) -> None:
        """Leave a claim only the next `keep` bytes; what follows is free again."""
        new_end, end = claim.position + keep, claim.end
        if new_end < end:
            claim.end = new_end
            self._free_again(new_end, end)

    def give_back(self, claim: Claim) -> None:
        """What is left of a claim is free again."""
        if claim.left:
            self._free_again(claim.position, claim.end)

    def _free_again(self, start: int, end: int) -> None:
        at = bisect_left(self._free, (end,))
        if at < len(self._free) and self._free[at][0] == end:
            end = self._free.pop(at)[1]
        if at and self._free[at - 1][1] == start:
            start = self._free.pop(at - 1)[0]
        insort(self._free, (start, end))


def claim_bytes(left: int, streams: int, bytes_per_second: float, *, total: int, part_bytes: int) -> int:
    """How much one of `streams` connections should claim of an object of which `left` bytes are left.

    `bytes_per_second` is the speed of all of them together. At most `part_bytes`, unless the object is so
    large that this would make too many files.
    """
    floor = max(min(_CLAIM_BYTES_MIN, part_bytes), total // _CLAIMS_MAX)
    wanted = min(bytes_per_second / streams * _CLAIM_S, left / (2 * streams), part_bytes)
    return max(floor, int(wanted))


def split_bytes_min(part_bytes: int) -> int:
    """Fewer bytes than this are not shared between two connections."""
    return 2 * min(_CLAIM_BYTES_MIN, part_bytes)


class StreamGauge:
    """How many connections an object should have, found by measuring. Times are seconds."""

    def __init__(self, streams_max: int, now_s: float, received: int) -> None:
        self._most = self._max = streams_max
        self._since_s = now_s
        self._since_bytes = received
        self._before: tuple[int, float] | None = None  # connections and speed before there were more
        self._settled_until_s = now_s
        self._held_back = False
        self.wanted = 1
        self.bytes_per_second = 0.0
        """Of all connections together, over the last second or so."""

    def held_back(self) -> None:
        """It was we who could not take more: what is measured now says nothing about connections."""
        self._held_back = True

    def refused(self, running: int) -> None:
        """A connection failed while others go on, `running` of them: there will be no more for a while."""
        self._max = max(1, min(self._max, running))
        self.wanted = min(self.wanted, self._max)
        self._settle()

    def _settle(self) -> None:
        self._before = None
        self._settled_until_s = self._since_s + _REST_S

    def look(self, now_s: float, received: int, left: int, running: int) -> None:
        """Measure, if it is time to, and adjust what is wanted."""
        elapsed_s = now_s - self._since_s
        if elapsed_s < (_LOOK_INTERVAL_S if self._before is None else _LOOK_AFTER_GROWTH_S):
            return
        speed = self.bytes_per_second = (received - self._since_bytes) / elapsed_s
        self._since_s, self._since_bytes = now_s, received
        was_held_back, self._held_back = self._held_back, False
        if now_s < self._settled_until_s or was_held_back or speed >= _FAST_BYTES_PER_SECOND:
            return
        if self._before is None:
            self._max = self._most
        before = self._before
        if before is not None:
            if running <= before[0]:
                return  # there were none to be had
            if speed < before[1] * min(_GAIN_MIN, 1 + (running / before[0] - 1) / 4):
                self.wanted = before[0]
                self._settle()
                return
        if left < speed * _SOON_S or running >= self._max:
            return
        self.wanted = min(self._max, running * (4 if running == 1 and left > speed * _LONG_S else 2))
        self._before = running, speed
