"""Running `ais` inside the test, against a fake node."""

from click.testing import CliRunner, Result

from aisle.cli.main import cli
from aisle.cli.session import Session
from aisle.client import Client
from support.fake_node import FakeNode


def run_ais(node: FakeNode, *arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run one command; the result has `exit_code`, `stdout`, `stderr` and `stdout_bytes`.

    Whatever is not expected is raised, so that no traceback passes for an answer.
    """
    session = Session("http://fake", lambda endpoint: Client(endpoint, connections=node))
    result = CliRunner().invoke(cli, list(arguments), obj=session, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
