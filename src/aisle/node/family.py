"""What the supervisor decides about its children: events and a time in, actions out.

    starting ──can serve──► serving ──terminate──► draining ──all gone──► finished
        └──a child dies──► failed ──────────────────────────────all gone──┘

While serving, a dead child is replaced: at once the first time, later with growing pauses, for
ever. A reload drains and replaces the children one after another, so that somebody always serves.
Draining ends the committer last, because the others need it to finish what they are doing.
"""

from collections.abc import Sequence
from enum import Enum

import msgspec

from aisle.node.boot import COMMITTER, DRAIN, JOBS, STOP, WORKER

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
STABLE_AFTER_S = 30.0
"""A child that served for so long is replaced at once when it dies, whatever happened before."""
STOP_GRACE_S = 1.0
"""Between the demand to exit now and SIGKILL."""


class Phase(Enum):
    """Where the node is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"
    FINISHED = "finished"


class Spawn(msgspec.Struct, frozen=True):
    """Start the child of that slot."""

    slot: int


class Tell(msgspec.Struct, frozen=True):
    """Ring a child's doorbell."""

    slot: int
    what: bytes


class Kill(msgspec.Struct, frozen=True):
    """Send SIGKILL: the child was asked and did not go."""

    slot: int


class Announce(msgspec.Struct, frozen=True):
    """Requests are served from now on: tell the world."""


class Finish(msgspec.Struct, frozen=True):
    """Nobody is left: exit with that status."""

    status: int


Action = Spawn | Tell | Kill | Announce | Finish


class _Member(msgspec.Struct):
    """One slot, and what is known of the child in it."""

    role: str
    alive: bool = False
    ready: bool = False
    ready_since_s: float = 0.0
    spawn_at_s: float | None = None
    kill_at_s: float | None = None
    failures: int = 0
    leaving: bool = False
    """It was asked to go: its exit is no failure."""


class Family:
    """The children of one supervisor; times are seconds of any steady clock."""

    def __init__(self, roles: Sequence[str], grace_s: float) -> None:
        assert roles.count(COMMITTER) == 1
        self.grace_s = grace_s
        self.phase = Phase.STARTING
        self._members = [_Member(role) for role in roles]
        self._to_replace: list[int] = []
        self._replacing: int | None = None
        self._hurried = False

    def on_start(self) -> list[Action]:
        """The node starts: everybody at once, those first who take longest to be ready."""
        order = {WORKER: 0, COMMITTER: 1, JOBS: 2}
        slots = sorted(range(len(self._members)), key=lambda slot: order[self._members[slot].role])
        return [self._spawn(slot) for slot in slots]

    def on_ready(self, slot: int, now_s: float) -> list[Action]:
        """A child said that it is ready."""
        member = self._members[slot]
        member.ready, member.ready_since_s = True, now_s
        # Jobs go on where they were; nobody who asks for something waits for that.
        awaited = (other.ready for other in self._members if other.role != JOBS)
        if self.phase is Phase.STARTING and all(awaited):
            self.phase = Phase.SERVING
            return [Announce()]
        if slot == self._replacing and not member.leaving:
            return self._replace_next(now_s)
        return []

    def on_exit(self, slot: int, now_s: float) -> list[Action]:
        """A child has ended, for whatever reason."""
        member = self._members[slot]
        was_stable = member.ready and now_s - member.ready_since_s >= STABLE_AFTER_S
        was_leaving = member.leaving
        member.alive = member.ready = member.leaving = False
        member.kill_at_s = None
        if self.phase is Phase.STARTING:
            return self._fail(now_s)
        if self.phase is not Phase.SERVING:
            return self._go_on_ending(now_s)
        if was_leaving:
            return [self._spawn(slot)]
        member.failures = 1 if was_stable else member.failures + 1
        pause_s = self.pause_s(slot)
        if pause_s == 0:
            return [self._spawn(slot)]
        member.spawn_at_s = now_s + pause_s
        return []

    def on_terminate(self, now_s: float) -> list[Action]:
        """SIGTERM or SIGINT: the first drains, the second ends at once."""
        for member in self._members:
            member.spawn_at_s = None
        if self.phase is Phase.SERVING:
            self.phase = Phase.DRAINING
            return self._ask(DRAIN, now_s + self.grace_s) or self._go_on_ending(now_s)
        if self.phase is Phase.STARTING:
            self.phase = Phase.DRAINING
        self._hurried = True
        return self._ask(STOP, now_s + STOP_GRACE_S) or self._go_on_ending(now_s)

    def on_reload(self, now_s: float) -> list[Action]:
        """SIGHUP: replace every child, one after another."""
        if self.phase is not Phase.SERVING:
            return []
        self._to_replace = list(range(len(self._members)))
        # A replacement under way goes on, and its slot is replaced once more in its turn.
        return self._replace_next(now_s) if self._replacing is None else []

    def on_tick(self, now_s: float) -> list[Action]:
        """Time has passed."""
        actions: list[Action] = []
        for slot, member in enumerate(self._members):
            if member.spawn_at_s is not None and now_s >= member.spawn_at_s:
                actions.append(self._spawn(slot))
            if member.kill_at_s is not None and now_s >= member.kill_at_s:
                member.kill_at_s = None
                actions.append(Kill(slot))
        return actions

    def next_tick_s(self) -> float | None:
        """When `on_tick` is due, or None if nothing waits for time."""
        times = [member.spawn_at_s for member in self._members]
        times += [member.kill_at_s for member in self._members]
        return min((time for time in times if time is not None), default=None)

    def pause_s(self, slot: int) -> float:
        """How long the child's next replacement waits."""
        failures = self._members[slot].failures
        return 0.0 if failures <= 1 else min(PAUSE_FIRST_S * 2 ** min(failures - 2, 16), PAUSE_MAX_S)

    def _spawn(self, slot: int) -> Spawn:
        member = self._members[slot]
        assert not member.alive
        member.alive, member.ready, member.spawn_at_s = True, False, None
        return Spawn(slot)

    def _replace_next(self, now_s: float) -> list[Action]:
        self._replacing = None
        while self._to_replace:
            slot = self._to_replace.pop(0)
            member = self._members[slot]
            if member.alive:
                self._replacing = slot
                member.leaving, member.kill_at_s = True, now_s + self.grace_s
                return [Tell(slot, DRAIN)]
            # It is dead and will be started with the new settings anyway.
        return []

    def _fail(self, now_s: float) -> list[Action]:
        self.phase = Phase.FAILED
        return self._ask(STOP, now_s + STOP_GRACE_S, everybody=True) or self._go_on_ending(now_s)

    def _ask(self, what: bytes, deadline_s: float, *, everybody: bool = False) -> list[Action]:
        """Ask all but the committer to go, or, when nobody else is left, the committer."""
        alive = [slot for slot, member in enumerate(self._members) if member.alive]
        others = [slot for slot in alive if self._members[slot].role != COMMITTER]
        asked = alive if everybody else (others or alive)
        for slot in asked:
            member = self._members[slot]
            member.leaving = True
            # A later demand never gives more time than an earlier one.
            member.kill_at_s = deadline_s if member.kill_at_s is None else min(member.kill_at_s, deadline_s)
        return [Tell(slot, what) for slot in asked]

    def _go_on_ending(self, now_s: float) -> list[Action]:
        alive = [member for member in self._members if member.alive]
        if not alive:
            status = 1 if self.phase is Phase.FAILED else 0
            self.phase = Phase.FINISHED
            return [Finish(status)]
        if all(member.role == COMMITTER and not member.leaving for member in alive):
            return self._ask(DRAIN, now_s + (STOP_GRACE_S if self._hurried else self.grace_s))
        return []
