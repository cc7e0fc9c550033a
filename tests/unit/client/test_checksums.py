"""Checksums that the client computes are those that a node computes."""

import pytest

from aisle.client.checksums import hasher
from aisle.model.sections import CHECKSUM_TYPES
from aisle.storage.hashing import hex_digest


@pytest.mark.parametrize("kind", [kind for kind in CHECKSUM_TYPES if kind != "none"])
def test_both_ends_compute_the_same(kind: str) -> None:
    digest = hasher(kind)
    assert digest is not None
    digest.update(b"hello ")
    digest.update(memoryview(b"world"))
    assert digest.hexdigest() == hex_digest(kind, b"hello world")


def test_an_unknown_kind_is_left_to_the_node() -> None:
    assert hasher("md6") is None
