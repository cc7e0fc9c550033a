"""Claims on what is fetched, as one process sees them; several: tests/compat/test_remote_faults.py."""

import os
from collections.abc import Iterator

import pytest

from aisle.model.names import ObjectName
from aisle.target.claims import Claims, create_shared

A, B = ObjectName(1, b"a"), ObjectName(1, b"b")


@pytest.fixture
def claims() -> Iterator[Claims]:
    made = Claims(create_shared())
    yield made
    made.close()


def test_one_name_has_one_place_until_it_is_out_of_date(claims: Claims) -> None:
    place = claims.place(A)
    assert place == claims.place(A)
    assert len({place, claims.place(B), claims.place(ObjectName(2, b"a"))}) == 3
    claims.outdate(A)
    assert claims.place(A) != place
    again = claims.place(A)
    claims.outdate(A)
    assert claims.place(A) not in (place, again)


def test_places_cannot_be_guessed(claims: Claims) -> None:
    other = Claims(create_shared())
    assert other.place(A) != claims.place(A)
    other.close()


def test_a_claim_is_taken_once_and_given_back(claims: Claims) -> None:
    place = claims.place(A)
    assert claims.holder(place) == 0
    assert claims.take(place)
    assert claims.holder(place) == os.getpid()
    assert not claims.take(place)
    assert claims.take(claims.place(B))
    claims.release(place)
    assert claims.holder(place) == 0
    assert claims.holder(claims.place(B)) == os.getpid()
    assert claims.take(place)
