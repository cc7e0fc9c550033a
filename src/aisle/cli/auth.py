"""`ais auth`: users, their access keys and their tokens."""

import datetime

import click

from aisle.cli import output
from aisle.cli.parameters import DURATION, confirm, json_option, no_headers_option, yes_option
from aisle.cli.session import Session, pass_session


@click.command("add", short_help="Add a user.")
@click.argument("name")
@click.option("--email", default="", help="Whom to ask about it.")
@click.option("--admin", "is_admin", is_flag=True, help="One who may do everything, as root.")
@json_option
@pass_session
def add_user(session: Session, name: str, *, email: str, is_admin: bool, as_json: bool) -> None:
    """Add a user, who then needs a key or a token: ais auth key add, ais auth token add."""
    user = session.client.auth.add_user(name, email=email, is_admin=is_admin)
    if as_json:
        output.print_json({"id": user.id, "name": user.name, "email": user.email, "admin": user.admin})
    else:
        click.echo(f'user "{user.name}" added')


@click.command("rm", short_help="Remove users with their keys and tokens.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@yes_option
@json_option
@pass_session
def remove_user(session: Session, names: tuple[str, ...], *, yes: bool, as_json: bool) -> None:
    """Remove users with their keys and tokens.

    Their buckets stay, and are root's from then on.
    """
    for name in names:
        confirm(f'Remove user "{name}" with all keys and tokens?', yes=yes)
        session.client.auth.remove_user(name)
        if not as_json:
            click.echo(f'user "{name}" removed')
    if as_json:
        output.print_json({"removed": list(names)})


@click.command("show", short_help="Show users.")
@click.argument("name", default="", required=False)
@no_headers_option
@json_option
@pass_session
def show_users(session: Session, name: str, *, no_headers: bool, as_json: bool) -> None:
    """Show users, or one of them."""
    users = [user for user in session.client.auth.users() if name in ("", user.name, user.id)]
    if name and not users:
        raise click.UsageError(f'there is no user "{name}"; see them with: ais auth user show')
    if as_json:
        import msgspec

        output.print_json({"users": msgspec.to_builtins(users)})
        return
    table = output.Table(["name", "id", "email", "role", "keys", "from"], headers=not no_headers)
    table.add(
        [
            (
                user.name,
                user.id,
                user.email or "-",
                "admin" if user.admin else "user",
                str(len(user.access_keys)),
                "configuration" if user.configured else "ais auth",
            )
            for user in users
        ]
    )


@click.command("add", short_help="Give a user another access key.")
@click.argument("user")
@json_option
@pass_session
def add_key(session: Session, user: str, *, as_json: bool) -> None:
    """Give a user another access key.

    The secret is shown this once; whoever loses it gets another key.
    """
    key = session.client.auth.add_key(user)
    if as_json:
        output.print_json({"access_key": key.access_key, "secret_key": key.secret_key})
    else:
        click.echo(f"access key  {key.access_key}\nsecret key  {key.secret_key}")
        output.note("The secret is not shown again.")


@click.command("rm", short_help="Take access keys back.")
@click.argument("access_keys", nargs=-1, required=True, metavar="ACCESS_KEY...")
@json_option
@pass_session
def remove_key(session: Session, access_keys: tuple[str, ...], *, as_json: bool) -> None:
    """Take access keys back: requests that they sign are refused from now on."""
    for access_key in access_keys:
        session.client.auth.remove_key(access_key)
        if not as_json:
            click.echo(f'access key "{access_key}" removed')
    if as_json:
        output.print_json({"removed": list(access_keys)})


@click.command("show", short_help="Show access keys and whose they are.")
@click.argument("user", default="", required=False)
@no_headers_option
@json_option
@pass_session
def show_keys(session: Session, user: str, *, no_headers: bool, as_json: bool) -> None:
    """Show access keys and whose they are, never their secrets."""
    found = [
        (access_key, owner.name)
        for owner in session.client.auth.users()
        for access_key in owner.access_keys
        if user in ("", owner.name, owner.id)
    ]
    if as_json:
        output.print_json({"keys": [{"access_key": key, "user": name} for key, name in found]})
        return
    output.Table(["access key", "user"], headers=not no_headers).add(found)


@click.command("add", short_help="Mint a token for a user.")
@click.argument("user")
@click.option(
    "--expires",
    "expires_s",
    type=DURATION,
    default="1d",
    show_default=True,
    help="How long it is valid: 12h, 30d.",
)
@json_option
@pass_session
def add_token(session: Session, user: str, *, expires_s: float, as_json: bool) -> None:
    """Mint a token for a user, for AIS_AUTHN_TOKEN or `Authorization: Bearer`.

    The token is shown this once and alone, so that it can be assigned:
    export AIS_AUTHN_TOKEN=$(ais auth token add alice)
    """
    token = session.client.auth.add_token(user, expires_s=int(expires_s))
    if as_json:
        output.print_json({"token": token.token, "id": token.id, "expires": token.expires})
    else:
        click.echo(token.token)
        output.note(f"Its id is {token.id}; it expires {_time_text(token.expires)}.")


@click.command("rm", short_help="Take tokens back.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@pass_session
def remove_token(session: Session, ids: tuple[str, ...], *, as_json: bool) -> None:
    """Take tokens back, by their ids."""
    for token_id in ids:
        session.client.auth.remove_token(token_id)
        if not as_json:
            click.echo(f'token "{token_id}" removed')
    if as_json:
        output.print_json({"removed": list(ids)})


@click.command("show", short_help="Show the tokens that have not expired.")
@no_headers_option
@json_option
@pass_session
def show_tokens(session: Session, *, no_headers: bool, as_json: bool) -> None:
    """Show the tokens that have not expired, without the tokens themselves."""
    tokens = session.client.auth.tokens()
    if as_json:
        import msgspec

        output.print_json({"tokens": msgspec.to_builtins(tokens)})
        return
    table = output.Table(["id", "user", "expires"], headers=not no_headers)
    table.add([(token.id, token.user, _time_text(token.expires)) for token in tokens])


def _time_text(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
