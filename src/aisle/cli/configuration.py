"""`ais config` and `ais show config`: the cluster's configuration, a node's, and this command's own."""

import json
import os

import click

from aisle.cli import output
from aisle.cli.clusters import found_node
from aisle.cli.parameters import json_option, no_headers_option
from aisle.cli.session import (
    ENDPOINT_VARIABLE,
    KEY_VARIABLES,
    TOKEN_VARIABLE,
    Session,
    Variables,
    pass_session,
)
from aisle.cli.settings import Pairs, chosen, complete_configuration, print_values, shown
from aisle.client.cluster import Cluster
from aisle.errors import BadRequest
from aisle.model.features import FEATURES
from aisle.model.trees import flat, tree_of

PARTS = ("inherited", "local", "all")
LOCAL_SECTIONS = ("fspaths", "confdir", "log_dir", "test_fspaths", "host_net")
"""What a node's configuration has beside the cluster's (ais-native-api.md §8.6)."""


@click.command("cluster", short_help="Show or set the cluster's configuration.")
@click.argument(
    "arguments",
    nargs=-1,
    metavar="[PROPERTY|SECTION] | PROPERTY=VALUE...",
    shell_complete=complete_configuration,
)
@no_headers_option
@json_option
@pass_session
def cluster(session: Session, *, arguments: tuple[str, ...], no_headers: bool, as_json: bool) -> None:
    """Show the cluster's configuration, or change it for all nodes at once.

    Without arguments it shows everything, with a name one property or the section of that name.
    `ais config cluster features NAME...` sets exactly these feature flags; `features none` sets none.
    """
    values = flat(dict(session.client.configuration()))
    if arguments[:1] == ("features",) and len(arguments) > 1 and "=" not in "".join(arguments[1:]):
        arguments = (f"features={','.join(arguments[1:])}",)
    if arguments and _is_change(arguments[0]):
        asked = Pairs(arguments, values)
        session.client.set_configuration(asked.tree)
        _tell(asked)
        return
    name = _one_name(arguments)
    _print(values, name, headers=not no_headers, as_json=as_json)
    if name == "features" and not as_json:
        click.echo()
        rows = [(feature.name, feature.tags or "-", feature.description) for feature in FEATURES]
        output.Table(["feature", "tags", "description"], headers=not no_headers).add(rows)


@click.command("node", short_help="Show or set a node's configuration.")
@click.argument("node")
@click.argument("arguments", nargs=-1, metavar="[inherited|local|all] [PROPERTY|SECTION] | PROPERTY=VALUE...")
@no_headers_option
@json_option
@pass_session
def node(session: Session, *, node: str, arguments: tuple[str, ...], no_headers: bool, as_json: bool) -> None:
    """Show a node's configuration: what it has from the cluster, and its own paths and addresses.

    A node keeps nothing of its own that can be set: what is set is set for the cluster.
    """
    asked_of = Cluster(session.client)
    found = found_node(asked_of.map(), node)
    part, rest = (
        (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in PARTS else ("all", arguments)
    )
    told = asked_of.configuration(found.id)
    if isinstance(paths := told.get("fspaths"), dict):
        # Paths are no names of properties: they have dots of their own.
        told["fspaths"] = {"paths": ",".join(paths)}
    values = flat(told)
    if rest and _is_change(rest[0]):
        asked = Pairs(rest, values)
        for name in asked.values:
            if name.partition(".")[0] in LOCAL_SECTIONS:
                raise BadRequest(f'"{name}" is set in the node\'s own settings: docs/configuration.md')
        asked_of.set_configuration(found.id, asked.tree)
        _tell(asked)
        return
    is_local = {name: name.partition(".")[0] in LOCAL_SECTIONS for name in values}
    if part != "all":
        values = {name: value for name, value in values.items() if is_local[name] == (part == "local")}
    _print(values, _one_name(rest), headers=not no_headers, as_json=as_json)


@click.command("config", short_help="Show the configuration of the cluster, a node or this command.")
@click.argument(
    "words", nargs=-1, required=True, metavar="cluster|cli|NODE [inherited|local|all] [PROPERTY|SECTION]"
)
@no_headers_option
@json_option
@click.pass_context
def show(ctx: click.Context, *, words: tuple[str, ...], no_headers: bool, as_json: bool) -> None:
    """Show the configuration of the cluster, of a node, or of this command; `ais config` also sets."""
    whose, rest = words[0], words[1:]
    if any(map(_is_change, rest)):
        raise click.UsageError("to set something: ais config cluster PROPERTY=VALUE...")
    if whose == "cli":
        ctx.invoke(own, no_headers=no_headers, as_json=as_json)
    elif whose == "cluster":
        ctx.invoke(cluster, arguments=rest, no_headers=no_headers, as_json=as_json)
    else:
        ctx.invoke(node, node=whose, arguments=rest, no_headers=no_headers, as_json=as_json)


@click.command("cli", short_help="Show what this command goes by.")
@no_headers_option
@json_option
@pass_session
def own(session: Session, *, no_headers: bool, as_json: bool) -> None:
    """Show what this command goes by: variables of the environment and the file of its aliases.

    Secrets are not shown, only whether they are set.
    """
    from aisle.cli.aliases import configuration_path

    values: dict[str, object] = {"endpoint": session.endpoint, "file": str(configuration_path())}
    secrets = (TOKEN_VARIABLE, KEY_VARIABLES[1])
    for name in (ENDPOINT_VARIABLE, *KEY_VARIABLES, *Variables.NAMES):
        given = os.environ.get(name, "")
        values[name] = ("(set)" if given else "") if name in secrets else given
    if as_json:
        output.print_json(values)
    else:
        print_values(values, headers=not no_headers)


@click.command("reset", short_help="Bring back the defaults.")
@json_option
@pass_session
def reset(session: Session, *, as_json: bool) -> None:
    """Bring back the defaults of the whole configuration. Buckets keep their properties."""
    session.client.reset_configuration()
    if as_json:
        output.print_json({"reset": True})
    else:
        click.echo("Cluster config successfully reset to defaults")


def _is_change(argument: str) -> bool:
    return "=" in argument or argument.startswith("{")


def _one_name(arguments: tuple[str, ...]) -> str:
    if len(arguments) > 1:
        raise BadRequest("one property or section can be shown at a time; to set some: PROPERTY=VALUE...")
    return arguments[0] if arguments else ""


def _print(values: dict[str, object], name: str, *, headers: bool, as_json: bool) -> None:
    found = chosen(values, name)
    if as_json:
        output.print_json(tree_of(found.items()))
    else:
        print_values(found, headers=headers)


def _tell(asked: Pairs) -> None:
    """What was set, in the form of AIStore's that scripts read."""
    click.echo(json.dumps({name: shown(name, value) for name, value in asked.values.items()}, indent=4))
