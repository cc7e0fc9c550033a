"""`ais config`: the cluster's configuration."""

import json

import click

from aisle.cli import output
from aisle.cli.parameters import json_option, no_headers_option
from aisle.cli.session import Session, pass_session
from aisle.cli.settings import Pairs, chosen, print_values, shown
from aisle.errors import BadRequest
from aisle.model.features import FEATURES
from aisle.model.trees import flat, tree_of


@click.command("cluster", short_help="Show or set the cluster's configuration.")
@click.argument("arguments", nargs=-1, metavar="[PROPERTY|SECTION] | PROPERTY=VALUE...")
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
    if arguments and ("=" in arguments[0] or arguments[0].startswith("{")):
        asked = Pairs(arguments, values)
        session.client.set_configuration(asked.tree)
        # In this form AIStore tells what was set, and scripts read it.
        told = {name: shown(name, value) for name, value in asked.values.items()}
        click.echo(json.dumps(told, indent=4))
        return
    if len(arguments) > 1:
        raise BadRequest("one property or section can be shown at a time; to set some: PROPERTY=VALUE...")
    name = arguments[0] if arguments else ""
    found = chosen(values, name)
    if as_json:
        output.print_json(tree_of(found.items()))
        return
    print_values(found, headers=not no_headers)
    if name == "features":
        click.echo()
        rows = [(feature.name, feature.tags or "-", feature.description) for feature in FEATURES]
        output.Table(["feature", "tags", "description"], headers=not no_headers).add(rows)


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
