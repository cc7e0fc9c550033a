"""Remote objects that change between two questions about them: an answer is of one version, or none."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from service.calling import Answer, Native
from service.test_remote import Account, url

OLD, NEW = b"the older version" * 10, b"another version, and a longer one" * 10


class Changing(Account):
    """An account in which objects change right after they have been asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.next: list[bytes] = []

    async def head(self, bucket: str, key: str) -> RemoteObject:
        told = await super().head(bucket, key)
        if self.next:
            content = self.next.pop()

            async def once() -> Any:
                yield content

            await MemoryProvider.put(self, bucket, key, once(), RemoteObject(key, len(content)))
        return told


@pytest.fixture
def account() -> Changing:
    return Changing()


@pytest.fixture
def native(account: Changing) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    yield calling
    calling.close()


def ask(native: Native, dialect: str, headers: dict[str, str]) -> Answer:
    if dialect == "native":
        return native("GET", url("a"), **headers)
    assert native("HEAD", "/v1/buckets/data?provider=aws").status == 200
    return native("GET", "/s3/data/a", **headers)


@pytest.mark.parametrize("dialect", ["native", "s3"])
@pytest.mark.parametrize(
    "headers",
    [
        {"if_none_match": '"other"'},
        {"range": "bytes=5-9"},
        {"if_none_match": '"other"', "range": "bytes=5-9"},
    ],
)
def test_headers_and_bytes_are_of_one_version(
    native: Native, account: Changing, dialect: str, headers: dict[str, str]
) -> None:
    account.set("a", OLD)
    account.next = [NEW]
    answer = ask(native, dialect, headers)
    wanted = NEW[5:10] if "range" in headers else NEW
    assert answer.body == wanted
    assert answer.headers["etag"].strip('"') == hashlib.md5(NEW).hexdigest()
    if "range" in headers:
        assert answer.headers["content-range"] == f"bytes 5-9/{len(NEW)}"


@pytest.mark.parametrize("dialect", ["native", "s3"])
def test_a_condition_is_judged_for_the_version_that_is_sent(
    native: Native, account: Changing, dialect: str
) -> None:
    account.set("a", OLD)
    account.next = [NEW]
    answer = ask(native, dialect, {"if_match": f'"{hashlib.md5(OLD).hexdigest()}"'})
    assert answer.status == 412
