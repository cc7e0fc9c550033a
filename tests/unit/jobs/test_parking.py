"""Items that wait for their servers: which of them may start, and when to look again."""

from typing import cast

from aisle.jobs.item import ItemDownload
from aisle.jobs.parking import PARKED_MAX, Parking, earliest
from aisle.rules.download_hosts import HostGate


class Waiting:
    """As much of an item as its place in the queue needs."""

    def __init__(self, host: str) -> None:
        self.host = host


def item(host: str) -> ItemDownload:
    return cast("ItemDownload", Waiting(host))


def test_an_item_whose_server_can_be_asked_does_not_wait() -> None:
    parking, first = Parking(HostGate(1)), item("a")
    assert parking.pick(first, 0.0) == (first, None)
    assert parking.count == 0
    assert parking.take(0.0) == (None, None)


def test_items_of_one_server_wait_in_order_and_those_of_others_go_ahead() -> None:
    hosts = HostGate(1)
    parking = Parking(hosts)
    hosts.enter("a")
    first, second, other = item("a"), item("a"), item("b")
    assert parking.pick(first, 0.0) == (None, None)
    hosts.leave("a", answered=True)
    assert parking.pick(second, 0.0)[0] is None  # not before the one that came first
    assert parking.pick(other, 0.0) == (other, None)
    assert list(parking) == [first, second]
    assert parking.take(0.0) == (first, None)
    hosts.enter("a")
    assert parking.take(0.0) == (None, None)
    hosts.leave("a", answered=True)
    assert parking.take(0.0) == (second, None)
    assert parking.count == 0


def test_servers_take_turns() -> None:
    hosts = HostGate(9)
    parking = Parking(hosts)
    for host in "ab":
        hosts.close(host, 5.0)
    items = [item(host) for host in "aabb"]
    assert {parking.pick(each, 0.0)[1] for each in items} == {5.0}
    assert parking.take(1.0) == (None, 5.0)
    assert [parking.take(5.0)[0] for _ in items] == [items[0], items[2], items[1], items[3]]


def test_the_next_look_is_when_the_first_server_opens() -> None:
    hosts = HostGate(1)
    parking = Parking(hosts)
    for host, until_s in (("a", 7.0), ("b", 3.0)):
        hosts.close(host, until_s)
        parking.pick(item(host), 0.0)
    hosts.enter("c")
    assert parking.pick(item("c"), 0.0) == (None, None)
    assert parking.take(0.0) == (None, 3.0)
    assert (earliest(None, 1.0), earliest(2.0, None), earliest(2.0, 1.0)) == (1.0, 2.0, 1.0)
    assert earliest(None, None) is None


def test_only_so_many_are_looked_at() -> None:
    hosts = HostGate(1)
    parking = Parking(hosts)
    hosts.enter("a")
    for _ in range(PARKED_MAX):
        assert parking.count < PARKED_MAX
        parking.pick(item("a"), 0.0)
    assert parking.count == PARKED_MAX
    parking.clear()
    assert parking.count < PARKED_MAX
    assert list(parking) == []
