"""Evicting what was not used for longest, without disks: what goes, what stays, and when a job starts."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import msgspec

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from aisle.gateway.buckets import document_key
from aisle.jobs.making_room import BATCH_OBJECTS
from aisle.jobs.overview import bulk_view
from aisle.jobs.space_watch import SpaceWatch
from aisle.model.bucket import BucketInfo, BucketShape, decode_document, encode_document
from aisle.model.bulk import EVICTION, BulkRecord
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from aisle.model.unwritten import marked
from aisle.rules.eviction import Usage, footprint
from aisle.storage.engine import BucketCounts
from aisle.storage.space import Aged
from aisle.telemetry import COLD_NOT_KEPT, Telemetry
from support.bulk import BulkNode, until

SIZE: Final = 1_000
EACH: Final = footprint(SIZE, is_inline=True)
MINUTE_NS: Final = 60 * 10**9
COPY: Final = Attributes(custom={"source": "aws"})
NEVER_RESTING: Final = {"lru": {"dont_evict_time": "0s"}}


class Cache:
    """A node whose one mountpath has room for as many objects as `total` says."""

    def __init__(self, node: BulkNode, total: int) -> None:
        self.node = node
        self.total = total * EACH
        self.leaving = 0
        self.numbers: list[int] = []
        self.used: dict[ObjectName, int] = {}

    # CacheSpace

    def mountpaths(self) -> list[str]:
        return ["/mountpath"]

    def usage(self, _mountpath: str) -> Usage:
        held = sum(self.node.engine.counts(number).objects for number in self.numbers)
        return Usage(self.total, held * EACH + self.leaving)

    def usage_in_detail(self, mountpath: str) -> Usage:
        return self.usage(mountpath)._replace(leaving=self.leaving)

    def mountpath_of(self, _name: ObjectName) -> str:
        return "/mountpath"

    def counts(self, _mountpath: str, bucket: int) -> BucketCounts:
        return self.node.engine.counts(bucket)

    def last_sequence(self, _mountpath: str) -> int:
        return 10**6

    def aged(self, _mountpath: str, bucket: int, *, after: bytes, limit: int) -> list[Aged]:
        found = []
        for entry in self.node.engine.scan(bucket, after=after, limit=limit).entries:
            name = ObjectName(bucket, entry.key)
            held = self.node.engine.look_up(name)
            assert held is not None
            found.append(Aged(entry.key, held.record, self.used.get(name, 0)))
        return found

    # What tests do

    async def bucket(
        self, name: str, keys: Iterable[str] = (), *, provider: str = "aws", **changes: Any
    ) -> BucketInfo:
        """A bucket whose objects were used one after the other, a minute apart, the first one first."""
        bucket = Bucket(name, provider)
        made = (
            await self.node.buckets.adopt(bucket, NEVER_RESTING | changes)
            if bucket.is_remote
            else await self.node.buckets.create(bucket, changes)
        )
        self.numbers.append(made.number)
        for key in keys:
            await self.put(made, key)
        return made

    async def put(self, bucket: BucketInfo, key: str, attributes: Attributes = COPY) -> None:
        name = ObjectName(bucket.number, key.encode())
        await self.node.engine.put_small(name, b"x" * SIZE, attributes)
        self.node.now_ns += MINUTE_NS
        self.used[name] = self.node.now_ns

    def names(self, bucket: BucketInfo) -> list[str]:
        scanned = self.node.engine.scan(bucket.number, limit=10_000)
        return [entry.key.decode() for entry in scanned.entries]

    async def make_room(self, bucket: Bucket | None = None) -> Any:
        record = BulkRecord(id="", kind=EVICTION, started_ns=0, bucket=bucket)
        return (await self.node.do(record)).progress


def run(test: Callable[[Cache], Coroutine[Any, Any, None]], *, total: int = 100) -> None:
    async def scenario() -> None:
        node = BulkNode()
        cache = Cache(node, total)
        node.tools = node.tools._replace(space=cache, clock_ns=lambda: node.now_ns + MINUTE_NS)
        await test(cache)

    asyncio.run(scenario())


def named(count: int) -> list[str]:
    """Names whose order is not that of their use."""
    return [f"{number * 7919 % 1000:04}" for number in range(count)]


def test_what_was_not_used_for_longest_goes_until_the_low_level() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(46))
        two = await cache.bucket("two", named(45))
        progress = await cache.make_room()
        # 91 of 100 is above 90 percent; 16 must go for 75.
        assert (progress.objects, progress.bytes, progress.failed) == (16, 16 * SIZE, 0)
        assert cache.names(one) == sorted(named(46)[16:])
        assert cache.names(two) == sorted(named(45))

    run(test)


def test_what_is_used_while_it_is_looked_for_stays_and_others_go() -> None:
    async def test(cache: Cache) -> None:
        bucket = await cache.bucket("one", named(91))
        aged, looks = cache.aged, 0

        def used_meanwhile(mountpath: str, number: int, *, after: bytes, limit: int) -> list[Aged]:
            nonlocal looks
            looks += not after
            if looks == 2 and not after:
                for key in named(91)[:10]:
                    cache.used[ObjectName(number, key.encode())] = cache.node.now_ns
            return aged(mountpath, number, after=after, limit=limit)

        cache.aged = used_meanwhile  # type: ignore[method-assign]
        progress = await cache.make_room()
        assert progress.objects == 16
        assert cache.names(bucket) == sorted(named(91)[:10] + named(91)[26:])

    run(test)


def test_below_the_high_level_nothing_goes() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(90))
        assert (await cache.make_room()).objects == 0
        cache.leaving = 50 * EACH
        assert (await cache.make_room()).objects == 0, "files that are about to go count as gone"
        assert len(cache.names(one)) == 90

    run(test)


def test_what_is_not_known_to_have_been_used_goes_first() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(95))
        for key in named(95)[-20:]:
            del cache.used[ObjectName(one.number, key.encode())]
        await cache.make_room()
        assert set(named(95)[:75]) <= set(cache.names(one))

    run(test)


def test_what_exists_only_here_stays() -> None:
    async def test(cache: Cache) -> None:
        own = await cache.bucket("own", ["a", "b"], provider="ais", lru={"enabled": True})
        kept = await cache.bucket("kept", ["a", "b"], lru={"enabled": False})
        mixed = await cache.bucket("mixed")
        await cache.put(mixed, "unwritten", marked(COPY))
        await cache.put(mixed, "own", Attributes())
        await cache.put(mixed, "web", Attributes(custom={"source": "web"}))
        for key in named(100):
            await cache.put(mixed, key)
        # There is far too much: everything that may go does.
        cache.total = 4 * EACH
        assert (await cache.make_room()).objects == 100
        assert cache.names(mixed) == ["own", "unwritten", "web"]
        assert (cache.names(own), cache.names(kept)) == (["a", "b"], ["a", "b"])

    run(test)


def test_of_an_own_bucket_with_a_source_only_that_goes_which_the_source_has() -> None:
    async def test(cache: Cache) -> None:
        account = MemoryProvider(["data"])
        cache.node.tools = cache.node.tools._replace(provider_of=lambda _: account)
        behind = {"name": "data", "provider": "aws"}
        lru = {"enabled": True, "dont_evict_time": "0s"}
        mirror = await cache.bucket("mirror", provider="ais", lru=lru, backend_bck=behind)

        async def content() -> Any:
            yield b"x" * SIZE

        await cache.put(mirror, "older than its source")
        for number in range(9):
            told = await account.put("data", f"{number}", content(), RemoteObject(f"{number}", SIZE))
            custom = {"source": "aws", "ETag": told.etag}
            await cache.put(mirror, f"{number}", Attributes(custom=custom))
        await account.delete("data", "3")
        cache.total = EACH
        await cache.make_room()
        assert cache.names(mirror) == ["3", "older than its source"]

    run(test)


def test_what_was_used_lately_is_spared() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(100), lru={"dont_evict_time": "94m30s"})
        # The job looks a minute after the last use: the first five were used 96 minutes and more ago.
        assert (await cache.make_room()).objects == 6
        assert cache.names(one) == sorted(named(100)[6:])

    run(test)


def test_an_object_that_changes_meanwhile_stays() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(95))
        real = cache.aged
        looks = 0

        def changed_behind_a_look(*where: Any, **what: Any) -> list[Aged]:
            nonlocal looks
            found = real(*where, **what)
            looks += 1
            if looks == 3:  # the second time through: what was found is about to go
                name = ObjectName(one.number, named(95)[0].encode())
                cache.node.engine.put_small(name, b"y" * SIZE, marked(COPY))
            return found

        cache.aged = changed_behind_a_look  # type: ignore[method-assign]
        progress = await cache.make_room()
        assert looks == 8  # once more for what is still too much
        assert progress.objects == 20
        assert named(95)[0] in cache.names(one)

    run(test)


def test_a_bucket_that_loses_its_source_meanwhile_keeps_the_rest() -> None:
    async def test(cache: Cache) -> None:
        account = MemoryProvider(["data"])
        cache.node.tools = cache.node.tools._replace(provider_of=lambda _: account)
        behind = {"name": "data", "provider": "aws"}
        lru = {"enabled": True, "dont_evict_time": "0s"}
        mirror = await cache.bucket("mirror", provider="ais", lru=lru, backend_bck=behind)

        async def content() -> Any:
            yield b"x" * SIZE

        for number in range(600):
            told = await account.put("data", f"{number}", content(), RemoteObject(f"{number}", SIZE))
            await cache.put(mirror, f"{number}", Attributes(custom={"source": "aws", "ETag": told.etag}))
        real = account.head
        asked = 0

        async def detached_while_asked(bucket: str, key: str) -> RemoteObject:
            nonlocal asked
            asked += 1
            if asked == 100:
                detach(cache, mirror)
            return await real(bucket, key)

        account.head = detached_while_asked  # type: ignore[method-assign]
        cache.total = EACH
        await cache.make_room()
        assert 0 < 600 - len(cache.names(mirror)) < 100

    run(test)


def detach(cache: Cache, bucket: BucketInfo) -> None:
    """Take the source of a bucket away, at once."""
    document = cache.node.store.load(document_key(bucket.bucket))
    assert document is not None
    before = decode_document(document.value)
    properties = msgspec.structs.replace(before.properties, backend_bck=BucketShape())
    value = encode_document(msgspec.structs.replace(before, properties=properties))
    cache.node.store.swap(document.key, value, expected_version=document.version)


def test_what_its_source_dates_in_the_future_goes_too() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", lru={"dont_evict_time": "1h"})
        cache.node.now_ns += 600 * MINUTE_NS
        for number in range(95):
            name = ObjectName(one.number, f"{number}".encode())
            draft = cache.node.engine.draft(name)
            draft.write(b"x" * SIZE)
            draft.finish()
            await cache.node.engine.commit(name, draft, COPY, written_ns=2**62)
        assert (await cache.make_room()).objects == 20

    run(test)


def test_a_job_for_one_bucket_takes_from_no_other() -> None:
    async def test(cache: Cache) -> None:
        one, two = await cache.bucket("one", named(50)), await cache.bucket("two", named(50))
        await cache.make_room(two.bucket)
        assert (len(cache.names(one)), len(cache.names(two))) == (50, 25)

    run(test)


def test_a_job_can_be_stopped() -> None:
    async def test(cache: Cache) -> None:
        one = await cache.bucket("one", named(1_000))
        cache.total = EACH
        real, asked = cache.node.engine.remove, 0

        def remove_some(name: ObjectName, **how: Any) -> Any:
            nonlocal asked
            asked += 1
            # The disk hangs behind the first batch.
            return real(name, **how) if asked <= BATCH_OBJECTS else asyncio.get_running_loop().create_future()

        cache.node.engine.remove = remove_some  # type: ignore[method-assign]
        runner, board = cache.node.runner(), cache.node.board
        job_id = await board.submit(BulkRecord(id="", kind=EVICTION, started_ns=0))
        runner.look()
        await until(lambda: asked > BATCH_OBJECTS)
        await board.abort(job_id)
        status = await cache.node.finish(job_id, runner)
        assert status.is_aborted
        assert len(cache.names(one)) == 1_000 - BATCH_OBJECTS
        view = bulk_view(status)
        assert (view.kind, view.message) == ("lru", f"make room [evicted:{BATCH_OBJECTS}]")

    run(test)


def test_without_disks_there_is_nothing_to_do() -> None:
    async def test(cache: Cache) -> None:
        await cache.bucket("one", named(100))
        cache.node.tools = cache.node.tools._replace(space=None)
        assert (await cache.make_room()).objects == 0

    run(test)


def test_a_full_disk_starts_one_job_and_rests_when_that_finds_little() -> None:
    async def test(cache: Cache) -> None:
        now_s = 0.0
        watch = SpaceWatch(cache.node.tools, cache.node.board, now_s=lambda: now_s)

        def jobs() -> list[str]:
            return [status.record.kind for status in cache.node.board.all()]

        async def end_jobs() -> None:
            for status in cache.node.board.all():
                await cache.node.finish(status.record.id)

        one = await cache.bucket("one", named(90))
        await watch.look()
        assert jobs() == []
        await cache.put(one, "one more")
        await watch.look()
        await watch.look()
        assert jobs() == [EVICTION]
        await end_jobs()
        assert len(cache.names(one)) == 75
        await watch.look()
        assert jobs() == [EVICTION]
        # Full again, and all of it in use: the next job finds nothing.
        await cache.node.buckets.set_properties(one.bucket, {"lru": {"dont_evict_time": "999h"}})
        for key in named(30):
            await cache.put(one, f"again/{key}")
        await watch.look()
        assert jobs() == [EVICTION] * 2
        await end_jobs()
        for _ in range(3):
            await watch.look()
        assert jobs() == [EVICTION] * 2
        now_s += 601
        await watch.look()
        assert jobs() == [EVICTION] * 3

    run(test)


def test_objects_that_do_not_fit_make_room_below_the_high_level_too() -> None:
    async def test(cache: Cache) -> None:
        counters = Telemetry.private()
        cache.node.tools = cache.node.tools._replace(counters=counters)
        watch = SpaceWatch(cache.node.tools, cache.node.board, now_s=lambda: 0.0)
        one = await cache.bucket("one", named(85))
        await watch.look()
        assert cache.node.board.all() == []
        counters.slots[COLD_NOT_KEPT] += 1
        cache.leaving = 5 * EACH
        await watch.look()
        assert cache.node.board.all() == [], "room is on its way"
        cache.leaving = 0
        await watch.look()
        assert cache.node.board.all() == [], "nobody was refused since"
        counters.slots[COLD_NOT_KEPT] += 1
        await watch.look()
        for status in cache.node.board.all():
            await cache.node.finish(status.record.id)
        assert len(cache.names(one)) == 75
        counters.slots[COLD_NOT_KEPT] += 1
        await watch.look()
        assert len(cache.node.board.all()) == 1, "at the low level nothing more goes"
        for key in named(5):
            await cache.put(one, f"more/{key}")
        await SpaceWatch(cache.node.tools, cache.node.board).look()
        assert len(cache.node.board.all()) == 2, "a process that begins late has missed nothing"

    run(test)


def test_a_job_that_an_earlier_process_began_is_waited_for() -> None:
    async def test(cache: Cache) -> None:
        await cache.bucket("one", named(95))
        await SpaceWatch(cache.node.tools, cache.node.board).look()
        await SpaceWatch(cache.node.tools, cache.node.board).look()
        assert len(cache.node.board.all()) == 1

    run(test)


def test_a_node_without_copies_starts_no_jobs() -> None:
    async def test(cache: Cache) -> None:
        await cache.bucket("own", named(99), provider="ais")
        await SpaceWatch(cache.node.tools, cache.node.board).look()
        assert cache.node.board.all() == []

    run(test)


def test_remote_buckets_begin_with_copies_that_may_go_and_own_ones_without() -> None:
    async def test(cache: Cache) -> None:
        for bucket, expected in (
            (Bucket("a", "aws"), True),
            (Bucket("a", "ht"), True),
            (Bucket("a", "ais", "@uuid"), True),
            (Bucket("a"), False),
        ):
            assert cache.node.buckets.properties_of_new(bucket).lru.enabled is expected
        await cache.node.buckets.configuration.set({"lru": {"enabled": False}})
        assert not cache.node.buckets.properties_of_new(Bucket("b", "aws")).lru.enabled
        assert msgspec.to_builtins(cache.node.buckets.configuration.get().values.lru)["enabled"] is False

    run(test)
