"""`ais storage`: the folders of a stopped node, checked, mended, made smaller, copied and put back.

These commands take the locks that a node takes, so a running node keeps them out, and they it.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from aisle.cli import output
from aisle.cli.exit_codes import FAILED
from aisle.cli.parameters import json_option
from aisle.cli.progress import is_live
from aisle.storage import copies
from aisle.storage import fsck as checking
from aisle.storage.findings import Finding, Report

C = TypeVar("C", bound=Callable[..., object])

DEFAULT_DATA = "./aisle-data"
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_COUNT_INTERVAL_S = 0.5


def _checked(_ctx: click.Context, _param: click.Parameter, folders: tuple[Path, ...]) -> tuple[Path, ...]:
    for folder in folders:
        # Damaged ones are welcome, but not a folder of somebody else, where a lock file would be left.
        if not any((folder / name).exists() for name in (".aisle.json", "index", "data")):
            raise click.BadParameter(f'"{folder}" is no folder of a node')
    return folders


def data_option(command: C) -> C:
    """`--data`: the node's mountpaths, all of them."""
    return click.option(
        "--data",
        type=_FOLDER,
        multiple=True,
        default=(DEFAULT_DATA,),
        show_default=True,
        callback=_checked,
        help="A folder of the node, as given to aisnode; repeat for several.",
    )(command)


@click.command("fsck", short_help="Check that everything is there, and as it was stored.")
@data_option
@click.option("--repair", is_flag=True, help="Put right what can be; nothing of use is deleted.")
@json_option
def fsck(data: tuple[Path, ...], repair: bool, as_json: bool) -> None:
    """Check that everything is there, and as it was stored.

    Every payload is read and compared with its checksum. Without --repair nothing is changed. What
    --repair takes away goes to the folder `quarantine`. The exit code is 0 if all is well at the end.
    """
    counter = _Counter()
    try:
        report = checking.fsck(data, repair=repair, progress=counter.show)
    finally:
        counter.end()
    buckets = _bucket_names(data) if any(finding.name for finding in report.findings) else {}
    if as_json:
        output.print_json(_report_json(report, buckets))
    else:
        _print_report(report, buckets)
    if not report.is_clean:
        if not repair:
            output.note("Put right what can be with: ais storage fsck --repair")
        raise click.exceptions.Exit(FAILED)


@click.command("compact", short_help="Give back the space that an index no longer needs.")
@data_option
@json_option
def compact(data: tuple[Path, ...], as_json: bool) -> None:
    """Give back the space that an index no longer needs.

    An index grows and never shrinks by itself. This rewrites it, which takes as much free space as the
    new one has.
    """
    done = copies.compact(data)
    if as_json:
        output.print_json(
            {
                "mountpaths": [
                    {"path": str(path), "before": before, "after": after} for path, before, after in done
                ]
            }
        )
        return
    output.Table(["mountpath", "before", "after"]).add(
        [str(path), output.size_text(before), output.size_text(after)] for path, before, after in done
    )


@click.command("backup", short_help="Copy the indexes into a folder.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@data_option
@json_option
def backup(folder: Path, data: tuple[Path, ...], as_json: bool) -> None:
    """Copy the indexes, and what the node knows of buckets and jobs, into a folder.

    Small objects live in the index and are in the copy; payload files are not, copy `data/` for them.
    """
    made = copies.backup(data, folder)
    if as_json:
        output.print_json({"copies": [str(path) for path in made]})
        return
    for path in made:
        click.echo(f"copied to {path}")


@click.command("restore", short_help="Put copies of the indexes back.")
@click.argument("folder", type=_FOLDER)
@data_option
@json_option
def restore(folder: Path, data: tuple[Path, ...], as_json: bool) -> None:
    """Put copies of the indexes back, as `ais storage backup` made them.

    The present indexes go to the folder `quarantine`. What was written since the copy is not in it:
    `ais storage fsck --repair` takes up what payload files tell. What the node knows of buckets and jobs is
    put back only where it is lost.
    """
    from aisle.cluster.replica import is_of_use

    restored = copies.restore(data, folder, is_metadata=is_of_use)
    if as_json:
        output.print_json({"mountpaths": [str(path) for path in restored]})
        return
    for path in restored:
        click.echo(f"restored {path}")
    output.note("Then check them with: ais storage fsck --repair")


class _Counter:
    """How many objects have been checked, on a terminal."""

    def __init__(self) -> None:
        self._shown = is_live()
        self._last_s = time.monotonic()
        self._is_visible = False

    def show(self, count: int) -> None:
        now_s = time.monotonic()
        if self._shown and now_s - self._last_s >= _COUNT_INTERVAL_S:
            self._last_s = now_s
            self._is_visible = True
            sys.stderr.write(f"\r{output.count_text(count, 'object')} checked")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_visible:
            sys.stderr.write("\n")


def _bucket_names(data: Sequence[Path]) -> dict[int, str]:
    """Buckets by number, as far as the metadata tells."""
    from aisle.cluster.embedded import EmbeddedStore
    from aisle.errors import AisleError
    from aisle.model.bucket import decode_document
    from aisle.model.names import Bucket

    prefix = "bucket/"
    if not all((path / "metadata" / "data.mdb").exists() for path in data):
        return {}
    names = {}
    try:
        store = EmbeddedStore(data)
        try:
            for document in store.list(prefix):
                provider, space, name = document.key.removeprefix(prefix).strip("/").split("/", 2)
                bucket = Bucket(name, provider, "" if space == "@#" else space)
                names[decode_document(document.value).number] = bucket.cname
        finally:
            store.close()
    except (AisleError, ValueError):
        # Damaged metadata is the node's to mend at its start; here numbers must do.
        return names
    return names


def _object_of(finding: Finding, buckets: Mapping[int, str]) -> str:
    if finding.name is None:
        return ""
    number, key = finding.name
    return f"{buckets.get(number, f'bucket {number}')}/{key.decode('utf-8', 'backslashreplace')}"


def _print_report(report: Report, buckets: Mapping[int, str]) -> None:
    for finding in report.findings:
        about = _object_of(finding, buckets)
        where = f"{finding.mountpath}: {about}: " if about else f"{finding.mountpath}: "
        done = f" -> {finding.action}" if finding.action else ""
        click.echo(output.printable(f"{finding.kind.value}: {where}{finding.detail}{done}"))
    checked = f"{output.count_text(report.objects, 'object')} ({output.size_text(report.bytes)}) checked"
    if not report.findings:
        click.echo(f"{checked}: all is well")
        return
    left = sum(not finding.action for finding in report.findings)
    found = output.count_text(len(report.findings), "problem")
    click.echo(f"{checked}: {found} found, {len(report.findings) - left:,} put right")


def _report_json(report: Report, buckets: Mapping[int, str]) -> dict[str, object]:
    return {
        "objects": report.objects,
        "bytes": report.bytes,
        "clean": report.is_clean,
        "findings": [
            {
                "kind": finding.kind.value,
                "mountpath": str(finding.mountpath),
                "detail": finding.detail,
                "object": _object_of(finding, buckets) or None,
                "generation": finding.generation.hex() if finding.generation else None,
                "action": finding.action,
            }
            for finding in report.findings
        ],
    }
