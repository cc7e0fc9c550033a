"""`ais download VERB JOB`: let a download rest and go on, check what it stored, fetch again what is bad."""

from collections import Counter

import click

from aisle.cli import output
from aisle.cli.download_status import ended_well, job_json, tell_outcome
from aisle.cli.exit_codes import FAILED
from aisle.cli.parameters import json_option
from aisle.cli.session import Session, pass_session
from aisle.cli.watch import Watch
from aisle.client import Client
from aisle.client.download_jobs import DownloadJobs, Finding, Verified

SHOWN_FINDINGS_MAX = 100

_ids = click.argument("job_ids", nargs=-1, required=True, metavar="JOB...")
_id = click.argument("job_id", metavar="JOB")


@click.command("pause", short_help="Let downloads rest until they are resumed.")
@_ids
@pass_session
def pause(session: Session, *, job_ids: tuple[str, ...]) -> None:
    """Let downloads rest until they are resumed. They keep what they have, also while the node is off."""
    jobs = DownloadJobs(session.client)
    for job_id in job_ids:
        jobs.pause(job_id)
        click.echo(f"Paused {job_id}. Let it go on with: ais download resume {job_id}")


@click.command("resume", short_help="Let downloads that rest go on.")
@_ids
@pass_session
def resume(session: Session, *, job_ids: tuple[str, ...]) -> None:
    """Let downloads that rest go on where they were."""
    jobs = DownloadJobs(session.client)
    for job_id in job_ids:
        jobs.resume(job_id)
        click.echo(f"Resumed {job_id}")


@click.command("priority", short_help="Say how urgent a running download is.")
@_id
@click.argument("priority", type=int)
@pass_session
def prioritize(session: Session, *, job_id: str, priority: int) -> None:
    """Say how urgent a running download is, beside others: a number, 0 by default.

    Of downloads that could start a file, those with the highest number get the free connections.
    (For a number below 0 write: ais download priority JOB -- -5)
    """
    DownloadJobs(session.client).prioritize(job_id, priority)
    click.echo(f"Priority of {job_id}: {priority}")


@click.command("verify", short_help="Check that the objects of a download are what was stored.")
@_id
@json_option
@pass_session
def verify(session: Session, *, job_id: str, as_json: bool) -> None:
    """Check that the objects of a download are still what was stored: there, and with the same bytes.

    The node reads all of them again and computes their checksums; nothing is transferred. The exit code
    tells whether all is well.
    """
    findings, result = _verified(session.client, job_id, text=not as_json)
    if as_json:
        output.print_json(
            {
                "id": job_id,
                "checked": result.checked,
                "bytes": result.bytes,
                "bad": [
                    {
                        "item": finding.item,
                        "object": finding.object,
                        "problem": finding.problem,
                        "detail": finding.detail,
                    }
                    for finding in findings
                ],
            }
        )
    elif not findings:
        click.echo(f"Verified {_extent(result)}: all are what was stored")
    else:
        output.note(f"Fetch them again with: ais download repair {job_id}")
    if findings:
        raise click.exceptions.Exit(FAILED)


@click.command("repair", short_help="Fetch again what is missing or damaged of a download.")
@_id
@click.option("--wait/--no-wait", default=True, help="Wait until all is there again (the default).")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be fetched.")
@json_option
@pass_session
def repair(session: Session, *, job_id: str, wait: bool, dry_run: bool, as_json: bool) -> None:
    """Fetch again what is missing, damaged or never came of a download, and nothing else.

    Each object must become what it was: a source that has changed since is an error.
    """
    client = session.client
    findings, result = _verified(client, job_id, text=not as_json)
    if not findings or dry_run:
        if as_json:
            output.print_json({"id": None, "repairs": job_id, "items": sorted({f.item for f in findings})})
        elif not findings:
            click.echo(f"Nothing to repair: {_extent(result)} verified")
        else:
            click.echo(f"Would fetch {output.count_text(len({f.item for f in findings}), 'file')} again")
        return
    repair_id = DownloadJobs(client).repair(job_id, sorted({finding.item for finding in findings}))
    if not as_json:
        click.echo(f"Started download job {repair_id}")
    if not wait:
        if as_json:
            output.print_json({"id": repair_id, "repairs": job_id})
        return
    watch = Watch(client, repair_id)
    job = watch.until_finished(timeout_s=None, progress=False)
    if as_json:
        output.print_json(job_json(job))
    else:
        tell_outcome(job, told=watch.told)
    if not ended_well(job):
        raise click.exceptions.Exit(FAILED)


def _verified(client: Client, job_id: str, *, text: bool) -> tuple[list[Finding], Verified]:
    """What is bad, and how much was looked at; told on the way if `text` is wanted."""
    client.download(job_id, only_active=True)  # whether there is such a job
    findings: list[Finding] = []
    result = Verified(checked=0)
    for told in DownloadJobs(client).verify(job_id):
        if isinstance(told, Verified):
            result = told
            continue
        findings.append(told)
        if text and len(findings) <= SHOWN_FINDINGS_MAX:
            output.fail(output.printable(f"{told.object}: {told.problem}: {told.detail}"))
    if text and findings:
        counts = Counter(finding.problem for finding in findings)
        if len(findings) > SHOWN_FINDINGS_MAX:
            output.note(f"All {len(findings):,}: ais download verify {job_id} --json")
        listed = ", ".join(f"{count:,} {problem}" for problem, count in sorted(counts.items()))
        click.echo(f"Bad: {len(findings):,} of {_extent(result)} ({listed})")
    return findings, result


def _extent(result: Verified) -> str:
    return f"{output.count_text(result.checked, 'file')} ({output.size_text(result.bytes)})"
