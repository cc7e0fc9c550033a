"""`ais show backend`: which clouds a node can stand in front of, and what is missing for the others."""

import click
import msgspec

from aisle.cli import output
from aisle.cli.locations import parse_provider_only
from aisle.cli.parameters import json_option, no_headers_option
from aisle.cli.session import Session, pass_session
from aisle.client.backends import BackendState, backend_states
from aisle.errors import BadRequest

COLUMNS = ("backend", "installed", "configured by", "reachable", "buckets (known, all)")


@click.command("backend", short_help="Show the clouds whose buckets can be used.")
@click.argument("name", default="", metavar="[PROVIDER]")
@no_headers_option
@json_option
@pass_session
def show(session: Session, *, name: str, no_headers: bool, as_json: bool) -> None:
    """Show the clouds whose buckets can be used, and what to do about what is missing.

    Of each: whether its library is installed, what says how to use it, and whether its account answers.
    Accounts are asked that are configured or in use, and one that is named. Other clusters are shown by
    `ais show remote-cluster`.
    """
    states = backend_states(session.client, _provider(name))
    if as_json:
        output.print_json({"backends": [msgspec.structs.asdict(each) for each in states]})
        return
    output.Table(COLUMNS, headers=not no_headers).add(map(row, states))
    for each in states:
        for text in (each.error, each.advice):
            if text:
                output.note(f"{each.scheme}://: {text}")


def row(state: BackendState) -> tuple[str, ...]:
    """The line that shows a provider."""
    installed = "yes" if state.installed else "no" if state.needs_extra else "in part"
    reachable = "n/a" if state.reachable is None else "yes" if state.reachable else "no"
    every = "n/a" if state.buckets is None else str(state.buckets)
    configured = ", ".join(state.settings) or "-"
    return f"{state.scheme}://", installed, configured, reachable, f"{state.known} {every}"


def _provider(name: str) -> str:
    """A provider by any of its names, or as a scheme; empty for all. Raises click's usage error."""
    if not name:
        return ""
    try:
        found = parse_provider_only(f"{name.partition(':')[0]}:")
    except BadRequest as error:
        raise click.BadParameter(str(error), param_hint="PROVIDER") from error
    return found or ""
