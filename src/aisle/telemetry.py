"""Counters, gauges and latency histograms of every process, in shared memory.

Each process owns one page of a shared file and changes it without a lock or a system call:
`slots[GET_COUNT] += 1`. Any process renders the sum of all pages as Prometheus text. The page of a
dead process is folded into the totals before a new one gets it, so that counters never step back
while the node runs. Words are unsigned 64-bit integers; times are kept in nanoseconds.

Names follow AIStore's where it has one (ais-native-api.md §8.8), and are `aisle_*` elsewhere.

The file: header words · one connection count per process · folded totals · one page per process.
"""

import mmap
import os
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import xxhash

from aisle.errors import StartError

BOUNDS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the histograms' buckets; one more bucket takes what is slower."""
BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)
_BUCKETS: Final = len(BOUNDS_NS) + 1

Labels = tuple[tuple[str, tuple[str, ...]], ...]
"""Label names with all values they can take: slots are laid out before the first process starts."""


class Metric(NamedTuple):
    """One line of the registry: `first` is its first slot."""

    name: str
    kind: str
    help: str
    first: int
    labels: Labels
    scale: float

    def children(self) -> Iterator[tuple[int, str]]:
        """Every combination of labels: its first slot and its rendered labels."""
        width = _BUCKETS + 1 if self.kind == "histogram" else 1
        combinations = product(*(values for _, values in self.labels))
        for number, values in enumerate(combinations):
            pairs = zip((name for name, _ in self.labels), values, strict=True)
            yield self.first + number * width, ",".join(f'{name}="{value}"' for name, value in pairs)


METRICS: Final[list[Metric]] = []
"""All metrics in the order of their slots."""
_words = 0


def _define(kind: str, name: str, about: str, *, labels: Labels = (), scale: float = 1.0) -> int:
    global _words
    METRICS.append(Metric(name, kind, about, _words, labels, scale))
    first = _words
    width = _BUCKETS + 1 if kind == "histogram" else 1
    for _, values in labels:
        width *= len(values)
    _words += width
    return first


# AIStore's own counters, one set for the verbs on objects -----------------------------------------

GET_COUNT = _define("counter", "ais_target_get_count", "objects read")
GET_BYTES = _define("counter", "ais_target_get_bytes", "payload bytes read")
GET_NS = _define("counter", "ais_target_get_ns_total", "time spent reading objects, nanoseconds")
PUT_COUNT = _define("counter", "ais_target_put_count", "objects written")
PUT_BYTES = _define("counter", "ais_target_put_bytes", "payload bytes written")
PUT_NS = _define("counter", "ais_target_put_ns_total", "time spent writing objects, nanoseconds")
HEAD_COUNT = _define("counter", "ais_target_head_count", "objects asked about")
HEAD_NS = _define("counter", "ais_target_head_ns_total", "time spent answering HEAD, nanoseconds")
DELETE_COUNT = _define("counter", "ais_target_del_count", "objects removed")
LIST_COUNT = _define("counter", "ais_target_lst_count", "pages of listings")
LIST_NS = _define("counter", "ais_target_lst_ns_total", "time spent listing, nanoseconds")
DOWNLOAD_BYTES = _define("counter", "ais_target_dl_bytes", "bytes downloaded by jobs")
GET_ERRORS = _define("counter", "ais_target_err_get_count", "reads that failed")
PUT_ERRORS = _define("counter", "ais_target_err_put_count", "writes that failed")
HEAD_ERRORS = _define("counter", "ais_target_err_head_count", "HEAD requests that failed")
DELETE_ERRORS = _define("counter", "ais_target_err_del_count", "removals that failed")
LIST_ERRORS = _define("counter", "ais_target_err_lst_count", "listings that failed")
DOWNLOAD_ERRORS = _define("counter", "ais_target_err_dl_count", "downloads of single files that failed")
EVICTED_COUNT = _define("counter", "ais_target_lru_evict_count", "objects evicted to make room")
EVICTED_BYTES = _define("counter", "ais_target_lru_evict_bytes", "bytes of these")
UPTIME = _define("gauge", "ais_target_uptime", "seconds since the node started")

# HTTP ---------------------------------------------------------------------------------------------

METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "other")
_CODES = ("1xx", "2xx", "3xx", "4xx", "5xx")
HTTP_REQUESTS = _define(
    "counter",
    "aisle_http_requests_total",
    "requests answered",
    labels=(("method", METHODS), ("code", _CODES)),
)
HTTP_SECONDS = _define(
    "histogram",
    "aisle_http_request_seconds",
    "from the request's head to the last byte of its answer",
    labels=(("method", METHODS),),
)
HTTP_RECEIVED_BYTES = _define("counter", "aisle_http_received_bytes_total", "bytes received, heads included")
HTTP_SENT_BYTES = _define("counter", "aisle_http_sent_bytes_total", "bytes sent, heads included")
HTTP_CONNECTIONS = _define("gauge", "aisle_http_connections", "open connections")
HTTP_CONNECTIONS_OPENED = _define("counter", "aisle_http_connections_opened_total", "connections accepted")
HTTP_CONNECTIONS_REFUSED = _define(
    "counter", "aisle_http_connections_refused_total", "connections closed because a limit was reached"
)
HTTP_BAD_REQUESTS = _define("counter", "aisle_http_bad_requests_total", "malformed or oversized requests")
HTTP_TIMEOUTS = _define("counter", "aisle_http_timeouts_total", "requests that arrived or left too slowly")
HTTP_ABORTED = _define("counter", "aisle_http_aborted_total", "requests that the client broke off")
HTTP_SLOW = _define("counter", "aisle_http_slow_requests_total", "requests slower than slow_request_s")
HTTP_HANDLER_FAILURES = _define("counter", "aisle_http_handler_failures_total", "unexpected exceptions")
HTTP_BUFFERED_BYTES = _define("gauge", "aisle_http_buffered_body_bytes", "request bodies held in memory")

# Storage ------------------------------------------------------------------------------------------

COMMIT_SECONDS = _define("histogram", "aisle_commit_seconds", "one group: from its start to durable")
COMMIT_OPERATIONS = _define("counter", "aisle_commit_operations_total", "operations in committed groups")
COMMIT_FAILURES = _define("counter", "aisle_commit_failures_total", "groups that had to be retried singly")
OUT_OF_SPACE = _define("counter", "aisle_out_of_space_total", "changes refused for want of space")
DATA_SYNC_SECONDS = _define("histogram", "aisle_data_sync_seconds", "making a payload file durable")
READS_IN_THREAD = _define("counter", "aisle_reads_in_thread_total", "reads that had to wait for the disk")
COLD_NOT_KEPT = _define(
    "counter", "aisle_cold_not_kept_total", "objects of remote buckets that there was no room to keep"
)
COLD_EXPECTED_BYTES = _define(
    "gauge", "aisle_cold_expected_bytes", "bytes of objects being fetched that are not on the disk yet"
)
CORRUPT_OBJECTS = _define("counter", "aisle_corrupt_objects_total", "reads that found damaged payloads")

# Processes and jobs -------------------------------------------------------------------------------

ROLES: Final = ("worker", "committer", "jobs")
PROCESS_STARTS = _define(
    "counter", "aisle_process_starts_total", "child processes started", labels=(("role", ROLES),)
)
LOOP_STALL_SECONDS = _define(
    "histogram", "aisle_loop_stall_seconds", "how late an event loop came back to a timer"
)
LOOP_STALL_MAX = _define(
    "max", "aisle_loop_stall_max_seconds", "the longest stall within the last minute", scale=1e-9
)
METADATA_CHANGES = _define("counter", "aisle_metadata_changes_total", "documents created, replaced, removed")
DOWNLOAD_RESULTS: Final = ("done", "failed")
DOWNLOAD_FILES = _define(
    "counter",
    "aisle_download_files_total",
    "files that jobs downloaded, or gave up",
    labels=(("result", DOWNLOAD_RESULTS),),
)
UNWRITTEN_CHANGES = _define(
    "gauge", "aisle_unwritten_changes", "changes of remote buckets that their sources do not have yet"
)
DOWNLOADS_ACTIVE = _define("gauge", "aisle_downloads_active", "transfers in progress")

WORDS: Final = _words
"""Slots of one page."""

_HEADER_WORDS = 8
_LAYOUT, _PROCESSES, _FOLDS, _STARTED = range(4)
_LAYOUT_DIGEST: Final = xxhash.xxh64_intdigest(repr(METRICS).encode())
# A rendering that meets a fold starts over; folds are rare and take microseconds.
_RENDER_ATTEMPTS = 20


class SharedConnectionLoad:
    """How many connections each worker holds, as all workers see it."""

    __slots__ = ("_loads", "_slot")

    def __init__(self, loads: memoryview, slot: int) -> None:
        self._loads = loads
        self._slot = slot
        # Zero means "not accepting": a count is kept one higher than it is.
        loads[slot] = 1

    def is_above_least(self) -> bool:
        """Whether another accepting worker holds fewer connections than this one."""
        loads = self._loads
        own: int = loads[self._slot]
        return own > min(filter(None, loads), default=own)

    def opened(self) -> None:
        """Count a connection that the worker accepted."""
        self._loads[self._slot] += 1

    def closed(self) -> None:
        """A connection of this worker is gone."""
        # A worker that has left stays out of the comparison while its last connections end.
        if self._loads[self._slot] > 1:
            self._loads[self._slot] -= 1

    def leave(self) -> None:
        """Accept no more: others stop comparing themselves with this worker."""
        self._loads[self._slot] = 0


class Telemetry:
    """The shared file as one process sees it: its own page to write, everybody's to read.

    A page belongs to one process, and within it to one thread (the event loop's): additions are
    not atomic. A slot cannot go below zero: ValueError would tell of a gauge lowered twice.
    """

    __slots__ = ("_loads", "_memory", "_pages", "_slot", "_words", "node_id", "slots")

    slots: memoryview
    """The process's own page, indexed by the constants of this module."""

    def __init__(self, memory: mmap.mmap, slot: int, *, node_id: str = "") -> None:
        words = memoryview(memory).cast("Q")
        if words[_LAYOUT] != _LAYOUT_DIGEST:
            raise StartError("the running node uses another version of Aisle: restart it as a whole")
        processes = words[_PROCESSES]
        assert 0 <= slot < processes
        self._memory = memory
        self._words = words
        self._slot = slot
        self._loads = words[_HEADER_WORDS : _HEADER_WORDS + processes]
        first = _HEADER_WORDS + processes
        # Page 0 holds the folded totals of processes that are gone.
        self._pages = [words[first + n * WORDS : first + (n + 1) * WORDS] for n in range(processes + 1)]
        self.slots = self._pages[slot + 1]
        self.node_id = node_id

    @classmethod
    def attach(cls, fd: int, slot: int, *, node_id: str = "") -> "Telemetry":
        """Map the shared file behind `fd`, as process number `slot`; `fd` may be closed afterwards.

        Raises StartError if another version of Aisle laid the file out.
        """
        return cls(mmap.mmap(fd, 0), slot, node_id=node_id)

    @classmethod
    def private(cls) -> "Telemetry":
        """A page of one's own, shared with nobody: for tests and for tools."""
        memory = mmap.mmap(-1, _file_bytes(1))
        _lay_out(memory, 1)
        return cls(memory, 0)

    def load(self) -> SharedConnectionLoad:
        """Take part in the comparison of connection counts, from zero on."""
        return SharedConnectionLoad(self._loads, self._slot)

    def observe(self, histogram: int, elapsed_ns: int) -> None:
        """Count a duration in a histogram of this process."""
        slots = self.slots
        slots[histogram + bisect_left(BOUNDS_NS, elapsed_ns)] += 1
        slots[histogram + _BUCKETS] += elapsed_ns

    def buckets(self, histogram: int) -> list[int]:
        """The process's own counts by bucket, not cumulative; the last one is beyond all bounds."""
        return self.slots[histogram : histogram + _BUCKETS].tolist()

    def total(self, index: int) -> int:
        """The sum of one slot over all processes, gone ones included."""
        return sum(self._sums()[index : index + 1])

    def current(self, gauge: int) -> int:
        """The sum of a gauge over all processes, as they stand: cheaper than `total`."""
        return sum(page[gauge] for page in self._pages)

    def served(self) -> int:
        """A number that changes whenever any process has served somebody."""
        return self.current(GET_COUNT) + self.current(PUT_COUNT)

    def totals(self, indices: Iterable[int]) -> list[int]:
        """The sums of several slots over all processes, as of one moment."""
        sums = self._sums()
        return [sums[index] for index in indices]

    def retire(self, slot: int) -> None:
        """Keep the counters of a process that is gone and clear its page for the next one.

        Only the supervisor calls this, and only when the process is dead.
        """
        folded, page = self._pages[0], self._pages[slot + 1]
        self._words[_FOLDS] += 1
        for metric in METRICS:
            if metric.kind not in ("gauge", "max"):
                for index in range(metric.first, metric.first + _width(metric)):
                    folded[index] += page[index]
        page[:] = memoryview(bytes(8 * WORDS)).cast("Q")
        self._loads[slot] = 0
        self._words[_FOLDS] += 1

    def render(self) -> str:
        """All metrics of all processes as Prometheus text."""
        sums = self._sums()
        sums[UPTIME] = (time.monotonic_ns() - self._words[_STARTED]) // 1_000_000_000
        constant = f'node_id="{self.node_id}"' if self.node_id else ""
        lines: list[str] = []
        for metric in METRICS:
            kind = "gauge" if metric.kind == "max" else metric.kind
            lines.append(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {kind}")
            for index, labels in metric.children():
                joined = ",".join(filter(None, (constant, labels)))
                if kind == "histogram":
                    lines += _histogram_lines(metric.name, joined, sums[index : index + _BUCKETS + 1])
                else:
                    value = sums[index] if metric.scale == 1.0 else sums[index] * metric.scale
                    lines.append(f"{metric.name}{_braced(joined)} {value}")
        return "\n".join(lines) + "\n"

    def _sums(self) -> list[int]:
        for _ in range(_RENDER_ATTEMPTS):
            before = self._words[_FOLDS]
            pages = [page.tolist() for page in self._pages]
            # Odd while a fold is under way: a page might be counted twice or not at all.
            if before % 2 == 0 and self._words[_FOLDS] == before:
                break
            time.sleep(0)
        sums = [sum(column) for column in zip(*pages, strict=True)]
        for metric in METRICS:
            if metric.kind == "max":
                sums[metric.first] = max(page[metric.first] for page in pages)
        return sums


def create_shared(processes: int) -> int:
    """A new shared file for that many processes; its descriptor, not inheritable.

    The file has no name: it goes away with the last process that holds it.
    """
    assert processes > 0
    if sys.platform == "linux":
        fd = os.memfd_create("aisle-telemetry", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="aisle-telemetry-") as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _file_bytes(processes))
    with mmap.mmap(fd, 0) as memory:
        _lay_out(memory, processes)
    return fd


def quantile_bound_ns(counts: Sequence[int], fraction: float) -> int:
    """The upper bound of the bucket that holds the quantile; 0 if nothing was counted.

    What is beyond all bounds counts as twice the highest.
    """
    wanted = sum(counts) * fraction
    seen = 0
    for bound, count in zip((*BOUNDS_NS, BOUNDS_NS[-1] * 2), counts, strict=True):
        seen += count
        if count and seen >= wanted:
            return bound
    return 0


def _file_bytes(processes: int) -> int:
    return 8 * (_HEADER_WORDS + processes + (processes + 1) * WORDS)


def _lay_out(memory: mmap.mmap, processes: int) -> None:
    with memoryview(memory) as raw, raw.cast("Q") as words:
        words[_LAYOUT] = _LAYOUT_DIGEST
        words[_PROCESSES] = processes
        words[_STARTED] = time.monotonic_ns()


def _width(metric: Metric) -> int:
    following = METRICS.index(metric) + 1
    return (METRICS[following].first if following < len(METRICS) else WORDS) - metric.first


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _histogram_lines(name: str, labels: str, counts: Sequence[int]) -> Iterator[str]:
    separator = "," if labels else ""
    cumulative = 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=False):
        cumulative += count
        yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {cumulative}'
    yield f"{name}_sum{_braced(labels)} {counts[_BUCKETS] / 1e9}"
    yield f"{name}_count{_braced(labels)} {cumulative}"
