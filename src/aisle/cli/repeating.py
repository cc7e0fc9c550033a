"""`--refresh` and `--count`: the same report again and again, for watching."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import click

from aisle.cli.parameters import DURATION

C = TypeVar("C", bound=Callable[..., object])


def refresh_options(command: C) -> C:
    """`--refresh` and `--count`."""
    every = click.option(
        "--refresh", "refresh_s", type=DURATION, help="Report again after this time: 5s, 1m."
    )
    count = click.option("--count", type=click.IntRange(1), help="With --refresh: end after so many reports.")
    return every(count(command))


def rounds(
    refresh_s: float | None, count: int | None, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """The numbers of the reports from 0 on: one, or with a pause between any two until Ctrl-C or `count`."""
    if count is not None and refresh_s is None:
        raise click.UsageError("--count goes with --refresh")
    number = 0
    while True:
        yield number
        number += 1
        if refresh_s is None or number == count:
            return
        sleep(refresh_s)
