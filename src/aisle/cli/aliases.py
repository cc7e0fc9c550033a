"""`ais alias`: commands that users name themselves.

They are kept where AIStore's own command keeps them, under `aliases` in `~/.config/ais/cli/cli.json`;
what else is in that file stays as it is.
"""

import json
import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from aisle.cli import output
from aisle.cli.lazy import LazyGroup, suggestion
from aisle.cli.parameters import json_option, no_headers_option
from aisle.errors import BadRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def configuration_path() -> Path:
    """The file of this command's own configuration, whether it is there or not."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "ais" / "cli" / "cli.json"


def aliases() -> dict[str, str]:
    """What users have named; empty without a file. Raises BadRequest for a file that cannot be read."""
    return _aliases(_read())


def expanded(name: str, known: Mapping[str, object]) -> list[str]:
    """The words that an alias stands for; empty if there is no such alias, or it leads to no command."""
    words = _split(aliases().get(name, ""))
    return words if words and words[0] in known else []


@click.command("show", short_help="Show aliases.")
@no_headers_option
@json_option
def show(*, no_headers: bool, as_json: bool) -> None:
    """Show the aliases that there are."""
    found = dict(sorted(aliases().items()))
    if as_json:
        output.print_json({"aliases": found})
    elif found:
        output.Table(["alias", "command"], headers=not no_headers).add(found.items())
    else:
        output.note("No aliases. Make one with: ais alias set NAME COMMAND")


@click.command(
    "set",
    short_help="Name a command.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@click.pass_context
def set_(ctx: click.Context, *, name: str, words: tuple[str, ...]) -> None:
    """Name a command, so that `ais NAME` runs it; what follows NAME is added to it."""
    if not _NAME.fullmatch(name):
        raise BadRequest(f'"{name}" is no name for an alias: letters, digits, dashes and underscores')
    root = ctx.find_root().command
    assert isinstance(root, LazyGroup)
    if name in root.entries:
        raise BadRequest(f'"{name}" is a command of its own')
    # In one argument, or in several: `ais alias set sc "show cluster"`.
    text = words[0] if len(words) == 1 else shlex.join(words)
    first = next(iter(_split(text)), "")
    if first not in root.entries:
        raise BadRequest(f'there is no command "{first}".{suggestion(first, root.entries)}'.rstrip("."))
    _change({name: text})
    click.echo(f'Aliased "{name}"="{output.printable(text)}"')


@click.command("rm", short_help="Remove aliases.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove(*, names: tuple[str, ...]) -> None:
    """Remove aliases."""
    known = aliases()
    for name in names:
        if name not in known:
            raise BadRequest(f'there is no alias "{name}".{suggestion(name, known)}'.rstrip("."))
    _change(dict.fromkeys(names, ""))


@click.command("reset", short_help="Remove all aliases.")
def reset() -> None:
    """Remove all aliases."""
    _change(dict.fromkeys(aliases(), ""))
    click.echo("Aliases reset to default")


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadRequest(f"the command cannot be read: {error}") from error


def _read() -> dict[str, object]:
    path = configuration_path()
    try:
        told = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BadRequest(f"{path} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise BadRequest(f"{path} is not a JSON object")
    return told


def _aliases(configuration: Mapping[str, object]) -> dict[str, str]:
    told = configuration.get("aliases") or {}
    if not isinstance(told, dict):
        raise BadRequest(f"{configuration_path()}: `aliases` is not a JSON object")
    return {str(name): str(command) for name, command in told.items()}


def _change(changes: Mapping[str, str]) -> None:
    """Set aliases, and remove those whose command is empty."""
    configuration = _read()
    kept = {name: command for name, command in {**_aliases(configuration), **changes}.items() if command}
    configuration["aliases"] = kept
    path = configuration_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        json.dump(configuration, file, indent=4)
    os.replace(file.name, path)
