"""Hugging Face as a source of `ais download`: datasets and models, whole, in part, or one file.

This command asks the hub which files there are at which commit, and hands the node a list of links with
sizes and checksums; the bytes never pass here. A token goes to the hub only, and to the node only if
the files cannot be had without it.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from aisle.cli import output
from aisle.cli.download_options import JobOptions
from aisle.cli.download_order import Order
from aisle.cli.huggingface_listing import ENDPOINT_VARIABLE, TOKEN_VARIABLE, Hub, Revision
from aisle.cli.locations import Location
from aisle.cli.parameters import SIZE
from aisle.errors import NotFound
from aisle.rules.huggingface import (
    DATASET,
    ENDPOINT,
    MAIN,
    MODEL,
    PARQUET_REVISION,
    SCHEME,
    HubFile,
    Repository,
    Source,
    batches,
    checked_revision,
    original_files,
    parquet_files,
    parse_source,
    repository,
    selected,
)

C = TypeVar("C", bound=Callable[..., object])

ORIGINAL = "original"
PARQUET = "parquet"
_SHOWN_NAMES_MAX = 5


class HubOptions(NamedTuple):
    """What can be said about a repository of Hugging Face."""

    hf_dataset: str
    hf_model: str
    hf_file: str
    hf_revision: str
    hf_auth: str
    hf_include: tuple[str, ...]
    hf_exclude: tuple[str, ...]
    hf_files: str | None
    blob_threshold: int

    def are_meant(self, source: str) -> bool:
        """Whether the source is a repository, by an address or by these options, a token aside."""
        return source.startswith(SCHEME) or any(self._replace(hf_auth="") if source else self)


_OPTIONS = (
    click.option(
        "--hf-dataset", default="", metavar="NAME", help="A dataset of Hugging Face, as OWNER/NAME."
    ),
    click.option("--hf-model", default="", metavar="NAME", help="A model of Hugging Face, as OWNER/NAME."),
    click.option("--hf-file", default="", metavar="PATH", help="Of the dataset or model this file only."),
    click.option(
        "--hf-revision", default="", metavar="REV", help="Branch, tag or commit; the main branch by default."
    ),
    click.option(
        "--hf-auth", default="", metavar="TOKEN", help=f"Token for the hub; {TOKEN_VARIABLE} by default."
    ),
    click.option(
        "--hf-include", multiple=True, metavar="GLOB", help="Only files that match; may be given repeatedly."
    ),
    click.option("--hf-exclude", multiple=True, metavar="GLOB", help="No files that match."),
    click.option(
        "--hf-files",
        type=click.Choice((ORIGINAL, PARQUET)),
        default=None,
        help="The repository's own files, or a dataset's Parquet conversion, which is the default for one.",
    ),
    click.option(
        "--blob-threshold", type=SIZE, default=0, help="Give files of at least this size a job of their own."
    ),
)


def hub_options(command: C) -> C:
    """Give a command the options of `HubOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class _Wanted(NamedTuple):
    """What the options or the address ask for."""

    source: Source
    is_folder: bool
    """Whether the source's path, if it has one, is a folder: its files are named relative to it."""
    is_named: bool
    """Whether it was named by an address, where one file goes by the last part of its path."""


class _Chosen(NamedTuple):
    """The files that it comes to."""

    revision: Revision
    files: list[HubFile]
    noun: str


def hub_orders(
    source: str, destination: Location, job: JobOptions, own: HubOptions, *, recursive: bool = False
) -> list[Order]:
    """The jobs that a repository, or a part of it, asks for.

    `source` is an `hf://` address or empty; the folder that an address names ends with a slash, or it is
    `recursive`. Ends with a usage error for options that do not go together. Raises NotFound, HubDenied,
    SourceFailed, and Unsupported where the library is missing.
    """
    source, own = _without_glob(source, own)
    wanted = _wanted(source, own, recursive=recursive)
    token = _token(own)
    hub = Hub(endpoint=_endpoint(), token=token, tell=output.note)
    chosen = _choose(hub, wanted, own)
    kept = selected([file.name for file in chosen.files], include=own.hf_include, exclude=own.hf_exclude)
    files = [file for file in chosen.files if file.name in kept]
    found = wanted.source.repository
    if not files:
        raise _nothing(found, chosen)
    if chosen.revision.is_gated:
        hub.check_access(chosen.revision.repository)
    headers: dict[str, Sequence[str]] = {}
    if token and (chosen.revision.is_restricted or own.hf_auth):
        headers["Authorization"] = [f"Bearer {token}"]
    jobs = batches(files, own.blob_threshold)
    notices = [f"Found {output.count_text(len(files), chosen.noun)} in {found.kind} '{found.id}'"]
    alone = sum(0 < own.blob_threshold <= file.size for file in files)
    if alone:
        size = output.size_text(own.blob_threshold)
        notices.append(f"Created {output.count_text(alone, 'individual job')} for files >= {size}")
    place = f"{SCHEME}{chosen.revision.repository.path}@{chosen.revision.commit[:12]}"
    description = job.description or f"{place} -> {destination.bucket.cname}/{destination.path}"
    request = job._replace(description=description).request()
    request = msgspec.structs.replace(request, headers={**headers, **request.headers})
    return [
        Order(
            destination,
            request,
            [_line(file, _object_name(file, destination.path, wanted)) for file in batch],
            "\n".join(notices) if number == 0 else "",
        )
        for number, batch in enumerate(jobs)
    ]


def _without_glob(source: str, own: HubOptions) -> tuple[str, HubOptions]:
    """An address with a glob in its path is the folder before it, of which what matches is included."""
    if "*" not in source or not source.startswith(SCHEME):
        return source, own
    if own.hf_include:
        raise click.UsageError("a glob in an address and --hf-include exclude each other")
    folder = source.partition("*")[0].rpartition("/")[0] + "/"
    return folder, own._replace(hf_include=(source.removeprefix(folder),))


def with_token(source: str, job: JobOptions, own: HubOptions) -> JobOptions:
    """The options of a job for a link, with the token if there is one and the link leads to the hub.

    Ends with a usage error for a token that was given for another server.
    """
    try:
        host = urlsplit(source if "://" in source else f"https://{source}").hostname
    except ValueError:
        host = ""  # the node tells what is wrong with it
    if host not in {urlsplit(ENDPOINT).hostname, urlsplit(_endpoint()).hostname, "hf.co"}:
        if own.hf_auth:
            raise click.UsageError("--hf-auth is for the Hugging Face hub only; other servers: --header")
        return job
    token = _token(own)
    if not token or any(name.lower() == "authorization" for name, _ in job.header):
        return job
    return job._replace(header=(*job.header, ("Authorization", f"Bearer {token}")))


def _wanted(source: str, own: HubOptions, *, recursive: bool) -> _Wanted:
    """What is asked for, or a usage error."""
    if own.hf_dataset and own.hf_model:
        raise click.UsageError("--hf-dataset and --hf-model exclude each other")
    name = own.hf_dataset or own.hf_model
    if source and name:
        raise click.UsageError("with --hf-dataset or --hf-model only the destination is given")
    if not name and not source.startswith(SCHEME):
        raise click.UsageError("say of which repository: --hf-dataset NAME or --hf-model NAME")
    if own.hf_file and (source or own.hf_include or own.hf_exclude):
        raise click.UsageError("--hf-file is one file: it needs no address and no globs")
    if source:
        named = parse_source(source)
        if named.revision and own.hf_revision:
            raise click.UsageError(f"two revisions: @{named.revision} and --hf-revision {own.hf_revision}")
        is_folder = recursive or not named.path or named.path.endswith("/")
    else:
        named = Source(repository(DATASET if own.hf_dataset else MODEL, name), "", own.hf_file)
        is_folder = not own.hf_file
    if own.hf_revision:
        named = named._replace(revision=checked_revision(own.hf_revision))
    if own.hf_files == PARQUET and (named.repository.kind != DATASET or named.path or named.revision):
        raise click.UsageError(
            "--hf-files parquet is for whole datasets as they are now: the hub converts their main branch "
            "only. A conversion as it was: --hf-files original --hf-revision COMMIT, with a commit of "
            f"{PARQUET_REVISION}"
        )
    return _Wanted(named, is_folder, bool(source))


def _choose(hub: Hub, wanted: _Wanted, own: HubOptions) -> _Chosen:
    """The files that are asked for, globs aside."""
    named = wanted.source
    is_whole = not named.path and not named.revision and named.repository.kind == DATASET
    # An address stands for the files of the repository itself.
    if is_whole and (own.hf_files == PARQUET or not (own.hf_files or wanted.is_named)):
        chosen = _converted(hub, named.repository)
        if chosen is not None:
            return chosen
        if own.hf_files == PARQUET:
            raise NotFound(
                f"dataset '{named.repository.id}' has no Parquet conversion at {hub.endpoint}: "
                "take --hf-files original"
            )
        output.warn(
            f"dataset '{named.repository.id}' has no Parquet conversion: its original files are taken."
        )
    revision = hub.resolve(named.repository, named.revision or MAIN)
    if wanted.is_folder:
        listed = hub.files(revision.repository, revision.commit, named.path.strip("/"))
    else:
        listed = [hub.file(revision.repository, revision.commit, named.path)]
    files = original_files(revision.repository, revision.commit, listed, hub.endpoint)
    if wanted.is_named:
        files = [file._replace(name=_relative(file.name, wanted)) for file in files]
    return _Chosen(revision, files, "file")


def _converted(hub: Hub, wanted: Repository) -> _Chosen | None:
    """The files of a dataset's Parquet conversion; None if there is none."""
    # What the dataset is called now, and whether it exists at all: a conversion may be missing.
    present = hub.resolve(wanted, MAIN)
    conversion = hub.parquet(present.repository)
    if conversion is None:
        return None
    listing, revision = conversion
    plan = parquet_files(
        present.repository,
        revision.commit,
        listing=listing,
        tree=hub.files(present.repository, revision.commit),
        endpoint=hub.endpoint,
    )
    if plan.partial:
        output.warn(
            f"of {', '.join(plan.partial)} the hub has converted only the beginning: "
            "--hf-files original has all."
        )
    revision = present._replace(commit=revision.commit)
    return _Chosen(revision, plan.files, "parquet file")


def _relative(path: str, wanted: _Wanted) -> str:
    """A file's name below the address: behind the folder, or the last part of the one file's path."""
    if wanted.is_folder:
        folder = wanted.source.path.strip("/")
        return path.removeprefix(f"{folder}/") if folder else path
    return path.rpartition("/")[2]


def _object_name(file: HubFile, place: str, wanted: _Wanted) -> str:
    """One file takes the destination as its name unless that is a folder; many always go below it."""
    if place and not place.endswith("/") and not wanted.is_folder:
        return place
    folder = f"{place.rstrip('/')}/" if place else ""
    return f"{folder}{file.name}"


def _line(file: HubFile, name: str) -> bytes:
    line: dict[str, str | int] = {"link": file.link, "name": name}
    if file.checksum:
        line["checksum"] = file.checksum
    if file.size >= 0:
        line["size"] = file.size
    return msgspec.json.encode(line)


def _nothing(found: Repository, chosen: _Chosen) -> NotFound:
    if not chosen.files:
        return NotFound(f"{found.kind} '{found.id}' has no files at {chosen.revision.commit[:12]}")
    names = ", ".join(file.name for file in chosen.files[:_SHOWN_NAMES_MAX])
    more = ", …" if len(chosen.files) > _SHOWN_NAMES_MAX else ""
    return NotFound(f"no file of {found.kind} '{found.id}' is selected; it has {names}{more}")


def _token(own: HubOptions) -> str:
    token = own.hf_auth or os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        # What it is stays secret.
        raise click.BadParameter("a token has no blanks and only ASCII characters", param_hint="--hf-auth")
    return token


def _endpoint() -> str:
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").strip() or ENDPOINT
    if not endpoint.startswith(("http://", "https://")):
        raise click.UsageError(f"{ENDPOINT_VARIABLE} must be a URL, not {endpoint!r}")
    return endpoint
