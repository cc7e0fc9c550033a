"""`ais cluster remote-attach`, `remote-detach` and `ais show remote-cluster`."""

import os

import click

from aisle.cli import output
from aisle.cli.parameters import json_option, no_headers_option
from aisle.cli.session import Session, pass_session
from aisle.client.remote_clusters import RemoteCluster, RemoteClusters
from aisle.errors import NotFound

TOKEN_VARIABLE = "AIS_REMOTE_TOKEN"  # noqa: S105 - the name of a variable
COLUMNS = ("UUID", "URL", "Alias", "Primary", "Smap", "Targets", "Uptime", "Online")
_UNKNOWN = "n/a"


@click.command("remote-attach", short_help="Attach other clusters.")
@click.argument("pairs", nargs=-1, required=True, metavar="ALIAS=URL[,URL...]...")
@click.option(
    "--token-file",
    type=click.File("r", encoding="utf-8"),
    help=f"File with the token to show to it, - for standard input; else {TOKEN_VARIABLE} tells it.",
)
@click.option(
    "--ca", "ca_file", default="", metavar="FILE", help="Certificates to trust, a file of the node."
)
@pass_session
def attach(session: Session, *, pairs: tuple[str, ...], token_file: click.File | None, ca_file: str) -> None:
    """Attach clusters under aliases, so that their buckets are ais://@ALIAS/BUCKET here.

    They need not be there yet. Attaching an alias again adds URLs to it, and looks at it again.
    """
    wanted = [(alias, urls) for alias, _, urls in (pair.partition("=") for pair in pairs)]
    for alias, urls in wanted:
        if not alias or not urls:
            raise click.UsageError(f'expected ALIAS=URL, as in "{alias or "other"}=http://HOST:8080"')
    token = token_file.read().strip() if token_file else os.environ.get(TOKEN_VARIABLE, "")  # type: ignore[attr-defined]
    clusters = RemoteClusters(session.client)
    for alias, urls in wanted:
        clusters.attach(alias, urls.split(","), token=token, ca_file=ca_file)
        click.echo(
            f"Remote cluster ({output.printable(alias)}={output.printable(urls)}) successfully attached"
        )


@click.command("remote-detach", short_help="Detach other clusters.")
@click.argument("names", nargs=-1, required=True, metavar="ALIAS|UUID...")
@pass_session
def detach(session: Session, *, names: tuple[str, ...]) -> None:
    """Detach clusters; what is kept here of their buckets stays, out of reach."""
    clusters = RemoteClusters(session.client)
    for name in names:
        clusters.detach(name)
        click.echo(f"Remote cluster {output.printable(name)} successfully detached")


@click.command("remote-cluster", short_help="Show the clusters that are attached.")
@click.argument("name", default="", metavar="[ALIAS|UUID]")
@no_headers_option
@json_option
@pass_session
def show(session: Session, *, name: str, no_headers: bool, as_json: bool) -> None:
    """Show the clusters that are attached, each looked at again, or one of them."""
    found = [each for each in RemoteClusters(session.client).all() if name in ("", each.alias, each.uuid)]
    if name and not found:
        raise NotFound(f'remote cluster "{name}" is not attached; see them with: ais show remote-cluster')
    if as_json:
        output.print_json({"clusters": [_as_json(each) for each in found]})
        return
    if not found:
        click.echo("No remote clusters are attached.")
    output.Table(COLUMNS, headers=not no_headers, as_written=True).add(row(each) for each in found)
    for each in found:
        if each.map is None:
            click.echo(f"\nWarning: remote ais cluster at {each.url} is currently unreachable.", err=True)


def row(cluster: RemoteCluster) -> tuple[str, ...]:
    """The line that shows a cluster: one that was never reached stands in angle brackets."""
    is_online = cluster.map is not None if cluster.online is None else cluster.online
    online = "yes" if is_online else "no"
    if cluster.map is None:
        unknown = (_UNKNOWN,) * 4
        return f"<{cluster.alias}>", f"<{cluster.url}>", "", *unknown, online
    uptime = output.span_text(cluster.uptime_ns / 1e9) if is_online and cluster.uptime_ns else _UNKNOWN
    return (
        cluster.uuid,
        cluster.url,
        cluster.alias,
        cluster.map.primary.name,
        f"v{cluster.map.version}",
        str(len(cluster.map.targets)),
        uptime,
        online,
    )


def _as_json(cluster: RemoteCluster) -> dict[str, object]:
    seen = cluster.map
    return {
        "alias": cluster.alias,
        "uuid": cluster.uuid,
        "urls": cluster.url.split(","),
        "online": bool(cluster.online),
        "uptime_s": round(cluster.uptime_ns / 1e9, 3),
        "primary": seen.primary.id if seen else "",
        "map_version": int(seen.version) if seen else 0,
        "targets": len(seen.targets) if seen else 0,
    }
