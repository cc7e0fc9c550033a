"""Following a job of the node other than a download: until it ends, and what to say then."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import click

from aisle.cli import output
from aisle.cli.exit_codes import FAILED
from aisle.cli.progress import is_live
from aisle.client.jobs import Jobs, NodeJob
from aisle.rules.job_kinds import display_name

POLL_S = 0.1
POLL_MAX_S = 1.0
GRACE_S = 2.0  # most jobs are done before anybody could ask for their status
LINE_INTERVAL_S = 2.0


class Follow:
    """Follows one job."""

    def __init__(
        self,
        jobs: Jobs,
        job_id: str,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._now_s = now_s
        self._sleep = sleep
        self._told_at_s = now_s()
        self._is_line_open = False

    def for_a_moment(self) -> NodeJob:
        """The job when it has ended, or as it is after a short time."""
        return self._until(self._now_s() + GRACE_S, progress=False)

    def until_finished(self, *, timeout_s: float | None = None, progress: bool = False) -> NodeJob:
        """The job when it has ended. On time-out, or Ctrl-C, it goes on in the node."""
        deadline_s = None if timeout_s is None else self._now_s() + timeout_s
        try:
            job = self._until(deadline_s, progress=progress)
        except KeyboardInterrupt:
            output.note(
                f"\nJob {self._job_id} goes on in the node. Stop it with: ais job abort {self._job_id}"
            )
            raise
        finally:
            if self._is_line_open:
                sys.stderr.write("\n")
        if job.is_running:
            output.fail(
                f"job {self._job_id} has not finished in {timeout_s:g} s; it goes on",
                f"Watch it with: ais show job {self._job_id} --progress",
            )
            raise click.exceptions.Exit(FAILED)
        return job

    def _until(self, deadline_s: float | None, *, progress: bool) -> NodeJob:
        pause_s = POLL_S
        while True:
            job = self._jobs.find(self._job_id)
            if progress:
                self._tell(job)
            if not job.is_running or (deadline_s is not None and self._now_s() >= deadline_s):
                return job
            self._sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)

    def _tell(self, job: NodeJob) -> None:
        """The present counts: in one line that changes on a terminal, else in a line now and then."""
        line = f"{job.id}: {counts_text(job)}"
        if is_live():
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
            self._is_line_open = True
        elif self._now_s() - self._told_at_s >= LINE_INTERVAL_S:
            self._told_at_s = self._now_s()
            sys.stderr.write(f"{line}\n")


class Watching(NamedTuple):
    """How long a command stays with what it has begun."""

    wait: bool
    progress: bool
    timeout_s: float | None
    as_json: bool


def follow_begun(jobs: Jobs, job_id: str, begun: str, watching: Watching) -> None:
    """Tell that a job has begun, and stay with it where that is wanted."""
    as_json = watching.as_json
    if not (watching.wait or watching.progress or watching.timeout_s is not None):
        if as_json:
            output.print_json({"id": job_id})
        else:
            click.echo(output.printable(f"{begun}. To monitor the progress, run 'ais show job {job_id}'"))
        return
    if not as_json:
        click.echo(output.printable(f"{begun} ..."))
    job = Follow(jobs, job_id).until_finished(timeout_s=watching.timeout_s, progress=watching.progress)
    if as_json:
        output.print_json(job_json(job))
    elif not (job.failure or job.aborted):
        click.echo("Done.")
    end_with(job)


def counts_text(job: NodeJob) -> str:
    """What a job has done, in a few words."""
    text = output.count_text(job.counts.objects, "object")
    return f"{text}, {output.size_text(job.counts.bytes)}" if job.counts.bytes else text


def summary(job: NodeJob) -> str:
    """How a job stands, in one line."""
    return f"{display_name(job.kind)}[{job.id}] {job.state}: {counts_text(job)}"


def job_json(job: NodeJob) -> dict[str, object]:
    """A job for machines; times are RFC 3339, sizes in bytes."""
    return {
        "id": job.id,
        "kind": job.kind,
        "description": job.message,
        "state": job.state,
        "started": job.started,
        "finished": None if job.is_running else job.ended if job.ended > "0002" else job.started,
        "objects": job.counts.objects,
        "bytes": job.counts.bytes,
        "error": job.failure,
    }


def end_with(job: NodeJob) -> None:
    """Tell what went wrong, and end the command with an exit code if anything did."""
    if job.failure:
        output.fail(output.printable(job.failure))
    if job.failure or job.aborted:
        raise click.exceptions.Exit(FAILED)
