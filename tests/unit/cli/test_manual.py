"""The manual tells every command, every option and every exit code."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aisle.cli import exit_codes
from aisle.cli.lazy import LazyGroup
from aisle.cli.main import cli
from aisle.cli.verbs import CommandWithVerbs

MANUAL = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")


def commands(group: LazyGroup, path: str = "ais") -> Iterator[tuple[str, click.Command]]:
    for name, entry in group.entries.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, LazyGroup):
            if path.count(" ") < 2:
                yield from commands(command, f"{path} {name}")
        elif not entry.hidden or path != "ais":
            yield f"{path} {name}", command
            if isinstance(command, CommandWithVerbs) and path == "ais":
                yield from ((f"{path} {name} {verb}", command.verb(verb)) for verb in command.verbs)


ALL = dict(commands(cli))
GLOBAL_OPTIONS = {"--json", "-j", "--help", "-h"}


@pytest.mark.parametrize("path", ALL)
def test_every_command_is_in_the_manual(path: str) -> None:
    assert f"`{path}" in MANUAL


def section(path: str) -> str:
    heading = rf"^### `{re.escape(path)}[ `]"
    return re.split(heading, MANUAL, maxsplit=1, flags=re.MULTILINE)[-1].partition("\n##")[0]


def has_section(path: str) -> bool:
    return re.search(rf"^### `{re.escape(path)}[ `]", MANUAL, flags=re.MULTILINE) is not None


@pytest.mark.parametrize("path", [path for path in ALL if has_section(path)])
def test_every_option_is_in_its_commands_section(path: str) -> None:
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            for name in {*parameter.opts, *parameter.secondary_opts} - GLOBAL_OPTIONS:
                assert name in section(path), f"{path} {name}"


def test_every_command_with_its_own_name_has_a_section() -> None:
    main = {id(command) for path, command in ALL.items() if has_section(path)}
    assert [path for path, command in ALL.items() if id(command) not in main] == []


def test_every_exit_code_is_in_the_manual() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    assert len(codes) == 7
    for code in codes:
        assert f"| {code} |" in MANUAL
