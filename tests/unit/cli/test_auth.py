"""`ais auth`, and how `ais` shows a node who asks."""

import json
from collections.abc import Mapping

import pytest

from aisle.cli.session import Session
from aisle.client.credentials import KeyPair, Token
from aisle.errors import BadRequest
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode

ALICE = {
    "id": "a1",
    "name": "alice",
    "email": "a@example.org",
    "admin": False,
    "access_keys": ["AK1", "AK2"],
    "configured": False,
}
ROOT = ALICE | {
    "id": "root",
    "name": "root",
    "email": "",
    "admin": True,
    "access_keys": ["r"],
    "configured": True,
}


def answering(value: object, status: int = 200) -> FakeNode:
    return FakeNode(answers=[FakeAnswer(status, json.dumps(value).encode() if value is not None else b"")])


def asked(node: FakeNode) -> tuple[str, str, object]:
    call = node.calls[-1]
    assert call.body.whole is not None
    return call.method, call.target, json.loads(call.body.whole)


def test_a_user_is_added() -> None:
    node = answering(ALICE)
    result = run_ais(node, "auth", "user", "add", "alice", "--email", "a@example.org")
    assert (result.exit_code, result.stdout) == (0, 'user "alice" added\n')
    assert asked(node) == (
        "POST",
        "/v1/auth/users",
        {"name": "alice", "email": "a@example.org", "admin": False},
    )
    node = answering(ALICE | {"admin": True})
    assert (
        json.loads(run_ais(node, "auth", "user", "add", "alice", "--admin", "--json").stdout)["admin"] is True
    )


def test_users_are_shown() -> None:
    lines = run_ais(answering([ROOT, ALICE]), "auth", "user", "show").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "ID", "EMAIL", "ROLE", "KEYS", "FROM"],
        ["root", "root", "-", "admin", "1", "configuration"],
        ["alice", "a1", "a@example.org", "user", "2", "ais", "auth"],
    ]
    told = json.loads(run_ais(answering([ROOT, ALICE]), "auth", "user", "show", "alice", "--json").stdout)
    assert told == {"users": [ALICE]}
    result = run_ais(answering([ROOT]), "auth", "user", "show", "bob")
    assert (result.exit_code, 'no user "bob"' in result.stderr) == (2, True)


def test_words_may_stand_in_aistores_order() -> None:
    assert run_ais(answering(ALICE), "auth", "add", "user", "alice").stdout == 'user "alice" added\n'
    assert "alice" in run_ais(answering([ALICE]), "auth", "show", "user").stdout
    assert run_ais(answering(None), "auth", "rm", "key", "AK1").stdout == 'access key "AK1" removed\n'


@pytest.mark.parametrize(
    ("arguments", "removed"),
    [
        (["user", "rm", "alice", "--yes"], "alice"),
        (["key", "rm", "AK1"], "AK1"),
        (["token", "rm", "t1"], "t1"),
    ],
)
def test_what_was_removed_is_told_as_json(arguments: list[str], removed: str) -> None:
    result = run_ais(answering(None), "auth", *arguments, "--json")
    assert json.loads(result.stdout) == {"removed": [removed]}


def test_removing_a_user_is_asked_about() -> None:
    node = answering(None)
    result = run_ais(node, "auth", "user", "rm", "alice")
    assert (result.exit_code, "--yes" in result.stderr, node.calls) == (2, True, [])
    assert run_ais(node, "auth", "user", "rm", "alice/b", "--yes").stdout == 'user "alice/b" removed\n'
    assert asked(node)[:2] == ("DELETE", "/v1/auth/users/alice%2Fb")


def test_keys_are_made_shown_and_taken_back() -> None:
    node = answering({"access_key": "AK1", "secret_key": "s"})
    result = run_ais(node, "auth", "key", "add", "alice")
    assert result.stdout == "access key  AK1\nsecret key  s\n"
    assert "not shown again" in result.stderr
    assert asked(node)[:2] == ("POST", "/v1/auth/keys/alice")
    shown = run_ais(answering([ROOT, ALICE]), "auth", "key", "show", "alice", "--no-headers").stdout
    assert [line.split() for line in shown.splitlines()] == [["AK1", "alice"], ["AK2", "alice"]]
    node = answering(None)
    assert run_ais(node, "auth", "key", "rm", "AK1").stdout == 'access key "AK1" removed\n'
    assert asked(node)[:2] == ("DELETE", "/v1/auth/keys/AK1")


def test_a_token_stands_alone_on_standard_output() -> None:
    node = answering({"token": "t.o.k", "id": "i1", "expires": 1_795_191_158})
    result = run_ais(node, "auth", "token", "add", "alice", "--expires", "30d")
    assert result.stdout == "t.o.k\n"
    assert "Its id is i1; it expires 2026-11-20 16:12 UTC." in result.stderr
    assert asked(node) == ("POST", "/v1/auth/tokens/alice", {"expires_s": 2_592_000})
    assert run_ais(answering(None), "auth", "token", "rm", "i1").stdout == 'token "i1" removed\n'
    tokens = [{"id": "i1", "user": "alice", "created": 1, "expires": 1_795_191_158}]
    shown = run_ais(answering(tokens), "auth", "token", "show", "--no-headers").stdout
    assert shown.split() == ["i1", "alice", "2026-11-20", "16:12", "UTC"]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(401, 1, "token required"), (403, 1, "access denied"), (404, 3, "does not exist"), (501, 1, "ROOT")],
)
def test_a_refusal_is_told_in_the_nodes_words(status: int, code: int, words: str) -> None:
    message = {"message": f"{words}: no", "status": status}
    result = run_ais(answering(message, status), "auth", "key", "add", "alice")
    assert (result.exit_code, words in result.stderr, result.stdout) == (code, True, "")


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, type(None)),
        ({"AIS_AUTHN_TOKEN": " "}, type(None)),
        ({"AIS_AUTHN_TOKEN": "t"}, Token),
        ({"AIS_ACCESS_KEY": "a", "AIS_SECRET_KEY": "s"}, KeyPair),
        ({"AIS_AUTHN_TOKEN": "t", "AIS_ACCESS_KEY": "a", "AIS_SECRET_KEY": "s"}, Token),
    ],
)
def test_the_environment_says_who_asks(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], kind: type
) -> None:
    for name in ("AIS_AUTHN_TOKEN", "AIS_ACCESS_KEY", "AIS_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert type(Session("http://h:1").client._connections._credentials) is kind  # type: ignore[attr-defined]


def test_a_key_without_its_secret_is_a_mistake() -> None:
    with pytest.raises(BadRequest):
        KeyPair("a", "")
