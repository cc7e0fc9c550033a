"""Users: a name means one of them."""

import asyncio
from threading import Barrier

from aisle.cluster.memory import MemoryStore
from aisle.cluster.store import Document
from aisle.errors import Conflict
from aisle.gateway.users import MasterKey, User, Users


class AtOnce(MemoryStore):
    """The first two changes are made at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._both = Barrier(2)
        self._left = 2

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        self._left -= 1
        if self._left >= 0:
            self._both.wait(timeout=10)
        return super().swap(key, value, expected_version=expected_version)


def test_of_users_that_are_added_at_once_under_one_name_one_is_kept() -> None:
    store = AtOnce()
    processes = [Users(store, configured=(), master_keys=[MasterKey.of(b"key")]) for _ in range(2)]

    async def add() -> list[User | BaseException]:
        adding = [users.add("carol") for users in processes]
        return await asyncio.gather(*adding, return_exceptions=True)

    found = asyncio.run(add())
    added = [each for each in found if isinstance(each, User)]
    assert [type(each) for each in found if each not in added] == [Conflict]
    assert [user.id for user in processes[0].all()] == [each.id for each in added]


def test_removing_a_user_leaves_none_of_its_name() -> None:
    store = MemoryStore()
    users = Users(store, configured=(), master_keys=[MasterKey.of(b"key")])

    async def add_and_remove() -> list[str]:
        carol = await users.add("carol")
        await users.add("dora")
        # Left by a process that died before it could give way.
        (document,) = (each for each in store.list("user/") if each.key == f"user/{carol.id}")
        store.swap("user/ffff", document.value, expected_version=0)
        await users.add_key("ffff")
        await users.add_token("carol", life_s=60)
        await users.remove("carol")
        return [user.name for user in users.all()]

    assert asyncio.run(add_and_remove()) == ["dora"]
    assert users.tokens() == []
