"""Downloads among the jobs: listed, shown, waited for, stopped and forgotten, one or many."""

from collections.abc import Sequence
from typing import NamedTuple

import click

from aisle.cli import output
from aisle.cli.download_status import details, ended_well, job_json, status_lines, tell_outcome
from aisle.cli.exit_codes import FAILED
from aisle.cli.parameters import confirm
from aisle.cli.watch import Watch
from aisle.client import Client
from aisle.client.downloads import DownloadJob

ENDED_SHOWN_MAX = 20
"""Downloads that have ended and are listed without being asked for."""


class Following(NamedTuple):
    """How a job is followed: for how long, in which steps, and what is printed."""

    timeout_s: float | None = None
    progress: bool = False
    interval_s: float = 2.0
    as_json: bool = False


def listed(client: Client, *, regex: str, finished_too: bool) -> list[DownloadJob]:
    """Downloads for a list of their own: those that run, and the last that ended, or all of them."""
    jobs = client.downloads(regex=regex)
    if finished_too:
        return jobs
    ended = sorted((job for job in jobs if not job.is_running), key=lambda job: (job.finished, job.id))
    hidden = len(ended) - ENDED_SHOWN_MAX
    if hidden > 0:
        output.note(f"{output.count_text(hidden, 'earlier download')} not shown: add --all")
        ended = ended[hidden:]
    return [job for job in jobs if job.is_running] + ended


def status_word(job: DownloadJob) -> str:
    """How a job stands, for a table: `3 pending`, `Finished`."""
    if job.state == "running" and job.total >= 0:
        return f"{job.total - job.done - job.errors:,} pending"
    return job.state.capitalize()


def show(client: Client, job_id: str, *, verbose: bool, as_json: bool) -> None:
    """Print how a job stands. Raises JobNotFound."""
    job = client.download(job_id)
    if as_json:
        output.print_json(job_json(job))
        return
    for line in status_lines(job, verbose=verbose):
        click.echo(line)
    if told := details(job):
        output.note(told)
    if job.failures and not verbose:
        output.note(f"For details, run: ais show job {job.id} -v")


def follow(client: Client, job_id: str, following: Following, *, headline: bool = False) -> None:
    """Wait until a job ends and tell how, in the exit code too; `headline` names the job first.

    Raises JobNotFound.
    """
    watch = Watch(client, job_id, line_interval_s=following.interval_s)
    job = watch.until_finished(timeout_s=following.timeout_s, progress=following.progress)
    if following.as_json:
        output.print_json(job_json(job))
    else:
        if headline and not job.aborted:
            click.echo(f"download[{job.id}] finished")
        tell_outcome(job, told=watch.told)
    if not ended_well(job):
        raise click.exceptions.Exit(FAILED)


def only_running(client: Client, *, regex: str) -> str:
    """The id of the only download that runs and matches; ends with a usage error unless there is one."""
    ids = [job.id for job in client.downloads(regex=regex, only_active=True)]
    if len(ids) != 1:
        raise click.UsageError(
            f"--progress follows one job: name one of {', '.join(ids)}" if ids else "no download runs"
        )
    return ids[0]


def running_ids(client: Client, *, regex: str, yes: bool) -> list[str]:
    """The downloads that run and match, once somebody has agreed to stop them."""
    ids = [job.id for job in client.downloads(regex=regex, only_active=True) if job.is_running]
    if not ids:
        output.note("No running download jobs, nothing to do")
    else:
        confirm(f"Stop {output.count_text(len(ids), 'running download')}?", yes=yes)
    return ids


def ended_ids(client: Client, *, regex: str) -> list[str]:
    """The downloads that have ended and match."""
    ids = [job.id for job in client.downloads(regex=regex) if not job.is_running]
    if not ids:
        output.note("No finished download jobs, nothing to do")
    return ids


def named(ids: Sequence[str], *, some: bool) -> None:
    """Ends with a usage error unless jobs are named, or some are selected by an option, but not both."""
    if bool(ids) == some:
        raise click.UsageError(
            "name jobs, or select them with --all or --regex; see them with: ais show job --all"
        )
