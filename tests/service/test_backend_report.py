"""How the providers of remote buckets are: installed, configured, reachable."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aisle.backends import settings
from aisle.backends.memory import MemoryProvider
from aisle.errors import SourceDenied
from aisle.gateway import backend_report
from aisle.model.extras import how_to_install
from service.calling import Native
from service.credentials import ALICE, ROOT, Asking


class Account(MemoryProvider):
    """An account that answers, refuses or hangs."""

    def __init__(self) -> None:
        super().__init__(["a", "b"])
        self.asked = 0
        self.refuses = False
        self.hangs = False

    async def buckets(self) -> list[str]:
        self.asked += 1
        if self.refuses:
            raise SourceDenied("the key is unknown")
        if self.hangs:
            await asyncio.Event().wait()
        return await super().buckets()


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    yield calling
    calling.close()


def states(native: Native, provider: str = "") -> dict[str, Any]:
    answer = native("GET", f"/v1/cluster?what=backend_status&provider={provider}")
    assert answer.status == 200, answer.body
    return {each["provider"]: each for each in answer.json()["backends"]}


def test_what_is_not_configured_is_not_asked(native: Native, account: Account) -> None:
    told = states(native)
    assert list(told) == ["aws", "azure", "gcp", "ht", "oci"]
    assert (told["aws"]["settings"], told["aws"]["reachable"], account.asked) == ([], None, 0)
    assert "AWS_ACCESS_KEY_ID" in told["aws"]["advice"]


def test_what_is_configured_is_asked_and_its_secrets_are_not_told(native: Native, account: Account) -> None:
    native.environment |= {"AWS_ACCESS_KEY_ID": "public-half", "AWS_SECRET_ACCESS_KEY": "hush"}
    answer = native("GET", "/v1/cluster?what=backend_status")
    (aws,) = [each for each in answer.json()["backends"] if each["provider"] == "aws"]
    assert (aws["settings"], aws["reachable"], aws["buckets"]) == (["AWS_ACCESS_KEY_ID"], True, 2)
    assert (aws["error"], aws["advice"]) == ("", "")
    assert b"hush" not in answer.body
    assert b"public-half" not in answer.body
    assert account.asked == 1


def test_what_is_in_use_or_meant_is_asked(native: Native, account: Account) -> None:
    assert list(states(native, "s3")) == ["aws"]
    assert account.asked == 1
    native("HEAD", "/v1/buckets/a?provider=aws")
    told = states(native)["aws"]
    assert (told["known"], told["reachable"], account.asked) == (1, True, 2)


def test_what_an_account_says_instead_is_told(native: Native, account: Account) -> None:
    account.refuses = True
    told = states(native, "aws")["aws"]
    assert (told["reachable"], told["buckets"], told["error"]) == (False, None, "the key is unknown")
    # An account that this node cannot have, though its library is there.
    assert "no remote backend for oc://" in states(native, "oci")["oci"]["error"]


def test_nobody_waits_for_long_and_many_ask_once(
    native: Native, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_report, "ANSWER_S", 0.05)
    account.hangs = True
    path = "/v1/cluster?what=backend_status&provider=aws"

    async def both() -> list[Any]:
        return await asyncio.gather(*(native.send("GET", path) for _ in range(2)))

    for answer in native.runner.run(both()):
        (told,) = answer.json()["backends"]
        assert (told["reachable"], told["error"]) == (False, "no answer in 0.05 s")
    assert account.asked == 1


def test_a_missing_extra_is_named(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "is_installed", lambda module: module != "botocore")
    native.environment["AWS_PROFILE"] = "x"
    told = states(native)
    assert (told["aws"]["installed"], told["aws"]["reachable"]) == (False, None)
    assert told["aws"]["advice"] == f"install it: {how_to_install('aws')}"


def test_unknown_providers_are_refused(native: Native) -> None:
    assert native("GET", "/v1/cluster?what=backend_status&provider=nosuch").status == 400
    other = native("GET", "/v1/cluster?what=backend_status&provider=ais")
    assert other.status == 404
    assert "remote-cluster" in other.error()["message"]


def test_only_administrators_use_the_nodes_accounts_to_ask(account: Account) -> None:
    asking = Asking(providers={"aws": lambda _: account})
    path = "/v1/cluster?what=backend_status&provider=aws"
    try:
        assert [asking(who, "GET", path).status for who in (None, ALICE, ROOT)] == [401, 403, 200]
    finally:
        asking.close()
    assert account.asked == 1
