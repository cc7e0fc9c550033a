"""What the environment says about the node and who asks."""

import json
from pathlib import Path

import pytest

from aisle.cli.repeating import rounds
from aisle.cli.session import Variables, _credentials, _trust
from aisle.errors import BadRequest


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Variables.NAMES:
        monkeypatch.delenv(name, raising=False)
    for name in ("AIS_ACCESS_KEY", "AIS_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def authorization() -> str:
    credentials = _credentials()
    assert credentials is not None
    return credentials.fields("GET", "/", "host:80")["Authorization"]


@pytest.mark.parametrize("text", ["secret-token\n", json.dumps({"token": "secret-token"})])
def test_a_token_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "auth.token"
    file.write_text(text)
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(file))
    assert authorization() == "Bearer secret-token"
    monkeypatch.setenv("AIS_AUTHN_TOKEN", "nearer")
    assert authorization() == "Bearer nearer"


@pytest.mark.parametrize("content", [b'{"no": "token"}', b'{"token":', b"\xff\xfe"])
def test_a_file_without_a_token_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = tmp_path / "auth.token"
    file.write_bytes(content)
    monkeypatch.setenv("AIS_AUTHN_TOKEN_FILE", str(file))
    with pytest.raises(BadRequest, match="holds no token"):
        _credentials()


@pytest.mark.parametrize(
    ("given", "missing"), [("AIS_ACCESS_KEY", "AIS_SECRET_KEY"), ("AIS_SECRET_KEY", "AIS_ACCESS_KEY")]
)
def test_half_a_key_pair_is_told_by_the_variable_that_is_missing(
    given: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(given, "x")
    with pytest.raises(BadRequest, match=f"{given} is set and {missing} is not"):
        _credentials()


def test_nothing_said_means_what_is_usual() -> None:
    assert _credentials() is None
    assert _trust() is None


def test_a_certificate_that_is_not_there_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIS_CLIENT_CA", "/nonexistent/ca.pem")
    with pytest.raises(BadRequest, match=r"AIS_CLIENT_CA names no file: /nonexistent/ca\.pem"):
        _trust()


@pytest.mark.parametrize(("text", "verifies"), [("true", False), ("1", False), ("false", True), ("", True)])
def test_verification_is_only_left_out_on_demand(
    monkeypatch: pytest.MonkeyPatch, text: str, verifies: bool
) -> None:
    monkeypatch.setenv("AIS_SKIP_VERIFY_CRT", text)
    trust = _trust()
    assert (trust is None or trust.verifies) is verifies


def test_reports_come_once_or_as_often_as_wanted() -> None:
    pauses: list[float] = []
    assert list(rounds(None, None, sleep=pauses.append)) == [0]
    assert list(rounds(5.0, 3, sleep=pauses.append)) == [0, 1, 2]
    assert pauses == [5.0, 5.0]
