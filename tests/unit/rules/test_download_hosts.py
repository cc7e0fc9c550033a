from aisle.rules.download_hosts import HostGate


def test_a_host_gets_so_many_requests_at_a_time() -> None:
    gate = HostGate(2)
    assert gate.opens_at_s("h", 5.0) == 5.0
    gate.enter("h")
    gate.enter("h")
    assert gate.opens_at_s("h", 5.0) is None
    assert gate.opens_at_s("other", 5.0) == 5.0
    gate.leave("h", answered=True)
    assert gate.opens_at_s("h", 6.0) == 6.0


def test_a_closed_host_opens_when_its_time_has_come() -> None:
    gate = HostGate(2)
    gate.close("h", 10.0)
    gate.close("h", 9.0)
    assert gate.opens_at_s("h", 5.0) == 10.0
    assert gate.opens_at_s("h", 10.0) == 10.0
    assert gate.opens_at_s("h", 5.0) == 5.0


def test_complaints_halve_and_answers_restore() -> None:
    gate = HostGate(8)
    for _ in range(8):
        gate.enter("h")
    for _ in range(8):  # one complaint, told by all that were on their way
        gate.close("h", 1.0)
        gate.leave("h", answered=False)
    assert _at_a_time(gate) == 4
    gate.close("h", 2.0)
    assert _at_a_time(gate) == 2
    for _ in range(4):
        gate.close("h", 3.0)
        assert gate.opens_at_s("h", 3.0) == 3.0
    assert _at_a_time(gate) == 1
    for _ in range(100):
        gate.enter("h")
        gate.leave("h", answered=True)
    assert _at_a_time(gate) == 8


def _at_a_time(gate: HostGate) -> int:
    entered = 0
    while gate.opens_at_s("h", 100.0) is not None:
        gate.enter("h")
        entered += 1
    for _ in range(entered):
        gate.leave("h", answered=False)
    return entered


def test_servers_without_ranges_are_remembered_each() -> None:
    gate = HostGate(4)
    gate.note_without_ranges("a:80")
    assert not gate.gives_ranges("a:80")
    assert gate.gives_ranges("b:80")


def test_not_more_servers_are_remembered_than_there_is_room_for() -> None:
    gate = HostGate(4)
    for number in range(10_001):
        gate.note_without_ranges(f"h{number}:80")
    assert not gate.gives_ranges("h10000:80")
    assert gate.gives_ranges("h0:80")
