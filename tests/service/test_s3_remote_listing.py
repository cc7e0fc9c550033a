"""Listing a remote bucket over S3, page by page: the source is asked ahead, and nothing old is shown."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject, RemotePage
from service.calling import Native

NAMES = [f"n/{number:02d}" for number in range(10)]


class Account(MemoryProvider):
    """A remote account that notes the pages it is asked for."""

    def __init__(self) -> None:
        super().__init__(["data"])
        self.pages: list[tuple[str, str]] = []

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        token: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
    ) -> RemotePage:
        self.pages.append((token, after))
        return await super().list_objects(
            bucket, prefix=prefix, token=token, after=after, limit=limit, delimiter=delimiter
        )

    def set(self, key: str) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield b"x"

        asyncio.run(self.put("data", key, once(), RemoteObject(key, 1)))


@pytest.fixture
def account() -> Account:
    account = Account()
    for name in NAMES:
        account.set(name)
    return account


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    assert calling("HEAD", "/v1/buckets/data?provider=aws").status == 200
    yield calling
    calling.close()


def page(native: Native, after: str = "", **more: str) -> tuple[list[str], str]:
    """Names of a page of two, and what goes on behind it."""
    query = "".join(f"&{name.replace('_', '-')}={value}" for name, value in more.items())
    going_on = f"&continuation-token={after}" if after else ""
    answer = native("GET", f"/s3/data?list-type=2&max-keys=2{going_on}{query}")
    assert answer.status == 200, answer.body
    text = answer.body.decode()
    token = re.search("<NextContinuationToken>(.*?)</NextContinuationToken>", text)
    names = re.findall("<(?:Contents><Key|CommonPrefixes><Prefix)>(.*?)</", text)
    return names, token[1] if token else ""


def test_every_name_comes_once_and_each_page_is_asked_for_once(native: Native, account: Account) -> None:
    found, token, pages = [], "", 0
    while pages == 0 or token:
        names, token = page(native, token)
        found += names
        pages += 1
    assert (found, pages) == (NAMES, 5)
    assert len(account.pages) == pages


def test_the_first_page_alone_asks_for_nothing_else(native: Native, account: Account) -> None:
    page(native)
    assert len(account.pages) == 1


def test_what_changes_through_the_node_is_seen_on_the_next_page(native: Native) -> None:
    _, token = page(native)
    names, token = page(native, token)  # the third page is asked for meanwhile
    assert names == NAMES[2:4]
    assert native("DELETE", f"/s3/data/{NAMES[4]}").status == 204
    assert native("PUT", f"/s3/data/{NAMES[5]}a", b"new", content_length="3").status == 200
    names, token = page(native, token)
    assert names == [NAMES[5], f"{NAMES[5]}a"]
    names, _ = page(native, token)
    assert names == NAMES[6:8]


def test_folded_names_go_on_behind_what_they_stand_for(native: Native, account: Account) -> None:
    for name in ("a/1", "a/2", "b/1", "c", "d/1", "d/2"):
        account.set(name)
    found, token = page(native, delimiter="/")
    while token:
        names, token = page(native, token, delimiter="/")
        found += names
    assert sorted(found) == ["a/", "b/", "c", "d/", "n/"]


def test_an_answer_about_a_bucket_that_had_to_be_found_has_one_id(account: Account) -> None:
    calling = Native(providers={"aws": lambda _: account})
    answer = calling("GET", "/s3/data?list-type=2", x_request_id="mine")
    assert (answer.status, answer.headers["x-amz-request-id"].count(",")) == (200, 0)
    for target in ("/s3/nowhere", "/s3/other/missing"):
        answer = calling("GET", target, x_request_id="mine")
        assert (answer.status, answer.headers["x-amz-request-id"].count(",")) == (404, 0)
    calling.close()
