"""Watching a download job: polls of its status, a live view of it, and how it ended."""

import time
from collections.abc import Callable

import click

from aisle.cli import output
from aisle.cli.exit_codes import FAILED
from aisle.cli.progress import DownloadView, is_live
from aisle.client.downloads import DownloadJob
from aisle.client.node import Client

POLL_S = 0.25
GRACE_S = 2.0  # a small file is there before anybody could ask for its status
SHOWN_FAILURES_MAX = 20


class Watch:
    """Follows one job."""

    def __init__(
        self,
        client: Client,
        job_id: str,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self._now_s = now_s
        self._sleep = sleep

    def for_a_moment(self, grace_s: float) -> DownloadJob:
        """The job when it has ended, or as it is after a short time."""
        deadline_s = self._now_s() + grace_s
        while True:
            job = self._client.download(self._job_id, only_active=True)
            if not job.is_running:
                return self._client.download(self._job_id)
            if self._now_s() >= deadline_s:
                return job
            self._sleep(POLL_S)

    def until_finished(self, *, timeout_s: float | None, progress: bool) -> DownloadJob:
        """The job when it has ended. On time-out, or Ctrl-C, it goes on in the node."""
        deadline_s = None if timeout_s is None else self._now_s() + timeout_s
        view = DownloadView(live=is_live()) if progress else None
        try:
            while True:
                job = self._client.download(self._job_id, only_active=True)
                if view is not None:
                    view.show(job)
                if not job.is_running:
                    return self._client.download(self._job_id)
                if deadline_s is not None and self._now_s() >= deadline_s:
                    output.fail(
                        f"job {self._job_id} has not finished in {timeout_s:g} s; it goes on",
                        f"Watch it with: ais show job {self._job_id} --progress",
                    )
                    raise click.exceptions.Exit(FAILED)
                self._sleep(POLL_S)
        except KeyboardInterrupt:
            output.note(
                f"\nJob {self._job_id} goes on in the node. Stop it with: ais job abort {self._job_id}"
            )
            raise
        finally:
            if view is not None:
                view.stop()


def summary(job: DownloadJob) -> str:
    """How a job stands, in a few words."""
    files = output.count_text(job.done, "file")
    if job.is_running:
        of_all = f" of {job.total:,}" if job.total >= 0 else ""
        return f"{job.id}: {job.done:,}{of_all} files downloaded"
    words = [f"{files} downloaded{_volume(job)}"]
    words += [f"{job.skipped:,} of them there before"] if job.skipped else []
    words += [output.count_text(job.errors, "error")] if job.errors else []
    return ("Aborted: " if job.aborted else "Done: ") + ", ".join(words)


def _volume(job: DownloadJob) -> str:
    """How much that was, and how fast, where the node tells."""
    if not job.bytes:
        return ""
    size = output.size_text(job.bytes)
    if not job.elapsed_s:
        return f" ({size})"
    return f" ({size} in {job.elapsed_s:.1f} s, {output.size_text(int(job.bytes / job.elapsed_s))}/s)"


def print_outcome(job: DownloadJob, *, text: bool = True) -> None:
    """Tell how a job ended; ends the command with an exit code unless all went well."""
    if text:
        click.echo(summary(job))
    for failure in job.failures[:SHOWN_FAILURES_MAX]:
        output.fail(output.printable(f"{failure.name}: {failure.error}"))
    if len(job.failures) > SHOWN_FAILURES_MAX:
        output.note(f"All {len(job.failures):,} errors: ais show job {job.id} -v")
    if job.aborted or job.errors:
        raise click.exceptions.Exit(FAILED)


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
        "errors": job.errors,
        "bytes": job.bytes,
        "total_bytes": job.total_bytes,
        "bytes_per_second": job.rate,
    }
    tasks = [*job.current_tasks, *job.finished_tasks]
    if tasks:
        told["tasks"] = [
            {"name": task.name, "downloaded": task.downloaded, "total": task.total} for task in tasks
        ]
    if job.failures:
        told["failures"] = [{"name": failure.name, "error": failure.error} for failure in job.failures]
    return told
