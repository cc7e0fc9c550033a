"""Delayed writes that overlap with what would make them forgotten: nothing that was acknowledged is lost."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from aisle.model.bucket import BucketInfo
from aisle.target.delayed_queue import DelayedQueue
from service.calling import Answer, Native
from service.test_delayed_writes import BUCKET, Account, set_policy

MIRROR = "/v1/buckets/mirror"
OF_MIRROR = "/v1/objects/mirror/k?provider=ais"
DETACHED = {"backend_bck": {"name": "", "provider": ""}}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(account: Account) -> Iterator[Native]:
    calling = Native(providers={"aws": lambda _: account})
    assert calling("HEAD", BUCKET).status == 200
    assert set_policy(calling, "delayed").status == 200
    account.asked.clear()
    yield calling
    calling.close()


def first(
    monkeypatch: pytest.MonkeyPatch, method: str, act: Callable[[], Awaitable[object]], on: Any = DelayedQueue
) -> None:
    """Have something happen right before the next call of a method."""
    real, done = getattr(on, method), []

    async def with_it(*given: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            await act()
        return await real(*given, **named)

    monkeypatch.setattr(on, method, with_it)


def mirror(native: Native) -> BucketInfo:
    (found,) = native.buckets.select(name="mirror")
    return found


def changed(native: Native, changes: dict[str, Any]) -> Awaitable[Answer]:
    return native.send("PATCH", MIRROR, {"action": "set-bprops", "value": changes})


class TestChangedBuckets:
    @pytest.mark.parametrize("has_queue", [False, True])
    @pytest.mark.parametrize(
        "changes",
        [DETACHED, {"backend_bck": {"name": "other", "provider": "aws"}}],
        ids=["detached", "another"],
    )
    def test_a_write_never_goes_where_it_was_not_sent(
        self,
        native: Native,
        account: Account,
        monkeypatch: pytest.MonkeyPatch,
        *,
        has_queue: bool,
        changes: dict[str, Any],
    ) -> None:
        account._buckets["other"] = {}
        assert native("POST", MIRROR, {"action": "create-bck"}).status == 200
        delayed = {"write_policy": {"backend": "delayed"}}
        attached = {"backend_bck": {"name": "data", "provider": "aws"}, **delayed}
        assert native.runner.run(changed(native, attached)).status == 200  # type: ignore[arg-type]
        if has_queue:
            assert native("PUT", OF_MIRROR, b"one").status == 200
            native.write_back()

        async def meanwhile() -> None:
            answer = await changed(native, changes)
            assert answer.status == 200, answer.body

        first(monkeypatch, "note_write", meanwhile)
        answer = native("PUT", OF_MIRROR, b"two")
        assert (answer.status, "try again" in answer.error()["message"]) == (503, True)
        info = mirror(native)
        assert not info.queue or not native.engine.counts(info.queue).objects
        assert native("PUT", OF_MIRROR, b"three").status == 200
        native.write_back()
        assert account.read("k") == (b"one" if has_queue else None)
        there = account._buckets["other"].get("k")
        assert there is None if changes is DETACHED else (there is not None and there[1] == b"three")
        assert native("DELETE", MIRROR, {"action": "destroy-bck"}).status == 200
