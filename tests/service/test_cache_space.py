"""What clients see of remote buckets when there is no room to keep anything, and of what is told of space."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aisle.api.native.space import SpaceVerbs
from aisle.gateway.space import SpaceReport
from aisle.httpd.delivery import BrokenAnswer
from aisle.model.bulk import EVICTION, BulkProgress, BulkRecord
from aisle.model.names import Bucket, ObjectName
from aisle.rules.eviction import Usage
from aisle.storage.engine import BucketCounts, Stored
from aisle.storage.memory import MemoryEngine
from aisle.target import room as rooms
from aisle.target.room import CacheRoom
from aisle.telemetry import COLD_EXPECTED_BYTES, Telemetry
from service.calling import IDENTITY, Native
from service.test_remote import LARGE, Account, url

KEY = "a b%/ü"
PATH = "a%20b%25/%C3%BC"
MIB = 1024 * 1024


class Disk:
    """A disk that has room for one object of a MiB, or for none."""

    def __init__(self) -> None:
        self.is_full = True

    def mountpath_of(self, _name: ObjectName) -> str:
        return "/mountpath"

    def usage(self, _mountpath: str) -> Usage:
        return Usage(1000 * MIB, (951 if self.is_full else 900) * MIB)

    def reusable(self, _mountpath: str) -> int:
        return 0


class Forgetful(MemoryEngine):
    """Objects may be there when they are looked for, and be gone when they are opened."""

    vanishes = False

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.used: set[bytes] = set()

    def note_access(self, name: ObjectName) -> None:
        self.used.add(name.key)
        super().note_access(name)

    def open(self, name: ObjectName) -> Stored | None:
        return None if self.vanishes else super().open(name)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry.private()


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def native(
    account: Account, disk: Disk, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Native]:
    monkeypatch.setattr(rooms, "_of_this_process", CacheRoom(disk, lambda: 95, telemetry))
    calling = Native(engine=Forgetful(lambda: 5), providers={"aws": lambda _: account})
    yield calling
    calling.close()


def asked_whole(account: Account) -> int:
    return account.asked.count(f"get {KEY}")


@pytest.mark.parametrize("target", [url(PATH), f"/s3/data/{PATH}"])
@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_what_there_is_no_room_for_is_sent_and_not_kept(
    native: Native, account: Account, disk: Disk, telemetry: Telemetry, target: str, content: bytes
) -> None:
    account.set(KEY, content, digests={"md5": hashlib.md5(content).hexdigest()})
    assert native("HEAD", "/v1/buckets/data?provider=aws").status == 200
    for _ in range(2):
        answer = native("GET", target)
        assert (answer.status, answer.body) == (200, content)
        assert asked_whole(account) == 1
        account.asked.clear()
    disk.is_full = False
    for _ in range(2):
        assert native("GET", target).body == content
    assert asked_whole(account) == 1
    assert telemetry.slots[COLD_EXPECTED_BYTES] == 0


@pytest.mark.parametrize("target", [url(PATH), f"/s3/data/{PATH}"])
def test_a_range_is_sent_and_nothing_else_is_asked_for(native: Native, account: Account, target: str) -> None:
    account.set(KEY, LARGE)
    assert native("HEAD", "/v1/buckets/data?provider=aws").status == 200
    answer = native("GET", target, range="bytes=300000-300009")
    assert (answer.status, answer.body) == (206, LARGE[300_000:300_010])
    assert asked_whole(account) == 0


def test_an_object_that_would_pass_the_level_is_sent_and_not_kept(
    native: Native, account: Account, disk: Disk, telemetry: Telemetry
) -> None:
    disk.is_full = False
    content = bytes(60 * MIB)
    account.set(KEY, content)
    assert native("GET", url(PATH)).body == content
    assert native("GET", url(PATH)).body == content
    assert (
        native.engine.look_up(ObjectName(native.buckets.find(Bucket("data", "aws")).number, KEY.encode()))
        is None
    )
    assert telemetry.slots[COLD_EXPECTED_BYTES] == 0


def test_wrong_bytes_are_not_passed_on_whole(native: Native, account: Account) -> None:
    account.set("s", b"x")
    account.set(KEY, LARGE)
    account.lies = True
    assert native("GET", url("s")).status == 502
    with pytest.raises(BrokenAnswer, match="CHECKSUM"):
        native("GET", url(PATH))


def test_what_needs_the_whole_object_here_says_that_there_is_no_room(
    native: Native, account: Account
) -> None:
    account.set("a.tar", b"\0" * 10_240)
    answer = native("GET", url("a.tar", "&archpath=x"))
    assert answer.status == 507
    assert "space.out_of_space" in answer.error()["message"]


def test_what_is_evicted_between_two_looks_is_fetched(native: Native, account: Account, disk: Disk) -> None:
    disk.is_full = False
    account.set(KEY, b"content")
    for target in (url(PATH), f"/s3/data/{PATH}"):
        assert native("GET", target).body == b"content"
        assert isinstance(native.engine, Forgetful)
        native.engine.vanishes = True
        assert native("GET", target).body == b"content"
        native.engine.vanishes = False


def test_what_is_read_in_batches_and_archives_counts_as_used(
    native: Native, account: Account, disk: Disk
) -> None:
    disk.is_full = False
    names = ["a.tar", "b", "c"]
    for name in names:
        account.set(name, b"\0" * 10_240)
        assert native("GET", url(name)).status == 200
    assert isinstance(native.engine, Forgetful)
    native.engine.used.clear()
    native("GET", url("a.tar", "&archpath=x"))
    entries = [{"bucket": "data", "provider": "aws", "objname": name} for name in ("b", "c")]
    assert native("GET", "/v1/ml/moss", {"in": entries, "mime": ".tar"}).status == 200
    assert native("GET", "/s3/data/b?attributes", x_amz_object_attributes="ObjectSize").status == 200
    assert native.engine.used == {name.encode() for name in names}


class Space(Disk):
    """What a report asks of a mountpath."""

    def mountpaths(self) -> list[str]:
        return ["/mountpath"]

    def usage_in_detail(self, mountpath: str) -> Usage:
        return self.usage(mountpath)._replace(leaving=3, reusable=4)

    def counts(self, _mountpath: str, bucket: int) -> BucketCounts:
        return BucketCounts(bucket * 10, bucket * 1000)

    def last_sequence(self, _mountpath: str) -> int:
        return 0

    def aged(self, *_where: Any, **_what: Any) -> list[Any]:
        return []


class Later(SpaceVerbs):
    """The verbs of a node that is being made."""

    def __init__(self) -> None:
        """Nothing yet."""

    def of(self, native: Native) -> None:
        super().__init__(SpaceReport(Space(), native.buckets), native.bulk, IDENTITY)


def test_levels_usage_and_the_last_eviction_are_told() -> None:
    verbs = Later()
    native = Native(parts=(verbs,))
    verbs.of(native)

    def told() -> Any:
        answer = native("GET", "/v1/cluster?what=space")
        assert answer.status == 200, answer.body
        return answer.json()[IDENTITY.target_id]

    async def evicted(objects: int) -> str:
        record = BulkRecord(id="", kind=EVICTION, started_ns=0)
        return await native.bulk.note_finished(record, BulkProgress(id="", objects=objects, bytes=7))

    native.runner.run(native.buckets.create(Bucket("own")))
    first = told()
    assert first["levels"] == {"lowwm": 75, "highwm": 90, "out_of_space": 95}
    assert first["last_eviction"] is None
    number = native.runner.run(native.buckets.adopt(Bucket("data", "aws"))).number
    job_id = native.runner.run(evicted(5))
    native.runner.run(evicted(0))
    config = native("PUT", "/v1/cluster/set-config?space.highwm=91")
    assert config.status == 200, config.body
    after = told()
    assert after["levels"]["highwm"] == 91
    assert after["mountpaths"] == {
        "/mountpath": {
            "total": 1000 * MIB,
            "used": 951 * MIB,
            "percent_used": 95.1,
            "leaving": 3,
            "reusable": 4,
            "evictable_objects": number * 10,
            "evictable": number * 1000,
        }
    }
    last = after["last_eviction"]
    assert (last["job"], last["objects"], last["bytes"], last["aborted"]) == (job_id, 5, 7, False)
    native.close()
