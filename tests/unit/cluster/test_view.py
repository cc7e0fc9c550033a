"""The decoded copy is as fresh as the store and decodes only what changed."""

from aisle.cluster.memory import MemoryStore
from aisle.cluster.store import Document
from aisle.cluster.view import View


class Decoder:
    def __init__(self) -> None:
        self.decoded: list[str] = []

    def __call__(self, document: Document) -> int:
        self.decoded.append(document.key)
        return int(document.value)


def test_a_hit_and_a_miss_are_those_of_the_store() -> None:
    store, decode = MemoryStore(), Decoder()
    view = View(store, "bucket", decode)
    assert view.find("a") is None
    store.swap("bucket/a", b"1", expected_version=0)
    assert view.find("a") == 1
    store.swap("bucket/a", b"2", expected_version=1)
    assert view.find("a") == 2
    store.swap("bucket/a", None, expected_version=2)
    assert view.find("a") is None


def test_only_what_changed_is_decoded_again() -> None:
    store, decode = MemoryStore(), Decoder()
    for name in "abc":
        store.swap(f"bucket/{name}", b"1", expected_version=0)
    view = View(store, "bucket", decode)
    assert dict(view.all()) == {"a": 1, "b": 1, "c": 1}
    store.swap("bucket/b", b"5", expected_version=1)
    assert view.find("b") == 5
    assert decode.decoded == ["bucket/a", "bucket/b", "bucket/c", "bucket/b"]


def test_changes_of_other_areas_leave_the_copy_as_it_is() -> None:
    store, decode = MemoryStore(), Decoder()
    store.swap("bucket/a", b"1", expected_version=0)
    view = View(store, "bucket", decode)
    before = view.all()
    store.swap("job/a", b"not a number", expected_version=0)
    assert view.all() is before
    store.swap("bucket/b", b"2", expected_version=0)
    assert view.all() is not before
