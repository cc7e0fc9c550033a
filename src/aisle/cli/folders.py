"""`ais download --recursive URL BUCKET[/PREFIX]`: all files that the pages of a folder lead to."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import click

from aisle.cli.download_links import web_address
from aisle.cli.download_options import JobOptions
from aisle.cli.download_order import Order
from aisle.cli.locations import Location

C = TypeVar("C", bound=Callable[..., object])


class FolderOptions(NamedTuple):
    """What can be said about a folder."""

    recursive: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]


_OPTIONS = (
    click.option(
        "--recursive",
        "-r",
        is_flag=True,
        help="URL is a folder: fetch all that its pages list, and those of the folders in it.",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="With -r: only these files; with a slash the whole path is compared, else the name.",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="With -r: not these files, nor folders such as 'old/'.",
    ),
)


def folder_options(command: C) -> C:
    """Give a command the options of `FolderOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def folder_order(source: str, destination: Location, options: JobOptions, own: FolderOptions) -> Order:
    """What a folder asks for. Ends with a usage error for what cannot be one."""
    link = web_address(source)
    if "{" in link or "?" in link:
        raise click.UsageError("-r takes the URL of one folder, without a template or a query")
    request = options.request(
        link=link,
        name=destination.path.strip("/"),
        recursive=True,
        include=own.include,
        exclude=own.exclude,
    )
    return Order(destination, request)


def refuse_patterns(own: FolderOptions) -> None:
    """End with a usage error for patterns that nothing is chosen by."""
    if own.include or own.exclude:
        raise click.UsageError("--include and --exclude choose among the files of a folder: add -r")
