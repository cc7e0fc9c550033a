"""Which objects of a remote bucket are listed: those that are here, those that are not, those that differ."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import click

from aisle.client.listing import FLAG_CACHED, FLAG_DIFFERENT, FLAG_MISSING, FLAG_NOT_CACHED

C = TypeVar("C", bound=Callable[..., object])

_FLAGS: Final[Mapping[str, int]] = {
    "cached": FLAG_CACHED,
    "not_cached": FLAG_NOT_CACHED,
    "diff": FLAG_DIFFERENT,
}
DIFF_COLUMNS: Final = ("cached", "status")
"""What `--diff` is asked for."""


def presence_options(command: C) -> C:
    """`--cached`, `--not-cached` and `--diff`, for commands that list objects."""
    options = (
        click.option("--cached", is_flag=True, help="Only what the cluster holds."),
        click.option("--not-cached", is_flag=True, help="Only what the source of a remote bucket holds."),
        click.option(
            "--diff",
            is_flag=True,
            help="Compare with the source: what has another version there, or is gone there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def presence_flags(chosen: Mapping[str, bool], *, everything: bool) -> int:
    """The flags of a listing for what was chosen of the options above, and for `--all`.

    Raises click's usage error.
    """
    named = [name for name in _FLAGS if chosen[name]]
    if len(named) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in named[:2])
        raise click.UsageError(f"{first} and {second} exclude each other")
    # Clusters of several nodes also list what is there in copies only.
    return sum(_FLAGS[name] for name in named) | (FLAG_MISSING if everything else 0)
