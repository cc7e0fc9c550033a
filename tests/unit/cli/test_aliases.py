"""Commands that users name themselves."""

import json
from pathlib import Path

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "ais" / "cli" / "cli.json"


def test_an_alias_runs_its_command_with_what_follows() -> None:
    node = FakeNode({"images": {}})
    assert run_ais(node, "alias", "set", "b", "ls --no-headers").stdout == 'Aliased "b"="ls --no-headers"\n'
    assert run_ais(node, "b").stdout.split() == ["ais://images", "yes"]
    assert json.loads(run_ais(node, "b", "--json").stdout)["buckets"][0]["name"] == "images"


def test_the_verb_may_be_left_out_and_words_need_no_quotes() -> None:
    node = FakeNode({"images": {}})
    run_ais(node, "alias", "one", "ls", "-H")
    run_ais(node, "alias", "two", "ls -H")
    lines = run_ais(node, "alias").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["ALIAS", "COMMAND"],
        ["one", "ls", "-H"],
        ["two", "ls", "-H"],
    ]
    assert run_ais(node, "one").stdout == run_ais(node, "two").stdout != ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["set", "ls", "show job"], '"ls" is a command of its own'),
        (["set", "a b", "ls"], "is no name for an alias"),
        (["set", "x", "lss"], 'Did you mean "ls"?'),
        (["set", "x", "ls '"], "cannot be read"),
        (["rm", "x"], 'there is no alias "x"'),
    ],
)
def test_what_cannot_be_an_alias_is_refused(configuration: Path, arguments: list[str], says: str) -> None:
    result = run_ais(FakeNode(), "alias", *arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not configuration.exists()


def test_aliases_go_and_the_rest_of_the_file_stays(configuration: Path) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        json.dumps({"timeout": {"tcp_timeout": "60s"}, "aliases": {"a": "ls", "b": "ls"}})
    )
    assert run_ais(FakeNode(), "alias", "rm", "a").exit_code == 0
    kept = {"timeout": {"tcp_timeout": "60s"}, "aliases": {"b": "ls"}}
    assert json.loads(configuration.read_text()) == kept
    assert run_ais(FakeNode(), "alias", "reset").stdout == "Aliases reset to default\n"
    assert json.loads(configuration.read_text()) == kept | {"aliases": {}}
    assert [path.name for path in configuration.parent.iterdir()] == ["cli.json"]


def test_a_file_that_cannot_be_read_is_told_and_does_not_stop_commands(configuration: Path) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_text("{")
    assert run_ais(FakeNode({"b": {}}), "ls").exit_code == 0
    result = run_ais(FakeNode(), "unknown")
    assert result.exit_code == 1
    assert "is not JSON" in result.stderr


def test_an_alias_that_cannot_be_read_is_told(configuration: Path) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_text(json.dumps({"aliases": {"x": "ls 'b"}}))
    result = run_ais(FakeNode(), "x")
    assert (result.exit_code, "No closing quotation" in result.stderr) == (1, True)


def test_an_alias_that_leads_nowhere_is_an_unknown_command(configuration: Path) -> None:
    configuration.parent.mkdir(parents=True)
    configuration.write_text(json.dumps({"aliases": {"x": "gone away", "y": "x"}}))
    for name in ("x", "y"):
        result = run_ais(FakeNode(), name)
        assert result.exit_code == 2
        assert f'there is no command "{name}"' in result.stderr
