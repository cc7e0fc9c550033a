"""`ais show job`, `ais job`: the work that goes on in the node."""

import click

from aisle.cli import output
from aisle.cli.parameters import DURATION, json_option, no_headers_option
from aisle.cli.session import Session, pass_session
from aisle.cli.watch import Watch, job_json, print_outcome, summary
from aisle.client.downloads import DownloadJob

KIND = "download"
SHOWN_TASKS_MAX = 10  # a job with fewer files shows each without being asked


def _ids(words: tuple[str, ...]) -> list[str]:
    """The ids among `download dnl-x1 …`: AIStore's forms name the kind first."""
    return list(words[1:] if words[:1] == (KIND,) else words)


def _one_id(words: tuple[str, ...]) -> str:
    ids = _ids(words)
    if len(ids) != 1:
        raise click.UsageError("name one job; see them with: ais show job --all")
    return ids[0]


@click.command("job", short_help="Show one job, or those that run.")
@click.argument("words", nargs=-1, metavar="[download] [ID]")
@click.option("--all", "finished_too", is_flag=True, help="Those that have finished, too.")
@click.option("--regex", default="", help="Only jobs whose description matches.")
@click.option("--progress", is_flag=True, help="Follow the job until it ends.")
@click.option("--verbose", "-v", is_flag=True, help="Each file that is under way, and each error.")
@no_headers_option
@json_option
@pass_session
def show(
    session: Session,
    *,
    words: tuple[str, ...],
    finished_too: bool,
    regex: str,
    progress: bool,
    verbose: bool,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show one job, or those that run."""
    if not _ids(words):
        if progress:
            raise click.UsageError("--progress follows one job: name it")
        jobs = session.client.downloads(regex=regex, only_active=not finished_too)
        _list(jobs, headers=not no_headers, as_json=as_json, finished_too=finished_too)
        return
    job_id = _one_id(words)
    if progress:
        job = Watch(session.client, job_id).until_finished(timeout_s=None, progress=True)
    else:
        job = session.client.download(job_id)
    if as_json:
        output.print_json(job_json(job))
    else:
        _print_one(job, verbose=verbose)


@click.command("wait", short_help="Wait until a job ends.")
@click.argument("words", nargs=-1, required=True, metavar="[download] ID")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@click.option("--progress", is_flag=True, help="Show how it goes.")
@json_option
@pass_session
def wait(
    session: Session, *, words: tuple[str, ...], timeout: float | None, progress: bool, as_json: bool
) -> None:
    """Wait until a job ends. The exit code tells whether all went well."""
    job = Watch(session.client, _one_id(words)).until_finished(timeout_s=timeout, progress=progress)
    if as_json:
        output.print_json(job_json(job))
    print_outcome(job, text=not as_json)


@click.command("abort", short_help="Stop jobs; what they did stays.")
@click.argument("words", nargs=-1, required=True, metavar="[download] ID...")
@json_option
@pass_session
def abort(session: Session, words: tuple[str, ...], as_json: bool) -> None:
    """Stop jobs. Files that are there stay, those under way go."""
    for job_id in _ids(words):
        session.client.abort_download(job_id)
        if not as_json:
            click.echo(f"Stopped download job {job_id}")
    if as_json:
        output.print_json({"stopped": _ids(words)})


@click.command("rm", short_help="Forget finished jobs.")
@click.argument("words", nargs=-1, required=True, metavar="[download] ID...")
@json_option
@pass_session
def forget(session: Session, words: tuple[str, ...], as_json: bool) -> None:
    """Forget finished jobs. The objects stay."""
    for job_id in _ids(words):
        session.client.remove_download(job_id)
        if not as_json:
            click.echo(f'Removed finished download job "{job_id}"')
    if as_json:
        output.print_json({"removed": _ids(words)})


def _list(jobs: list[DownloadJob], *, headers: bool, as_json: bool, finished_too: bool) -> None:
    jobs = sorted(jobs, key=lambda job: (job.started, job.id))
    if as_json:
        output.print_json({"jobs": [job_json(job) for job in jobs]})
        return
    if not jobs:
        output.note("No jobs." if finished_too else "No running jobs. Finished ones: ais show job --all")
        return
    output.Table(["job id", "status", "errors", "description"], headers=headers).add(
        [job.id, _status(job), str(job.errors), job.description] for job in jobs
    )


def _status(job: DownloadJob) -> str:
    if job.is_running and job.total >= 0:
        return f"{job.total - job.done - job.errors:,} pending"
    return job.state.capitalize()


def _print_one(job: DownloadJob, *, verbose: bool) -> None:
    click.echo(summary(job))
    if job.is_running and (verbose or job.total < SHOWN_TASKS_MAX):
        for task in job.current_tasks:
            size = output.size_text(task.downloaded)
            if task.total:
                size += f"/{output.size_text(task.total)} ({100 * task.downloaded / task.total:.2f}%)"
            click.echo(f"  {output.printable(task.name)}: {size}")
    if verbose:
        for failure in job.failures:
            click.echo(output.printable(f"  {failure.name}: {failure.error}"))
    elif job.failures:
        output.note(f"For details, run: ais show job {job.id} -v")
