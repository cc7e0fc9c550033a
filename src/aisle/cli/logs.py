"""`ais show log`, `ais log get`: what nodes wrote about themselves."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from aisle.cli import output
from aisle.cli.clusters import found_node
from aisle.cli.get import STANDARD_OUTPUT
from aisle.cli.parameters import confirm, yes_option
from aisle.cli.repeating import refresh_options, rounds
from aisle.cli.session import Session, pass_session
from aisle.cli.targets import Unfinished, whole_file
from aisle.client.cluster import Cluster, Node
from aisle.client.connections import Answer
from aisle.errors import BadRequest

SEVERITIES = {
    "info": "info",
    "i": "info",
    "warning": "warning",
    "w": "warning",
    "error": "error",
    "e": "error",
}
WHOLE_CLUSTER = "cluster"
_RANKS = {b"DEBUG": 0, b"INFO": 0, b"WARNING": 1, b"ERROR": 2, b"CRITICAL": 2}
_LOWEST = {"info": 0, "warning": 1, "error": 2}

severity_option = click.option(
    "--severity",
    type=click.Choice(list(SEVERITIES)),
    default="info",
    help="Only lines that are at least so grave: info, warning, error, or their first letters.",
)


@click.command("log", short_help="Show a node's log.")
@click.argument("node", default="", metavar="[NODE]")
@severity_option
@refresh_options
@pass_session
def show(session: Session, *, node: str, severity: str, refresh_s: float | None, count: int | None) -> None:
    """Show a node's current log; with --refresh also what is added to it."""
    cluster = Cluster(session.client)
    target = _one(cluster, node)
    following = Following(cluster, target, SEVERITIES[severity])
    for _ in rounds(refresh_s, count):
        for line in following.lines():
            click.echo(output.printable(line))


@click.command("get", short_help="Save the logs of nodes.")
@click.argument("node", metavar="NODE|cluster")
@click.argument("destination", default="", metavar="[FILE|FOLDER|-]")
@click.option("--all", "whole", is_flag=True, help="Older logs too, as a compressed tar archive.")
@severity_option
@yes_option
@pass_session
def get(session: Session, *, node: str, destination: str, whole: bool, severity: str, yes: bool) -> None:
    """Save a node's log in a file; `cluster` saves an archive of each node's logs in a folder."""
    cluster = Cluster(session.client)
    if node == WHOLE_CLUSTER:
        if destination == STANDARD_OUTPUT or Path(destination or ".").is_file():
            raise click.UsageError("the logs of all nodes go to a folder")
        whole = True
        nodes = list(cluster.map().targets.values())
        Path(destination or ".").mkdir(parents=True, exist_ok=True)
    else:
        nodes = [_one(cluster, node)]
    for each in nodes:
        with closing(cluster.log(each.id, severity=SEVERITIES[severity], whole=whole)) as answer:
            if destination == STANDARD_OUTPUT:
                _to_standard_output(answer)
                continue
            path = Path(destination or ".")
            path = path / f"{each.id}{'.tar.gz' if whole else '.log'}" if path.is_dir() else path
            if path.is_file():
                confirm(f'Replace "{path}"?', yes=yes)
            with whole_file(path, Unfinished()) as file:
                for block in answer.blocks():
                    file.write(block)
            click.echo(f"Saved the log of {each.name} as {output.printable(str(path))}")


class Following:
    """A log that grows: its lines, each once."""

    def __init__(self, cluster: Cluster, node: Node, severity: str) -> None:
        self._cluster = cluster
        self._node = node
        self._lowest = _LOWEST[severity]
        self._offset = 0
        self._is_shown = not self._lowest

    def lines(self) -> Iterator[str]:
        """The lines that are new, of the wanted severity."""
        # The offset counts all lines, so that they are selected here.
        try:
            data = self._read()
        except BadRequest:
            if not self._offset:
                raise
            # The file was put aside and a new one begun.
            self._offset = 0
            data = self._read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            words = line.split(b" ", 2)
            rank = _RANKS.get(words[1]) if len(words) > 2 else None
            if rank is not None:
                # What follows without a severity of its own belongs to the line before.
                self._is_shown = rank >= self._lowest
            if self._is_shown:
                yield line.decode("utf-8", "replace")

    def _read(self) -> bytes:
        with closing(self._cluster.log(self._node.id, offset=self._offset)) as answer:
            return answer.read()


def _one(cluster: Cluster, text: str) -> Node:
    """The node that is named, or the only target."""
    members = cluster.map()
    if text:
        return found_node(members, text)
    targets = list(members.targets.values())
    if len(targets) != 1:
        raise click.UsageError("name a node; see them with: ais show cluster")
    return targets[0]


def _to_standard_output(answer: Answer) -> None:
    import sys

    for block in answer.blocks():
        sys.stdout.buffer.write(block)
