"""What objects of remote buckets and their copies remember, and when two are the same."""

import pytest

from aisle.backends.provider import RemoteObject
from aisle.model.record import Attributes
from aisle.rules.remote_metadata import agree, copied_custom, is_same, known_digests, user_metadata


def kept(**custom: str) -> Attributes:
    return Attributes(custom=custom)


@pytest.mark.parametrize(
    ("attributes", "told", "same"),
    [
        (kept(ETag="e", version="v1"), RemoteObject("k", 3, etag="e", version="v1"), True),
        (kept(ETag="e", version="v1"), RemoteObject("k", 3, etag="e", version="v2"), False),
        # A listing that tells no versions has the entity tag in their place.
        (kept(ETag="e", version="v1"), RemoteObject("k", 3, etag="e", version="e"), True),
        (kept(ETag="e", version="e"), RemoteObject("k", 3, etag="f", version="f"), False),
        (kept(ETag="e"), RemoteObject("k", 4, etag="e"), False),
        (kept(), RemoteObject("k", 3, etag="e"), False),
        (Attributes(digests={"md5": "a"}), RemoteObject("k", 3, digests={"md5": "a"}), True),
        (Attributes(digests={"md5": "a"}), RemoteObject("k", 3, digests={"md5": "b"}), False),
    ],
)
def test_an_object_is_the_same_if_nothing_that_both_know_differs(
    attributes: Attributes, told: RemoteObject, same: bool
) -> None:
    assert is_same(attributes, 3, told) is same


def test_a_copy_keeps_what_its_source_told_and_of_the_rest_what_fits() -> None:
    told = RemoteObject(
        "k",
        3,
        version="7",
        etag="e",
        modified_ns=1_795_191_267_000_000_000,
        digests={"md5": "a" * 32},
        custom={"color": "red", "odd": "a\nb", "long": "x" * 2000},
    )
    custom = copied_custom(told, "aws")
    assert {"source", "ETag", "version", "md5", "LastModified", "Last-Modified"} <= custom.keys()
    assert custom["X-Amz-Meta-Color"] == "red"
    assert not {"X-Amz-Meta-Odd", "X-Amz-Meta-Long"} & custom.keys()
    assert sum(len(name) + len(value) for name, value in custom.items()) <= 2048


def test_what_tells_where_an_object_came_from_does_not_go_on_with_it() -> None:
    assert user_metadata(kept(source="aws", ETag="e", color="red", orig_url="http://h/x")) == {"color": "red"}
    assert user_metadata(Attributes(custom={"source": "aws"}, user={"a": "b"})) == {"a": "b"}
    assert user_metadata(RemoteObject("k", 3, custom={"source": "web", "a": "b"})) == {"a": "b"}


def test_digests_agree_only_if_there_are_some_of_one_kind() -> None:
    attributes = Attributes(checksum_type="xxhash2", checksum_value="1", digests={"md5": "A"})
    assert known_digests(attributes) == {"xxhash2": "1", "md5": "A"}
    assert agree(known_digests(attributes), {"md5": "a", "crc32c": "2"})
    assert not agree(known_digests(attributes), {"crc32c": "2"})
    assert not agree(known_digests(attributes), {"md5": "a", "xxhash2": "2"})
    assert not agree({}, {})
