"""`ais version`: which versions meet here."""

import click

from aisle import __version__
from aisle.cli import output
from aisle.cli.parameters import json_option
from aisle.cli.session import Session, pass_session
from aisle.errors import AisleError


@click.command("version", short_help="Show the versions of this command and of the node.")
@json_option
@pass_session
def version(session: Session, as_json: bool) -> None:
    """Show the versions of this command and of the node that it talks to."""
    try:
        api, problem = session.client.api_version(), ""
    except AisleError as error:
        # Without a node the command's own version is still an answer.
        api, problem = "", str(error)
    if as_json:
        output.print_json({"ais": __version__, "endpoint": session.endpoint, "aistore_api": api or None})
        return
    click.echo(f"ais   {__version__}")
    click.echo(f"node  {session.endpoint} speaks AIStore {api}" if api else f"node  {problem}")
