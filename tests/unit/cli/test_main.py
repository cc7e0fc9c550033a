"""The command table, help, errors and exit codes."""

import click
import pytest
from click.testing import CliRunner

from aisle import errors
from aisle.cli.errors import EXIT_CODES, HINTS, exit_code
from aisle.cli.lazy import LazyGroup
from aisle.cli.main import cli
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, error


def groups(group: LazyGroup, path: str = "ais") -> list[tuple[str, LazyGroup]]:
    found = [(path, group)]
    for name in group.entries:
        command = group.get_command(click.Context(group), name)
        if isinstance(command, LazyGroup) and path.count(" ") < 2:
            found += groups(command, f"{path} {name}")
    return found


@pytest.mark.parametrize(("path", "group"), groups(cli), ids=[path for path, _ in groups(cli)])
def test_the_table_tells_what_the_commands_themselves_tell(path: str, group: LazyGroup) -> None:
    for name, entry in group.entries.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None, f"{path} {name}"
        if not entry.hidden:
            assert command.get_short_help_str(200) == entry.summary, f"{path} {name}"


def test_every_command_has_help_text_and_every_option_too() -> None:
    for path, group in groups(cli):
        for name in group.entries:
            command = group.get_command(click.Context(group), name)
            assert command is not None
            assert command.help, f"{path} {name}"
            for parameter in command.params:
                if isinstance(parameter, click.Option):
                    assert parameter.help, f"{path} {name} {parameter.opts}"


def test_help_lists_the_commands_in_order_of_use_and_not_the_aliases() -> None:
    text = run_ais(FakeNode(), "--help").stdout
    section = text.partition("Commands:\n")[2]
    listed = [line.split()[0] for line in section.partition("\n\n")[0].splitlines() if line.startswith("  ")]
    assert listed == [name for name, entry in cli.entries.items() if not entry.hidden]


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["lss"], 'Did you mean "ls"?'),
        (["crate", "b"], 'Did you mean "create"?'),
        (["job", "sohw"], '"show"'),
    ],
)
def test_an_unknown_command_is_answered_with_a_near_one(arguments: list[str], question: str) -> None:
    result = run_ais(FakeNode(), *arguments)
    assert result.exit_code == 2
    assert question in result.stderr
    assert not result.stdout


def subclasses(kind: type[errors.AisleError]) -> list[type[errors.AisleError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in subclasses(child))]


def test_every_error_has_an_exit_code_and_only_real_errors_have_hints() -> None:
    for kind in subclasses(errors.AisleError):
        assert any(parent in EXIT_CODES for parent in kind.__mro__), kind
    assert set(HINTS) <= set(subclasses(errors.AisleError))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BucketNotFound("ais://b"), 3),
        (errors.ObjectNotFound("ais://b/o"), 3),
        (errors.JobNotFound("dnl-x"), 3),
        (errors.NodeUnreachable("http://h", "refused"), 4),
        (errors.BucketExists("ais://b"), 1),
        (errors.OutOfSpace("full"), 1),
    ],
)
def test_exit_codes_tell_what_a_script_may_act_upon(error: errors.AisleError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (errors.NodeUnreachable("http://fake", "connection refused"), 4, "aisnode"),
        (errors.NodeUnreachable("http://fake", "connection refused"), 4, "AIS_ENDPOINT"),
        (FakeAnswer(200, b"<html>a web server</html>"), 1, "is not a node"),
        (FakeAnswer(404, b"<html>a web server</html>"), 1, "AIS_ENDPOINT"),
        (FakeAnswer(200, b'{"not": "a list"}'), 1, "is not a node"),
        (FakeAnswer(500, b'{"message": "it broke", "status": 500}'), 1, "it broke"),
        (FakeAnswer(503, b""), 1, "Try again"),
        (FakeAnswer(507, b'{"message": "no space", "status": 507}'), 1, "Make room"),
        (FakeAnswer(403, b'{"message": "not you", "status": 403}'), 1, "not you"),
    ],
)
def test_every_failure_says_what_to_do(answer: FakeAnswer | Exception, code: int, says: str) -> None:
    result = run_ais(FakeNode(answers=[answer]), "ls")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr


def test_who_is_refused_and_told_nothing_of_themselves_learns_how(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = FakeAnswer(401, b'{"message": "who are you?", "status": 401}')
    monkeypatch.delenv("AIS_AUTHN_TOKEN", raising=False)
    assert "export AIS_AUTHN_TOKEN=" in run_ais(FakeNode(answers=[refusal]), "ls").stderr
    monkeypatch.setenv("AIS_AUTHN_TOKEN", "mine")
    assert run_ais(FakeNode(answers=[refusal]), "ls").stderr == "Error: who are you?\n"


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("403: not your key", "ErrSourceDenied", "ais show backend"),
        ("169.254.0.1 is refused", "ErrEgressDenied", "egress.allow"),
        (
            "bucket ais://b: PUT access denied (allowed: [GET])",
            "ErrBucketAccessDenied",
            "ais bucket props set ais://b access=rw",
        ),
    ],
)
def test_a_refusal_that_no_token_helps_against_says_what_does(
    message: str, code: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIS_AUTHN_TOKEN", raising=False)
    told = run_ais(FakeNode(answers=[error(403, message, code=code)]), "ls", "ais://b").stderr
    assert message in told
    assert says in told
    assert "AIS_AUTHN_TOKEN" not in told


def test_a_missing_bucket_is_answered_with_a_near_one_and_how_to_create_it() -> None:
    node = FakeNode({"imagenet": {}})
    result = run_ais(node, "ls", "ais://imagnet")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        'Error: bucket "ais://imagnet" does not exist',
        '  Did you mean "ais://imagenet"?',
        "  Create it with: ais create ais://imagnet",
        "  See all with: ais ls",
    ]


def test_a_bucket_of_a_cloud_is_not_said_to_be_created_here() -> None:
    missing = error(404, 'bucket "s3://elsewhere" does not exist', code="ErrRemoteBckNotFound")
    told = run_ais(FakeNode({"imagenet": {}}, answers=[missing]), "ls", "s3://elsewhere").stderr
    assert "It is created where it lives" in told
    assert "ais create" not in told


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("ftp://nowhere", '"ftp://nowhere" is not the URL of a node'),
        ("http://h:port", '"http://h:port" is not the URL of a node'),
        ("http://h/prefix", '"http://h/prefix" has a path'),
    ],
)
def test_an_endpoint_that_cannot_be_is_named(
    endpoint: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIS_ENDPOINT", endpoint)
    result = CliRunner().invoke(cli, ["ls"])
    assert result.exit_code == 1
    assert says in result.stderr


def test_version_is_told_with_and_without_a_node() -> None:
    assert "speaks AIStore 5.0" in run_ais(FakeNode(), "version").stdout
    alone = run_ais(FakeNode(answers=[errors.NodeUnreachable("http://fake", "refused")]), "version")
    assert alone.exit_code == 0
    assert "cannot reach a node" in alone.stdout
