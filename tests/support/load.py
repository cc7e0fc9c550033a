"""Mixed load on a node by threads, every answer remembered and every read checked by an oracle.

    with MixedLoad(oracle, "bucket", lambda: (node.host, node.port)) as load:
        ...kill something...
        load.pause()
        load.verify()

Each writer thread owns its names: puts small and large, overwrites, deletes, reads its own. Readers
read any name, a lister walks whole listings. What an answer may not be is kept in `violations`.
"""

import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from support.content import payload
from support.native import CONNECTION_ERRORS, NativeClient, UnexpectedStatus
from support.oracle import Oracle, Violation

Address = Callable[[], tuple[str, int]]
Step = Callable[["MixedLoad"], None]
"""What a further thread of the load does again and again."""

_RETRY_PAUSE_S = 0.02
_SMALL_BYTES_MAX = 16 * 1024  # these live in the index, larger ones in files
_ODD_NAMES = ("plain-{n}", "dir/{n}", "dir//{n}", "with space/{n}", "100%/{n}+{n}", "ünï/😀{n}", "tail/{n}/")


class Failure(NamedTuple):
    """A request without an answer: when (monotonic), from which client port, which kind of thread."""

    at_s: float
    port: int
    who: str


class Profile(NamedTuple):
    """How much load, of what kind."""

    writers: int = 4
    readers: int = 1
    listers: int = 1
    names_per_writer: int = 40
    large_bytes_max: int = 2 * 1024 * 1024
    large_share: float = 0.15
    delete_share: float = 0.15
    read_share: float = 0.25
    may_be_full: bool = False
    pause_s: float = 0.0
    """Between two operations of a thread: leaves the node room for other work."""


class MixedLoad:
    """Threads that load a bucket until they are stopped. `address` tells where the node is now."""

    def __init__(
        self,
        oracle: Oracle,
        bucket: str,
        address: Address,
        *,
        profile: Profile | None = None,
        seed: int = 0,
        paused: bool = False,
        others: Sequence[Step] = (),
    ) -> None:
        self.oracle = oracle
        self.bucket = bucket
        self.violations: list[str] = []
        self.failures: list[Failure] = []
        self.counts: Counter[str] = Counter()
        self._address = address
        self._profile = profile = profile or Profile()
        self._running = threading.Event()
        self._begins_paused = paused
        self._stopping = threading.Event()
        self._acknowledged = threading.Condition()
        self._last_acknowledged_s = 0.0
        self._idle: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        for index in range(profile.writers):
            names = [_odd_name(index, number) for number in range(profile.names_per_writer)]
            self._add(_Writer(self, names, random.Random(seed * 1000 + index)).step)
        for index in range(profile.readers):
            self._add(_Reader(self, random.Random(seed * 1000 + 500 + index)).step)
        for _ in range(profile.listers):
            self._add(_Lister(self).step)
        for step in others:
            self._add(functools.partial(step, self))

    def _add(self, step: Callable[[], None]) -> None:
        idle = threading.Event()
        self._idle.append(idle)
        self._threads.append(threading.Thread(target=self._loop, args=(step, idle), daemon=True))

    def _loop(self, step: Callable[[], None], idle: threading.Event) -> None:
        while not self._stopping.is_set():
            if not self._running.is_set():
                idle.set()
                self._running.wait(0.1)
                continue
            idle.clear()
            try:
                step()
            except Violation as violation:
                self.violations.append(str(violation))
            except Exception as error:  # a bug of the load itself must fail the test, not end a thread
                self.violations.append(f"load: {type(error).__name__}: {error}")
            if self._profile.pause_s:
                time.sleep(self._profile.pause_s)
        idle.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        if not self._begins_paused:
            self.resume()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._running.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def resume(self) -> None:
        """Let the threads go on."""
        self._running.set()

    def pause(self, *, timeout_s: float = 60.0) -> None:
        """Wait until every operation has an answer, or none can come, and no new one begins."""
        self._running.clear()
        deadline = time.monotonic() + timeout_s
        for idle in self._idle:
            if not idle.wait(max(deadline - time.monotonic(), 0)):
                raise AssertionError(f"an operation has no answer after {timeout_s} s")

    def wait_acknowledged(self, *, after_s: float, timeout_s: float = 60.0) -> float:
        """Seconds from the moment `after_s` (monotonic) until a write that began later was answered."""
        with self._acknowledged:
            if not self._acknowledged.wait_for(
                lambda: self._last_acknowledged_s > after_s, timeout=timeout_s
            ):
                raise AssertionError(f"no write was acknowledged for {timeout_s} s; {self.violations[:3]}")
            return time.monotonic() - after_s

    def verify(self) -> int:
        """With the load paused and the node quiet: every name, and the listing. Raises Violation.

        Afterwards nothing is left undecided. Returns the number of objects.
        """
        client = NativeClient(*self._address())
        self.raise_violations()
        for name in self.oracle.names():
            self.oracle.settle(name, read(client, self.bucket, name))
        listed = [(entry.name, entry.size) for entry in client.list_all(self.bucket)]
        client.close()
        count = self.oracle.check_listing(listed, self.oracle.moments())
        assert count == self.oracle.totals()[0]
        return count

    def raise_violations(self) -> None:
        """Raise what the threads have seen so far, if anything."""
        if self.violations:
            shown = "\n".join(self.violations[:10])
            raise Violation(f"{len(self.violations)} violations under load:\n{shown}")

    def connect(self) -> NativeClient:
        """A new connection to where the node is now."""
        return NativeClient(*self._address())

    def failed(self, client: NativeClient, who: str, error: Exception) -> None:
        """Remember a request without an answer, and give the node a moment.

        A connection that breaks is to be expected from a node that is killed; silence is not.
        """
        if isinstance(error, TimeoutError):
            self.violations.append(f"a {who} waited in vain for an answer")
        self.counts["unanswered"] += 1
        self.failures.append(Failure(time.monotonic(), client.failed_port, who))
        time.sleep(_RETRY_PAUSE_S)

    def acknowledged(self, began_s: float) -> None:
        """Remember that a write that began then was answered with success."""
        self.counts["acknowledged"] += 1
        with self._acknowledged:
            self._last_acknowledged_s = max(self._last_acknowledged_s, began_s)
            self._acknowledged.notify_all()

    def unexpected(self, method: str, name: str, status: int, text: object) -> None:
        """Raise Violation, but for 503: it leaves the outcome open while a process is replaced."""
        self.counts[f"status {status}"] += 1
        if status != 503:
            raise Violation(f"{method} {name!r} was answered {status}: {str(text)[:300]}")
        time.sleep(_RETRY_PAUSE_S)

    @property
    def profile(self) -> Profile:
        """How much load this is."""
        return self._profile


class _Writer:
    def __init__(self, load: MixedLoad, names: Sequence[str], dice: random.Random) -> None:
        self._load = load
        self._names = names
        self._dice = dice
        self._client = load.connect()

    def step(self) -> None:
        name, dice, profile = self._dice.choice(self._names), self._dice, self._load.profile
        what = dice.random()
        try:
            if what < profile.read_share:
                check_read(self._load, self._client, name)
            elif what < profile.read_share + profile.delete_share:
                self._delete(name)
            else:
                self._put(name, self._size())
        except CONNECTION_ERRORS as error:
            self._load.failed(self._client, "writer", error)
            self._client = self._load.connect()

    def _size(self) -> int:
        if self._dice.random() < self._load.profile.large_share:
            return self._dice.randint(_SMALL_BYTES_MAX + 1, self._load.profile.large_bytes_max)
        return self._dice.choice(
            (0, 1, 100, 4_080, 10_240, _SMALL_BYTES_MAX, self._dice.randint(1, _SMALL_BYTES_MAX))
        )

    def _put(self, name: str, size: int) -> None:
        operation = self._load.oracle.begin(name, size)
        began_s = time.monotonic()
        chunk_bytes = self._dice.choice((0, 0, 0, 50_000))
        body = payload(name, operation.sequence, size)
        answer = self._client.put(self._load.bucket, name, body, chunk_bytes=chunk_bytes if size else 0)
        if answer.status == 200:
            self._load.oracle.acknowledge(name, operation)
            self._load.acknowledged(began_s)
        elif answer.status == 507 and self._load.profile.may_be_full:
            self._load.oracle.refuse(name, operation)
            self._load.counts["full"] += 1
        else:
            self._load.unexpected("PUT", name, answer.status, answer.body)

    def _delete(self, name: str) -> None:
        before = self._load.oracle.moment(name)
        operation = self._load.oracle.begin(name, None)
        began_s = time.monotonic()
        answer = self._client.delete(self._load.bucket, name)
        if answer.status == 404:
            self._load.oracle.deletion_found_nothing(name, before)
        if answer.status in (200, 204, 404):
            self._load.oracle.acknowledge(name, operation)
            self._load.acknowledged(began_s)
        else:
            self._load.unexpected("DELETE", name, answer.status, answer.body)


class _Reader:
    def __init__(self, load: MixedLoad, dice: random.Random) -> None:
        self._load = load
        self._dice = dice
        self._client = load.connect()

    def step(self) -> None:
        names = self._load.oracle.names()
        try:
            if names:
                check_read(self._load, self._client, self._dice.choice(names))
        except CONNECTION_ERRORS as error:
            self._load.failed(self._client, "reader", error)
            self._client = self._load.connect()


class _Lister:
    def __init__(self, load: MixedLoad) -> None:
        self._load = load
        self._client = load.connect()

    def step(self) -> None:
        moments = self._load.oracle.moments()
        try:
            listed = [
                (entry.name, entry.size)
                for entry in self._client.list_all(self._load.bucket, page_entries=50)
            ]
        except CONNECTION_ERRORS as error:
            self._load.failed(self._client, "lister", error)
            self._client = self._load.connect()
            return
        except UnexpectedStatus as error:
            self._load.unexpected("LIST", self._load.bucket, error.status, str(error))
            return
        self._load.oracle.check_listing(listed, moments)
        self._load.counts["listings"] += 1
        time.sleep(0.05)


def read(client: NativeClient, bucket: str, name: str) -> bytes | None:
    """The object's bytes, or None if there is none. Raises Violation for any other answer."""
    answer = client.get(bucket, name)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise Violation(f"GET {name!r} was answered {answer.status}: {answer.body[:300]!r}")
    return answer.body


def check_read(load: MixedLoad, client: NativeClient, name: str) -> None:
    """Read a name while others write, and check what it shows. Raises Violation."""
    before = load.oracle.moment(name)
    answer = client.get(load.bucket, name)
    if answer.status not in (200, 404):
        load.unexpected("GET", name, answer.status, answer.body)
        return
    load.oracle.check(name, None if answer.status == 404 else answer.body, before)
    load.counts["reads"] += 1


def _odd_name(writer: int, number: int) -> str:
    return f"w{writer}/" + _ODD_NAMES[number % len(_ODD_NAMES)].format(n=number)
