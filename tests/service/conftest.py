"""A node in memory for every test of this folder."""

from collections.abc import Iterator

import pytest

from service.calling import Native


@pytest.fixture
def native() -> Iterator[Native]:
    """A node with one bucket, `b`."""
    node = Native()
    node.bucket("b")
    yield node
    node.close()
