"""Properties and settings as users write and read them: `checksum.type=md5`, and tables of such pairs.

Rights and feature flags travel as numbers and are written and shown by their names.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import click

from aisle.cli import output
from aisle.cli.lazy import suggestion
from aisle.errors import BadRequest
from aisle.model.access import access_bits, access_names
from aisle.model.features import feature_bits, feature_names
from aisle.model.quantities import bits
from aisle.model.trees import Tree, flat, tree_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PAIR: Final = re.compile(r"([A-Za-z][\w.]*)=(.*)", re.DOTALL)


class Pairs:
    """Changes that a user asks for, by dotted name, as the wire has them."""

    def __init__(self, arguments: Iterable[str], known: Iterable[str]) -> None:
        """Parse `name=value` arguments, or one JSON object. Raises BadRequest for what is neither.

        `known` are the names that there are; one that is only the name of a section is refused too.
        """
        arguments = list(arguments)
        names = {name.lower(): name for name in known}
        if len(arguments) == 1 and arguments[0].lstrip().startswith("{"):
            given = flat(_json_object(arguments[0]))
        else:
            given = dict(map(_pair, arguments))
        self.values: dict[str, object] = {}
        for name, value in given.items():
            if name.lower() == "backend_bck":
                self.values |= _backend(str(value))
            elif (spelled := names.get(name.lower())) is None:
                raise unknown_name(name, names.values())
            else:
                self.values[spelled] = _wired(spelled, value)

    @property
    def tree(self) -> Tree:
        """The changes as the wire wants them."""
        return tree_of(self.values.items())


def unknown_name(name: str, known: Iterable[str]) -> BadRequest:
    """The error for a property that there is not."""
    return BadRequest(f'invalid property name "{name}".{suggestion(name, list(known))}'.rstrip("."))


def shown(name: str, value: object) -> str:
    """A value as tables show it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "-"
    if name in ("access", "features") and (number := bits(str(value))) is not None:
        names = access_names(number) if name == "access" else feature_names(number)
        return ",".join(names) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def chosen(values: Mapping[str, object], name: str) -> dict[str, object]:
    """The values of one property or of one section; all if `name` is empty. Raises BadRequest for none."""
    if not name:
        return dict(values)
    wanted = name.lower().rstrip(".")
    found = {key: value for key, value in values.items() if f"{key.lower()}.".startswith(f"{wanted}.")}
    if not found:
        sections = {key.rpartition(".")[0] for key in values if "." in key}
        raise unknown_name(name, [*values, *sections])
    return found


def print_values(values: Mapping[str, object], *, headers: bool = True) -> None:
    """A table of properties and their values."""
    rows = [(name, shown(name, value)) for name, value in values.items()]
    output.Table(["property", "value"], headers=headers).add(rows)


def print_changes(before: Mapping[str, object], after: Mapping[str, object], names: Iterable[str]) -> None:
    """What was set to what, one line for each."""
    for name in names:
        new, old = shown(name, after.get(name, "")), shown(name, before.get(name, ""))
        click.echo(f'"{name}" set to: "{new}" (was: "{old}")')


def complete_configuration(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """The names in the cluster's configuration."""
    del ctx, param
    from aisle.cli.completing import properties

    return properties(incomplete, of_bucket=False)


def complete_properties(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """The names of properties of buckets."""
    del ctx, param
    from aisle.cli.completing import properties

    return properties(incomplete, of_bucket=True)


def _pair(argument: str) -> tuple[str, str]:
    found = _PAIR.fullmatch(argument)
    if not found:
        raise BadRequest(f'"{argument}" is not a pair such as checksum.type=md5')
    return found[1], found[2]


def _json_object(text: str) -> Tree:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}") from error
    assert isinstance(tree, dict)
    return tree


def _wired(name: str, value: object) -> object:
    """A value as the wire has it."""
    if name == "access":
        return str(access_bits(str(value)))
    return str(feature_bits(str(value))) if name == "features" else value


def _backend(text: str) -> dict[str, object]:
    """The members that `backend_bck=s3://bucket` or `backend_bck=none` stand for."""
    from aisle.cli.locations import parse_bucket_location

    name = provider = uuid = space = ""
    if text and text != "none":
        bucket = parse_bucket_location(text)
        name, provider = bucket.name, bucket.provider
        uuid, _, space = bucket.namespace.removeprefix("@").partition("#")
    told = {"name": name, "provider": provider, "namespace.uuid": uuid, "namespace.name": space}
    return {f"backend_bck.{member}": value for member, value in told.items()}
