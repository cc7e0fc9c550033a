"""Which bucket an S3 client means, and for whom one is looked for in the accounts of the node."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from aisle.api.gate import GateSettings
from aisle.api.s3.errors import S3Error
from aisle.api.s3.names import S3Names
from aisle.backends.memory import MemoryProvider
from aisle.gateway import remote_buckets
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.names import Bucket
from service.calling import Native
from service.credentials import ALICE, ROOT, Asking


class Account(MemoryProvider):
    """An account that counts how often it is asked for its buckets."""

    def __init__(self) -> None:
        super().__init__(["there"])
        self.listed = 0

    async def buckets(self) -> list[str]:
        self.listed += 1
        return await super().buckets()


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(gate=GateSettings(insecure=True), providers={"aws": lambda _: account})
    yield calling
    calling.close()


def status_from(native: Native, peer: str, path: str = "/s3/there") -> int:
    """The status of a HEAD that comes from that address."""

    async def ask() -> Response:
        request = Request("HEAD", path.encode(), b"", {"host": "127.0.0.1:8080"})
        request.peer = peer
        answer = native._app(request)
        return answer if isinstance(answer, Response) else await answer

    return native.runner.run(ask()).status


def test_whoever_comes_from_elsewhere_has_nothing_looked_for(native: Native, account: Account) -> None:
    for peer in ("10.0.0.1:5", "[2001:db8::1]:5", "127x:5"):
        assert status_from(native, peer) == 404
    assert account.listed == 0
    assert status_from(native, "[::1]:5") == 200
    assert account.listed == 1
    assert status_from(native, "10.0.0.1:5") == 200  # now it is known


def test_a_miss_is_remembered(native: Native, account: Account) -> None:
    for _ in range(3):
        assert status_from(native, "127.0.0.1:5", "/s3/nowhere") == 404
    assert account.listed == 1


class SilentAccount(Account):
    """An account that never answers."""

    async def buckets(self) -> list[str]:
        self.listed += 1
        await asyncio.Event().wait()
        return []


def test_an_account_that_does_not_answer_keeps_nobody_waiting_twice(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_buckets, "_SEARCH_S", 0.01)
    silent = SilentAccount()
    calling = Native(providers={"aws": lambda _: silent, "gcp": lambda _: account})
    assert status_from(calling, "127.0.0.1:5", "/s3/nowhere") == 404
    assert status_from(calling, "127.0.0.1:5", "/s3/elsewhere") == 404
    assert status_from(calling, "127.0.0.1:5") == 200  # the other account has it
    assert (silent.listed, account.listed) == (1, 3)
    calling.close()


def test_with_credentials_only_those_who_may_use_any_bucket_have_one_looked_for(account: Account) -> None:
    asking = Asking(providers={"aws": lambda _: account})
    for who, status in ((None, 403), (ALICE, 404), (ROOT, 200)):
        assert asking(who, "HEAD", "/s3/there").status == status
        assert account.listed == (1 if who == ROOT else 0)
    asking.close()


def named(native: Native, order: Sequence[str], name: str) -> str:
    """The bucket that a name leads to; what else is the case in words."""
    try:
        found = S3Names(native.buckets, order=order).called(name)
    except S3Error as error:
        return error.code
    return found.bucket.cname if found else "nothing"


@pytest.mark.parametrize(
    ("there", "order", "means"),
    [
        (["ais://", "s3://"], ["ais"], {"n": "ais://n", "n--aws": "s3://n", "n--ais": "ais://n"}),
        (["ais://", "s3://"], ["aws", "ais"], {"n": "s3://n", "n--ais": "ais://n", "n--s3": "s3://n"}),
        (
            ["ais://", "s3://", "ht://"],
            ["ht", "aws"],
            {"n": "ht://n", "n--aws": "s3://n", "n--ais": "ais://n"},
        ),
        (["s3://", "ht://"], ["ais"], {"n": "AmbiguousBucketName", "n--ht": "ht://n", "n--aws": "s3://n"}),
        (["s3://"], ["ais"], {"n": "s3://n", "n--aws": "s3://n", "n--ht": "nothing"}),
        (["ais://#x/", "s3://"], ["aws"], {"n": "s3://n"}),
        (["ais://#x/"], ["ais"], {"n": "ais://#x/n"}),
        ([], ["ais"], {"n": "nothing", "n--nobody": "nothing", "--aws": "nothing"}),
    ],
)
def test_names_mean_what_the_order_says(
    native: Native, there: list[str], order: list[str], means: dict[str, str]
) -> None:
    providers = {"ais": "ais", "s3": "aws", "ht": "ht"}
    for each in there:
        scheme, _, namespace = each.partition("://")
        bucket = Bucket("n", providers[scheme], namespace.rstrip("/"))
        making = native.buckets.adopt(bucket) if bucket.is_remote else native.buckets.create(bucket)
        native.runner.run(making)
    assert {name: named(native, order, name) for name in means} == means
    # Each bucket is listed under a name that leads to it, or not at all.
    names, everything = S3Names(native.buckets, order=order), native.buckets.select()
    for info in everything:
        name = names.leads_to(info, everything)
        assert not name or named(native, order, name) == info.bucket.cname
    assert len({names.leads_to(info, everything) for info in everything}) == len(everything)
