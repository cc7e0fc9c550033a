"""Finding a command by a word."""

import json

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode


def found(*arguments: str) -> list[str]:
    result = run_ais(FakeNode(), "search", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [each["command"] for each in json.loads(result.stdout)["commands"]]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["upload"], "ais put"),
        (["delete", "bucket"], "ais bucket rm"),
        (["copy"], "ais cp"),
        (["token"], "ais auth token add"),
        (["performance"], "ais show performance"),
        (["--regex", "mv|cp"], "ais bucket mv"),
        (["cache"], "ais evict"),
        (["free"], "ais evict"),
        (["cloud"], "ais show backend"),
        (["s3"], "ais show backend"),
        (["backend"], "ais show backend"),
        (["warm"], "ais prefetch"),
        (["mirror"], "ais cp"),
        (["sync"], "ais cp"),
        (["attach"], "ais cluster remote-attach"),
    ],
)
def test_words_and_their_synonyms_find_commands(words: list[str], command: str) -> None:
    assert command in found(*words)


def test_all_words_must_fit() -> None:
    assert set(found("create", "user")) <= set(found("create"))
    assert "ais auth user add" in found("add", "user")
    assert found("add", "mountpath") == []


@pytest.mark.parametrize("arguments", [[], ["word", "--regex", "x"], ["--regex", "("]])
def test_what_cannot_be_searched_for_is_a_usage_error(arguments: list[str]) -> None:
    assert run_ais(FakeNode(), "search", *arguments).exit_code == 2


def test_help_is_what_the_option_says() -> None:
    for words in ([], ["ls"], ["job", "show"], ["bucket", "props", "set"]):
        told = run_ais(FakeNode(), "help", *words)
        assert told.stdout == run_ais(FakeNode(), *words, "--help").stdout != ""
    assert run_ais(FakeNode(), "help", "lss").exit_code == 2
    assert run_ais(FakeNode(), "help", "ls", "more").exit_code == 2


def test_nothing_found_is_told() -> None:
    result = run_ais(FakeNode(), "search", "xyzzy")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No command" in result.stderr
