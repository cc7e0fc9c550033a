"""`ais show job`, `ais job`: the work that goes on in the node."""

from typing import TYPE_CHECKING

import click

from aisle.cli import download_jobs, follow, output
from aisle.cli.download_options import interval_option
from aisle.cli.download_status import job_json
from aisle.cli.parameters import DURATION, confirm, json_option, no_headers_option, units_option, yes_option
from aisle.cli.session import Session, pass_session
from aisle.client.downloads import DownloadJob
from aisle.client.jobs import Jobs, NodeJob
from aisle.rules.expressions import expression
from aisle.rules.job_kinds import canonical_kind, display_name

if TYPE_CHECKING:
    from collections.abc import Sequence

KIND = "download"
DOWNLOAD_PREFIX = "dnl-"


def _kind(words: tuple[str, ...]) -> str:
    """The kind that AIStore's forms name first: `download dnl-x1`, `copy-bucket`; empty if none is."""
    return canonical_kind(words[0]) if words else ""


def _ids(words: tuple[str, ...]) -> list[str]:
    """The ids among the words."""
    return list(words[1:] if _kind(words) else words)


def _one_id(words: tuple[str, ...]) -> str:
    ids = _ids(words)
    if len(ids) != 1:
        raise click.UsageError("name one job; see them with: ais show job --all")
    return ids[0]


def _is_download(job_id: str) -> bool:
    return job_id.startswith(DOWNLOAD_PREFIX)


@click.command("job", short_help="Show one job, or those that run.")
@click.argument("words", nargs=-1, metavar="[KIND] [ID]")
@click.option("--all", "finished_too", is_flag=True, help="Those that have finished, too.")
@click.option("--regex", default="", help="Only jobs whose description matches.")
@click.option("--progress", is_flag=True, help="Follow the job until it ends.")
@interval_option
@click.option("--verbose", "-v", is_flag=True, help="Each file that is under way, and each error.")
@units_option
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
    progress_interval: float,
    verbose: bool,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show one job, or those that run; of downloads, with their kind alone, the last that ended, too."""
    if progress and words == (KIND,):
        words = (*words, download_jobs.only_running(session.client, regex=regex))
    if not _ids(words):
        if progress:
            raise click.UsageError("--progress follows one job: name it")
        jobs: list[DownloadJob | NodeJob] = []
        if _kind(words) == KIND:
            jobs += download_jobs.listed(session.client, regex=regex, finished_too=finished_too)
        elif not _kind(words):
            jobs += session.client.downloads(regex=regex, only_active=not finished_too)
        if _kind(words) != KIND:
            jobs += _others(session, regex, kind=_kind(words), finished_too=finished_too)
        _list(jobs, headers=not no_headers, as_json=as_json, finished_too=finished_too)
        return
    job_id = _one_id(words)
    if not _is_download(job_id):
        _show_other(session, job_id, progress=progress, as_json=as_json)
    elif progress:
        following = download_jobs.Following(None, True, progress_interval, as_json)
        download_jobs.follow(session.client, job_id, following)
    else:
        download_jobs.show(session.client, job_id, verbose=verbose, as_json=as_json)


@click.command("wait", short_help="Wait until a job ends.")
@click.argument("words", nargs=-1, required=True, metavar="[KIND] ID")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@click.option("--progress", is_flag=True, help="Show how it goes.")
@interval_option
@json_option
@pass_session
def wait(
    session: Session,
    *,
    words: tuple[str, ...],
    timeout: float | None,
    progress: bool,
    progress_interval: float,
    as_json: bool,
) -> None:
    """Wait until a job ends. The exit code tells whether all went well."""
    job_id = _one_id(words)
    if _is_download(job_id):
        following = download_jobs.Following(timeout, progress, progress_interval, as_json)
        download_jobs.follow(session.client, job_id, following, headline=True)
        return
    other = follow.Follow(Jobs(session.client), job_id).until_finished(timeout_s=timeout, progress=progress)
    _print_other(other, as_json=as_json)
    follow.end_with(other)


@click.command("abort", short_help="Stop jobs; what they did stays.")
@click.argument("words", nargs=-1, metavar="[KIND] ID...")
@click.option("--all", "every", is_flag=True, help="All that run, or all of the kind.")
@click.option("--regex", default="", help="Those of them whose description matches.")
@yes_option
@json_option
@pass_session
def abort(
    session: Session, *, words: tuple[str, ...], every: bool, regex: str, yes: bool, as_json: bool
) -> None:
    """Stop jobs. What they have done stays, and what is under way goes."""
    jobs, ids = Jobs(session.client), _ids(words)
    download_jobs.named(ids, some=every or bool(regex))
    if not ids:
        ids = _running_ids(session, _kind(words), regex, yes=yes)
    for job_id in ids:
        if _is_download(job_id):
            session.client.abort_download(job_id)
            text = f"Stopped download job {job_id}"
        else:
            job = jobs.find(job_id)
            jobs.stop(job_id)
            text = f"Stopped {display_name(job.kind)} job {job_id}"
        if not as_json:
            click.echo(text)
    if as_json:
        output.print_json({"stopped": ids})


@click.command("rm", short_help="Forget finished jobs.")
@click.argument("words", nargs=-1, metavar="[download] ID...")
@click.option("--all", "every", is_flag=True, help="All downloads that have ended.")
@click.option("--regex", default="", help="Downloads that have ended and whose description matches.")
@json_option
@pass_session
def forget(session: Session, *, words: tuple[str, ...], every: bool, regex: str, as_json: bool) -> None:
    """Forget finished jobs. The objects stay."""
    ids = _ids(words)
    download_jobs.named(ids, some=every or bool(regex))
    selected = not ids
    if selected:
        ids = download_jobs.ended_ids(session.client, regex=regex)
    for job_id in ids:
        session.client.remove_download(job_id)
        if not as_json:
            click.echo(f'Removed {"" if selected else "finished "}download job "{job_id}"')
    if as_json:
        output.print_json({"removed": ids})


def _running_ids(session: Session, kind: str, regex: str, *, yes: bool) -> list[str]:
    """The jobs of a kind, or of all, that run and match, once somebody has agreed to stop them."""
    if kind == KIND:
        return download_jobs.running_ids(session.client, regex=regex, yes=yes)
    ids = [job.id for job in _others(session, regex, kind=kind, finished_too=False)]
    if not kind:
        downloads = session.client.downloads(regex=regex, only_active=True)
        ids += [job.id for job in downloads if job.is_running]
    if ids:
        confirm(f"Stop {output.count_text(len(ids), 'running job')}?", yes=yes)
    else:
        output.note("No running jobs, nothing to do")
    return ids


def _others(session: Session, regex: str, *, kind: str, finished_too: bool) -> list[NodeJob]:
    """Jobs other than downloads."""
    matches = expression(regex, what="regex") if regex else None
    found = Jobs(session.client).all(running_only=not finished_too)
    return [job for job in found if kind in ("", job.kind) and (matches is None or matches(job.message))]


def _show_other(session: Session, job_id: str, *, progress: bool, as_json: bool) -> None:
    jobs = Jobs(session.client)
    if progress:
        job = follow.Follow(jobs, job_id).until_finished(progress=True)
    else:
        job = jobs.find(job_id)
    _print_other(job, as_json=as_json)


def _print_other(job: NodeJob, *, as_json: bool) -> None:
    if as_json:
        output.print_json(follow.job_json(job))
        return
    click.echo(follow.summary(job))
    for text in filter(None, (job.message, job.failure)):
        click.echo(output.printable(f"  {text}"))


def _list(
    jobs: "Sequence[DownloadJob | NodeJob]", *, headers: bool, as_json: bool, finished_too: bool
) -> None:
    jobs = sorted(jobs, key=lambda job: (_started(job), job.id))
    if as_json:
        output.print_json({"jobs": [_json(job) for job in jobs]})
        return
    if not jobs:
        output.note("No jobs." if finished_too else "No running jobs. Finished ones: ais show job --all")
        return
    output.Table(["job id", "status", "errors", "description"], headers=headers).add(map(_row, jobs))


def _row(job: DownloadJob | NodeJob) -> list[str]:
    if isinstance(job, DownloadJob):
        return [job.id, download_jobs.status_word(job), str(job.errors), job.description]
    description = f"{display_name(job.kind)}: {job.message}" if job.message else display_name(job.kind)
    return [job.id, job.state.capitalize(), "1" if job.failure else "0", description]


def _started(job: DownloadJob | NodeJob) -> str:
    return job.started.isoformat() if isinstance(job, DownloadJob) else job.started_at.isoformat()


def _json(job: DownloadJob | NodeJob) -> dict[str, object]:
    return job_json(job) if isinstance(job, DownloadJob) else follow.job_json(job)
