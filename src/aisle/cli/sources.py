"""Local files to be written into a bucket, and the names that they get there."""

import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from aisle.cli import output
from aisle.cli.locations import Location, encoded

STANDARD_INPUT = "-"


class Source(NamedTuple):
    """A local file and the object that it becomes."""

    path: str
    key: bytes


def plan(paths: Sequence[str], destination: Location, *, recursive: bool) -> Iterator[Source]:
    """What each path becomes behind `destination`; folders are walked when it is `recursive`.

    One file takes the destination as its name, or its own name when that is empty or ends with a
    slash. Several files go below it under their own names. What is in one folder is named relative
    to that folder; with several paths, relative to the folder's parent. Raises click's usage errors,
    before there is a first source, for folders without `recursive` and for names that come twice.
    """
    names: dict[str, str] = {}
    for path in paths:
        if not recursive and os.path.isdir(path):
            raise click.UsageError(f'"{path}" is a folder: add -r to write all that is in it')
        name = os.path.basename(os.path.abspath(path))
        if name in names:
            raise click.UsageError(
                f'"{names[name]}" and "{path}" would both become "{name}": put them one by one'
            )
        names[name] = path
    return _sources(paths, destination)


def _sources(paths: Sequence[str], destination: Location) -> Iterator[Source]:
    folder = (
        destination.path if destination.path.endswith("/") or not destination.path else f"{destination.path}/"
    )
    for path in paths:
        name = os.path.basename(os.path.abspath(path))
        if os.path.isdir(path):
            inner = folder if len(paths) == 1 else f"{folder}{name}/"
            for file in _walk(path):
                relative = os.path.relpath(file, path).replace(os.sep, posixpath.sep)
                yield Source(file, encoded(f"{inner}{relative}"))
        elif len(paths) == 1 and destination.path and not destination.path.endswith("/"):
            yield Source(path, encoded(destination.path))
        else:
            yield Source(path, encoded(f"{folder}{name}"))


def _walk(folder: str) -> Iterator[str]:
    """Files below a folder, in order of their names. Links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file():
            yield entry.path
        else:
            output.warn(f"{output.printable(entry.path)} is not a file: left out")


def content_type_of(name: str) -> str:
    """The media type that a name's ending promises, or nothing; the same on every machine."""
    import mimetypes

    kind, encoding = mimetypes.MimeTypes(filenames=()).guess_type(f"file:{posixpath.basename(name)}")
    return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
        encoding or "", kind or ""
    )
