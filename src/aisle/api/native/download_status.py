"""How a download job is shown (ais-native-api.md §13.1; shapes as recorded).

`state`, `bytes`, `total_bytes`, `rate` (bytes per second) and `priority` are ours, behind what AIStore
answers.
"""

from datetime import UTC, datetime

import msgspec

from aisle.jobs.board import JobStatus
from aisle.model.job import ActiveItem, FinishedItem


class WireTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item. Sizes are strings; `total` is absent when the source told none."""

    name: str
    downloaded: str
    total: str = ""
    start_time: str = ""
    end_time: str = ""


class WireError(msgspec.Struct, frozen=True):
    """An item that failed."""

    name: str
    error: str


class WireJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job. The list shows its counts, its own status its items too; empty lists are left out."""

    id: str
    xaction_id: str
    description: str
    started_time: str
    finished_time: str
    finished_cnt: int
    scheduled_cnt: int
    skipped_cnt: int
    error_cnt: int
    total: int
    all_dispatched: bool
    aborted: bool
    current_tasks: list[WireTask] | msgspec.UnsetType = msgspec.UNSET
    finished_tasks: list[WireTask] | msgspec.UnsetType = msgspec.UNSET
    download_errors: list[WireError] | msgspec.UnsetType = msgspec.UNSET
    state: str
    bytes: int
    total_bytes: int
    rate: int
    priority: int
    updated_cnt: int
    retrying_cnt: int
    trouble: str


def wire_job(status: JobStatus) -> WireJob:
    """A job as the list shows it."""
    record, progress, live = status.record, status.progress, status.live
    is_running = not status.finished_ns
    received = progress.received + (sum(item.received for item in live.active) if live else 0)
    return WireJob(
        id=record.id,
        # AIStore names its shared worker here; ours has no identity beside the job's own.
        xaction_id=record.id.rpartition("-")[2],
        description=record.download.description,
        started_time=wire_time(record.started_ns),
        finished_time=wire_time(status.finished_ns),
        finished_cnt=progress.finished,
        scheduled_cnt=progress.scheduled,
        skipped_cnt=progress.skipped,
        error_cnt=progress.failed,
        total=progress.total,
        all_dispatched=0 <= progress.total <= progress.scheduled,
        aborted=status.is_aborted,
        state=_state(status),
        bytes=received,
        total_bytes=live.bytes_total if live else -1 if is_running else received,
        rate=round(live.bytes_per_second) if live and is_running else 0,
        priority=record.priority,
        updated_cnt=progress.updated,
        retrying_cnt=live.retrying if live and is_running else 0,
        trouble=live.trouble if live and is_running else "",
    )


def wire_status(status: JobStatus, *, only_active: bool) -> WireJob:
    """A job as asked for by its id; `only_active` leaves out what is over."""
    active = status.live.active if status.live and not status.finished_ns else ()
    current = [_active_task(item) for item in sorted(active)]
    finished = [] if only_active else [_finished_task(item) for item in status.progress.recent]
    errors = [] if only_active else [WireError(*item) for item in sorted(status.progress.errors)]
    if status.progress.error and not only_active:
        errors.append(WireError(status.record.download.bucket.cname, status.progress.error))
    return msgspec.structs.replace(
        wire_job(status),
        current_tasks=current or msgspec.UNSET,
        finished_tasks=finished or msgspec.UNSET,
        download_errors=errors or msgspec.UNSET,
    )


def wire_time(time_ns: int) -> str:
    """A time in RFC 3339 with nanoseconds, trailing zeros dropped as Go does; 0 is the epoch."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def _state(status: JobStatus) -> str:
    if status.finished_ns:
        return "aborted" if status.is_aborted else "finished"
    return "paused" if status.is_paused else "running"


def _active_task(item: ActiveItem) -> WireTask:
    return WireTask(
        name=item.name,
        downloaded=str(item.received),
        total=_size(item.size),
        start_time=wire_time(item.started_ns),
        end_time=wire_time(0),
    )


def _finished_task(item: FinishedItem) -> WireTask:
    return WireTask(
        name=item.name,
        downloaded=str(item.received),
        total=_size(item.size),
        start_time=wire_time(item.started_ns),
        end_time=wire_time(item.ended_ns),
    )


def _size(size: int) -> str:
    return "" if size < 0 else str(size)
