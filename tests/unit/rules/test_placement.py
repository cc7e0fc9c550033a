"""Placement agrees with AIStore's own vectors and moves as little as it must."""

import pytest
from aistore.sdk.utils import get_digest, xoshiro256_hash
from hypothesis import given
from hypothesis import strategies as st

from aisle.rules.placement import digest, mix, owner, ranking

NODE_DIGESTS = {"t1": 14214570646889990061, "t2": 17780131176456335389, "t3": 7900451649967436292}
OBJECTS = [
    ("ais/@#/mybck/obj1", 13584599112836099050, "t1"),
    ("ais/@#/mybck/dir/obj 2", 4361160332084947889, "t2"),
    ("aws/@#/data/x", 3303525472223976647, "t3"),
]

digests = st.integers(min_value=0, max_value=2**64 - 1)


@pytest.mark.parametrize(("value", "mixed"), [(0, 1905207664160064169), (4573842, 5026071747115404967)])
def test_mix_matches_the_recorded_vectors(value: int, mixed: int) -> None:
    assert mix(value) == mixed


@pytest.mark.parametrize("node", NODE_DIGESTS)
def test_node_digests_match_the_recorded_vectors(node: str) -> None:
    assert digest(node.encode()) == NODE_DIGESTS[node]


@pytest.mark.parametrize(("uname", "name_digest", "target"), OBJECTS)
def test_objects_go_to_the_recorded_targets(uname: str, name_digest: int, target: str) -> None:
    assert digest(uname.encode()) == name_digest
    assert list(NODE_DIGESTS)[owner(name_digest, list(NODE_DIGESTS.values()))] == target


@given(value=digests, text=st.text())
def test_the_sdk_computes_the_same(value: int, text: str) -> None:
    assert mix(value) == xoshiro256_hash(value)
    assert digest(text.encode()) == get_digest(text)


@given(name=digests, candidates=st.lists(digests, min_size=1, max_size=8))
def test_the_owner_leads_the_ranking_and_the_ranking_holds_everyone(name: int, candidates: list[int]) -> None:
    order = ranking(name, candidates)
    assert order[0] == owner(name, candidates)
    assert sorted(order) == list(range(len(candidates)))


@given(name=digests, candidates=st.lists(digests, min_size=2, max_size=8, unique=True), gone=st.data())
def test_losing_a_candidate_moves_only_what_it_owned(
    name: int, candidates: list[int], gone: st.DataObject
) -> None:
    before = candidates[owner(name, candidates)]
    lost = gone.draw(st.sampled_from(candidates))
    rest = [candidate for candidate in candidates if candidate != lost]
    after = rest[owner(name, rest)]
    assert after == before or before == lost


def test_names_spread_evenly_over_mountpaths() -> None:
    mountpaths = [digest(f"mountpath-{number}".encode()) for number in range(4)]
    counts = [0] * 4
    for number in range(8000):
        counts[owner(digest(f"ais/@#/data/object-{number}".encode()), mountpaths)] += 1
    assert min(counts) > 1800
    assert max(counts) < 2200
