"""The promises of MetadataStore, kept by every implementation."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aisle.cluster.embedded import EmbeddedStore
from aisle.cluster.memory import MemoryStore
from aisle.cluster.reconcile import reconcile
from aisle.cluster.store import DOCUMENT_BYTES_MAX, Change, Document, MetadataStore
from aisle.errors import BadRequest, StaleVersion


class MetadataStoreContract:
    """Subclass it with a `store` fixture."""

    def test_a_new_document_has_version_one(self, store: MetadataStore) -> None:
        assert store.load("config/cluster") is None
        created = store.swap("config/cluster", b"one", expected_version=0)
        assert created == Document("config/cluster", b"one", 1)
        assert store.load("config/cluster") == created

    def test_each_change_raises_the_version_by_one(self, store: MetadataStore) -> None:
        for version in range(5):
            changed = store.swap("k/a", b"%d" % version, expected_version=version)
            assert changed is not None
            assert changed.version == version + 1
        assert store.load("k/a") == Document("k/a", b"4", 5)

    @pytest.mark.parametrize("expected", [0, 2, 7])
    def test_a_stale_writer_is_told_and_changes_nothing(self, store: MetadataStore, expected: int) -> None:
        store.swap("k/a", b"one", expected_version=0)
        with pytest.raises(StaleVersion) as caught:
            store.swap("k/a", b"two", expected_version=expected)
        assert (caught.value.expected, caught.value.found) == (expected, 1)
        assert store.load("k/a") == Document("k/a", b"one", 1)

    def test_what_does_not_exist_has_version_zero(self, store: MetadataStore) -> None:
        with pytest.raises(StaleVersion):
            store.swap("k/a", b"one", expected_version=1)
        assert store.swap("k/a", None, expected_version=0) is None

    def test_a_removed_document_is_gone_and_may_be_created_again(self, store: MetadataStore) -> None:
        store.swap("k/a", b"one", expected_version=0)
        store.swap("k/a", b"two", expected_version=1)
        assert store.swap("k/a", None, expected_version=2) is None
        assert store.load("k/a") is None
        assert store.list("") == []
        assert store.swap("k/a", b"three", expected_version=0) == Document("k/a", b"three", 1)

    def test_a_list_holds_what_starts_with_the_prefix_in_order(self, store: MetadataStore) -> None:
        keys = ["bucket/b", "bucket/a", "bucket/ä", "bucketeer/x", "bucket/a/b", "job/1"]
        for key in keys:
            store.swap(key, key.encode(), expected_version=0)
        listed = [document.key for document in store.list("bucket/")]
        assert listed == ["bucket/a", "bucket/a/b", "bucket/b", "bucket/ä"]
        assert len(store.list("")) == len(keys)
        assert store.list("nothing/") == []

    def test_values_are_bytes_of_any_kind(self, store: MetadataStore) -> None:
        for name, value in [("empty", b""), ("zero", bytes(100)), ("large", b"\xff" * DOCUMENT_BYTES_MAX)]:
            store.swap(f"v/{name}", value, expected_version=0)
            found = store.load(f"v/{name}")
            assert found is not None
            assert found.value == value

    @pytest.mark.parametrize("key", ["", "a\0b", "k/" + "x" * 480, "ä" * 241])
    def test_impossible_keys_are_refused(self, store: MetadataStore, key: str) -> None:
        with pytest.raises(BadRequest):
            store.swap(key, b"", expected_version=0)

    def test_too_large_values_are_refused(self, store: MetadataStore) -> None:
        with pytest.raises(BadRequest):
            store.swap("k/a", bytes(DOCUMENT_BYTES_MAX + 1), expected_version=0)

    def test_the_revision_grows_with_each_change_and_only_then(self, store: MetadataStore) -> None:
        seen = [store.revision()]
        for value, version in [(b"1", 0), (b"2", 1), (None, 2), (b"3", 0)]:
            store.swap("k/a", value, expected_version=version)
            seen.append(store.revision())
        assert seen == sorted(set(seen))
        store.load("k/a")
        store.list("")
        with pytest.raises(StaleVersion):
            store.swap("k/a", b"4", expected_version=9)
        assert store.revision() == seen[-1]

    def test_an_area_has_a_revision_of_its_own(self, store: MetadataStore) -> None:
        store.swap("bucket/a", b"", expected_version=0)
        before = store.revision("bucket")
        store.swap("job/a", b"", expected_version=0)
        assert store.revision("bucket") == before
        store.swap("bucket/a", None, expected_version=1)
        assert store.revision("bucket") > before

    def test_of_many_writers_one_wins_each_version(self, store: MetadataStore) -> None:
        def count_up() -> None:
            for _ in range(20):
                while True:
                    present = store.load("k/counter")
                    version, value = (present.version, int(present.value)) if present else (0, 0)
                    try:
                        store.swap("k/counter", b"%d" % (value + 1), expected_version=version)
                        break
                    except StaleVersion:
                        continue

        threads = [threading.Thread(target=count_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.load("k/counter") == Document("k/counter", b"80", 80)

    def test_a_watch_reports_changes_below_its_prefix_from_its_start_on(self, store: MetadataStore) -> None:
        async def observe() -> list[Change]:
            store.swap("job/old", b"", expected_version=0)
            store.swap("job/removed", b"", expected_version=0)
            changes = store.watch("job/")
            store.swap("bucket/a", b"", expected_version=0)
            store.swap("job/removed", None, expected_version=1)
            store.swap("job/new", b"1", expected_version=0)
            first = [await anext(changes), await anext(changes)]
            # Removed and created again with the same version: a change nevertheless.
            store.swap("job/old", None, expected_version=1)
            store.swap("job/old", b"", expected_version=0)
            store.swap("job/new", b"2", expected_version=1)
            return [*first, await anext(changes), await anext(changes)]

        assert asyncio.run(observe()) == [
            Change("job/removed", None),
            Change("job/new", Document("job/new", b"1", 1)),
            Change("job/old", Document("job/old", b"", 1)),
            Change("job/new", Document("job/new", b"2", 2)),
        ]


class TestMemoryStore(MetadataStoreContract):
    @pytest.fixture
    def store(self) -> MetadataStore:
        return MemoryStore()


class TestEmbeddedStore(MetadataStoreContract):
    @pytest.fixture(params=[1, 3])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MetadataStore]:
        mountpaths = [tmp_path / f"m{number}" for number in range(request.param)]
        for mountpath in mountpaths:
            mountpath.mkdir()
        reconcile(mountpaths)
        store = EmbeddedStore(mountpaths)
        yield store
        store.close()
