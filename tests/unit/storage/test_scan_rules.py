"""The arithmetic of scans: what follows a prefix, and how pages of several indexes become one."""

from hypothesis import given
from hypothesis import strategies as st

from aisle.storage.engine import Entry, Page
from aisle.storage.scan import merged_page, successor

names = st.binary(min_size=1, max_size=6)


@given(prefix=names, name=names)
def test_the_successor_is_above_all_that_begin_so_and_nothing_lies_between(
    prefix: bytes, name: bytes
) -> None:
    above = successor(prefix)
    if above is None:
        assert prefix.strip(b"\xff") == b""
    elif name.startswith(prefix):
        assert name < above
    elif name > prefix:
        assert name >= above


class ListScan:
    """A scan of a list."""

    def __init__(self, entries: list[Entry]) -> None:
        self._left = sorted(entries)
        self.exhausted = False

    def take(self, limit: int) -> list[Entry]:
        """The next entries."""
        taken, self._left = self._left[:limit], self._left[limit:]
        self.exhausted = len(taken) < limit
        return taken


@given(
    lists=st.lists(
        st.dictionaries(names, st.binary(min_size=1, max_size=2), max_size=60), min_size=1, max_size=4
    ),
    limit=st.integers(1, 70),
)
def test_a_page_of_several_scans_has_each_name_once_in_order(
    lists: list[dict[bytes, bytes]], limit: int
) -> None:
    everything: dict[bytes, bytes] = {}
    for of_one in lists:
        for key, record in of_one.items():
            everything[key] = max(record, everything.get(key, b""))
    scans = [ListScan([Entry(key, record) for key, record in of_one.items()]) for of_one in lists]
    page = merged_page(scans, limit, max)  # type: ignore[arg-type]
    expected = [Entry(key, everything[key]) for key in sorted(everything)]
    if len(lists) == 1:
        expected = [Entry(key, lists[0][key]) for key in sorted(lists[0])]
    assert page == Page(expected[:limit], len(expected) > limit)


def test_scans_may_turn_out_to_be_at_their_ends() -> None:
    # Each has just as many names as it is asked for first: only the second round finds no more.
    limit = 70
    share = (limit + 1) // 2
    share += 3 * int(share**0.5) + 8
    entries = [Entry(b"%04d" % number, b"r") for number in range(share)]
    page = merged_page([ListScan(entries), ListScan(entries)], limit, max)  # type: ignore[arg-type]
    assert page == Page(entries, more=False)
