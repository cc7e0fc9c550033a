"""How a download job stands, or ended: in words, and as JSON."""

import click

from aisle.cli import output
from aisle.cli.download_advice import advice
from aisle.cli.download_view import failure_text, task_text, trouble_lines
from aisle.cli.locations import schemes
from aisle.client.downloads import DownloadJob, Failure

SHOWN_FAILURES_MAX = 20
SHOWN_TASKS_MAX = 10
"""A job with fewer files shows each without being asked."""


def ended_well(job: DownloadJob) -> bool:
    """Whether every file is there."""
    return not (job.is_running or job.aborted or job.errors or job.failures)


def tell_outcome(job: DownloadJob, *, told: "set[Failure] | frozenset[Failure]" = frozenset()) -> None:
    """Tell how a job ended: the result on standard output, else what went wrong and what helps.

    `told` are failures that its reader has seen.
    """
    if job.aborted:
        output.fail(f"download[{job.id}] was aborted{_why(job)}; {_files(job.done)} downloaded before stay")
    elif ended_well(job):
        click.echo(_all_of(job))
    if beside := details(job):
        output.note(beside)
    if job.aborted or ended_well(job):
        return
    fresh = [failure for failure in job.failures if failure not in told]
    for failure in fresh[: max(0, SHOWN_FAILURES_MAX - len(told))]:
        output.note(failure_text(failure))
    hints = advice(job.failures)
    if job.errors > max(len(told), min(len(job.failures), SHOWN_FAILURES_MAX)):
        hints.append(f"For details, run: ais show job {job.id} -v")
    rest = "What is there stays. Fetch the rest" if job.done else "Fetch it"
    hints.append(f"{rest}, when it can go better: ais download repair {job.id}")
    output.fail(_what_failed(job), *hints)


def _all_of(job: DownloadJob) -> str:
    if job.total == 0:
        return "There was nothing to download: no file matches"
    if job.total == 1:
        return "File successfully downloaded"
    return f"All {job.done:,} files successfully downloaded"


def _why(job: DownloadJob) -> str:
    """What made the whole job end early, behind a colon; nothing if somebody wanted it to."""
    buckets = tuple(schemes())
    whole = [
        failure.error
        for failure in job.failures
        # What is no file's own failure has the bucket's name.
        if failure.name.startswith(buckets) and "/" not in failure.name.partition("://")[2]
    ]
    return f": {output.printable(whole[0])}" if whole else ""


def status_lines(job: DownloadJob, *, verbose: bool) -> list[str]:
    """How a job stands: one line for all of it, then its files where `verbose` asks, or they are few."""
    if job.is_running:
        lines = [_progress_line(job)]
        if verbose or 0 <= job.total < SHOWN_TASKS_MAX:
            lines += [f"\t{task_text(task)}" for task in job.current_tasks]
        lines += [f"\t{line}" for line in trouble_lines(job)]
        if job.state == "paused":
            lines.append(f"\tpaused: let it go on with: ais download resume {job.id}")
    elif job.aborted:
        lines = [f"Download {job.id} ({output.printable(job.description)}): aborted{_why(job)}"]
    else:
        told = [f"{_files(job.done)} downloaded"]
        told += [f"skipped: {job.skipped:,}"] if job.skipped else []
        told += [f"updated: {job.updated:,}"] if job.updated else []
        told += [f"error{'s' if job.errors != 1 else ''}: {job.errors:,}"] if job.errors else []
        lines = [f"Done: {', '.join(told)}"]
    if verbose and job.failures:
        lines.append("Errors:")
        lines += [f"\t{output.printable(f'{failure.name}: {failure.error}')}" for failure in job.failures]
    return lines


def _what_failed(job: DownloadJob) -> str:
    if not job.errors:
        return f"download[{job.id}] ended early"
    of_all = f" of {job.total:,}" if job.total > 1 else ""
    return f"{job.errors:,}{of_all} file{'s' if job.total != 1 else ''} could not be downloaded"


def _progress_line(job: DownloadJob) -> str:
    line = f"{job.id} progress: downloaded {_files(job.done)}"
    if job.total >= 0:
        line += f" (out of {job.total:,})"
    elif job.scheduled:
        line += f" (out of {job.scheduled:,} found so far)"
    if job.total >= SHOWN_TASKS_MAX:
        line += f" ({100 * (job.done + job.errors) / job.total:.2f}%)"
    return line


def _files(count: int) -> str:
    return output.count_text(count, "file")


def details(job: DownloadJob) -> str:
    """What is good to know beside the result: `15.53MiB in 1.2 s, 12.94MiB/s; 3 unchanged`."""
    told = []
    if job.bytes and job.elapsed_s:
        size, speed = output.size_text(job.bytes), output.size_text(int(job.bytes / job.elapsed_s))
        told.append(f"{size} in {job.elapsed_s:.1f} s, {speed}/s")
    if job.skipped:
        told.append(f"{job.skipped:,} unchanged, not fetched again")
    if job.updated:
        told.append(f"{job.updated:,} changed, fetched anew")
    return "; ".join(told)


def job_json(job: DownloadJob) -> dict[str, object]:
    """A job for machines; times are RFC 3339, sizes in bytes."""
    told: dict[str, object] = {
        "id": job.id,
        "kind": "download",
        "description": job.description,
        "state": job.state,
        "started": job.started.isoformat(),
        "finished": None if job.is_running else job.finished.isoformat(),
        "total": job.total,
        "done": job.done,
        "skipped": job.skipped,
        "updated": job.updated,
        "errors": job.errors,
        "retrying": job.retrying,
        "bytes": job.bytes,
        "total_bytes": job.total_bytes,
        "bytes_per_second": job.rate,
    }
    if job.retrying:
        told["trouble"] = job.trouble
    tasks = [*job.current_tasks, *job.finished_tasks]
    if tasks:
        told["tasks"] = [
            {"name": task.name, "downloaded": task.downloaded, "total": task.total} for task in tasks
        ]
    if job.failures:
        told["failures"] = [{"name": failure.name, "error": failure.error} for failure in job.failures]
    return told
