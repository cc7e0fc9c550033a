"""Watching a download job until it ends."""

import time
from collections.abc import Callable

import click

from aisle.cli import output
from aisle.cli.download_states import POLL_S, States
from aisle.cli.download_status import SHOWN_FAILURES_MAX
from aisle.cli.download_view import View, trouble_lines, view_for
from aisle.cli.exit_codes import FAILED, INTERRUPTED
from aisle.client.downloads import DownloadJob, Failure
from aisle.client.node import Client

FIRST_POLL_S = 0.03  # most of what is small is there at once
GRACE_S = 2.0  # a small file is there before anybody could ask for its status
DETACH_S = 2.0  # for a second Ctrl-C, which stops the job
FAILURES_INTERVAL_S = 1.0  # with its failures a job's status is long


class Watch:
    """Follows one job. `told` are the failures that were shown while it ran."""

    def __init__(
        self,
        client: Client,
        job_id: str,
        *,
        line_interval_s: float = 2.0,
        listens: bool = True,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """With `listens` the node's events are taken, where it has them."""
        self.told: set[Failure] = set()
        self._client = client
        self._job_id = job_id
        self._line_interval_s = line_interval_s
        self._listens = listens
        self._now_s = now_s
        self._sleep = sleep
        self._asked_failures_s = -FAILURES_INTERVAL_S

    def for_a_moment(self, grace_s: float) -> DownloadJob:
        """The job when it has ended, or as it is after a short time; Ctrl-C is as in `until_finished`."""
        deadline_s, pause_s = self._now_s() + grace_s, FIRST_POLL_S
        try:
            while True:
                job = self._client.download(self._job_id, only_active=True)
                if not job.is_running:
                    return self._client.download(self._job_id)
                if self._now_s() >= deadline_s:
                    return job
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, POLL_S)
        except KeyboardInterrupt:
            self._detach()
            raise click.exceptions.Exit(INTERRUPTED) from None

    def until_finished(self, *, timeout_s: float | None, progress: bool) -> DownloadJob:
        """The job when it has ended. On time-out, or Ctrl-C, it goes on in the node; twice stops it."""
        deadline_s = None if timeout_s is None else self._now_s() + timeout_s
        view = view_for(progress=progress, interval_s=self._line_interval_s, now_s=self._now_s)
        states = States(self._client, self._job_id, say=view.say, now_s=self._now_s, sleep=self._sleep)
        if self._listens:
            states.listen()
        last: DownloadJob | None = None
        try:
            while True:
                job = states.next()
                if job is not None:
                    last = job
                    if progress:
                        self._tell_failures(job, view)
                    view.show(job)
                    if not job.is_running:
                        return job
                if deadline_s is not None and self._now_s() >= deadline_s:
                    view.stop()
                    output.fail(
                        f"timed out: job {self._job_id} has not finished in {timeout_s:.3g} s; it goes on",
                        *(trouble_lines(last) if last is not None else []),
                        f"Watch it with: ais show job {self._job_id} --progress",
                    )
                    raise click.exceptions.Exit(FAILED)
        except KeyboardInterrupt:
            view.stop()
            self._detach()
            raise click.exceptions.Exit(INTERRUPTED) from None
        finally:
            view.stop()

    def _tell_failures(self, job: DownloadJob, view: View) -> None:
        """Show failures that nobody has seen, up to a number of them."""
        room = min(job.errors, SHOWN_FAILURES_MAX) - len(self.told)
        if room <= 0:
            return
        fresh = [failure for failure in job.failures if failure not in self.told]
        now_s = self._now_s()
        if not fresh and job.is_running and now_s - self._asked_failures_s >= FAILURES_INTERVAL_S:
            # Not an event, or one of those before had too many: what failed stands in the whole status.
            self._asked_failures_s = now_s
            failures = self._client.download(self._job_id).failures
            fresh = [failure for failure in failures if failure not in self.told]
        view.failed(fresh[:room])
        self.told.update(fresh[:room])

    def _detach(self) -> None:
        """Leave the job alone, unless a second Ctrl-C comes at once."""
        job_id = self._job_id
        try:
            output.note(
                f"\nJob {job_id} goes on in the node. "
                f"Watch it with: ais show job download {job_id} --progress\n"
                "Press Ctrl-C again to stop it."
            )
            self._sleep(DETACH_S)
        except KeyboardInterrupt:
            self._client.abort_download(job_id)
            output.note(f"\nStopped download job {job_id}")
