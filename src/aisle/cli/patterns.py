"""Many names in one word: templates such as `shard-{0000..0099}.tar`, and for local files `*.jpg`."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import click

from aisle.cli.locations import Location, encoded
from aisle.cli.sources import Source
from aisle.rules.templates import parse_template

WILDCARDS = "*?["
TEMPLATE_START = "{"


class Pattern(NamedTuple):
    """A word that stands for many files."""

    text: str
    is_template: bool

    @property
    def folder(self) -> str:
        """What all its files have before them: up to the last slash before the first sign of a pattern."""
        starts = TEMPLATE_START if self.is_template else WILDCARDS
        first = min(self.text.find(sign) for sign in starts if sign in self.text)
        return self.text[: self.text.rfind("/", 0, first) + 1]


def pattern_of(word: str) -> Pattern | None:
    """The pattern that a word is, or None for an ordinary name; a file of exactly that name is one."""
    if os.path.lexists(word):
        return None
    if TEMPLATE_START in word and ".." in word:
        return Pattern(word, is_template=True)
    return Pattern(word, is_template=False) if any(sign in word for sign in WILDCARDS) else None


def matched(pattern: Pattern, destination: Location) -> Iterator[Source]:
    """The files of a pattern, named relative to what all of them have in common.

    All names of a template, also of files that do not exist; of wildcards the files that do.
    """
    start = len(pattern.folder)
    folder = destination.path and f"{destination.path.removesuffix('/')}/"
    for path in _names(pattern):
        yield Source(path, encoded(f"{folder}{path[start:]}"))


def names_of_template(text: str) -> Iterator[str]:
    """The names of a template, or a usage error. Raises TemplateInvalid."""
    template = parse_template(text)
    if not template.groups:
        raise click.UsageError(f'"{text}" is no template such as shard-{{0000..0099}}.tar')
    return template.names()


def names_of_list(text: str) -> list[str]:
    """Names with commas between them, or a usage error."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise click.UsageError("--list: a name is empty")
    return names


def _names(pattern: Pattern) -> Iterator[str]:
    if pattern.is_template:
        yield from names_of_template(pattern.text)
        return
    import glob

    found = [path for path in glob.iglob(pattern.text, recursive=True) if os.path.isfile(path)]
    if not found:
        raise click.UsageError(f'no file matches "{pattern.text}"')
    yield from sorted(found)
