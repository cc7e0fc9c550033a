"""How busy the machine is, told from the kernel's counters."""

import os
from pathlib import Path

import pytest

from aisle.gateway.activity import Activity, DiskRates, FileSystem


class Machine:
    """A kernel that tells what the test sets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_s = 100.0
        number = os.stat(root).st_dev
        self.device = f"{os.major(number)}:{os.minor(number)}"
        partition = root / "sys" / "devices" / "vda" / "vda1"
        partition.mkdir(parents=True)
        (partition / "partition").write_text("1\n")
        (root / "sys" / "dev" / "block").mkdir(parents=True)
        (root / "sys" / "dev" / "block" / self.device).symlink_to(partition)
        (root / "proc" / "self").mkdir(parents=True)
        (root / "proc" / "self" / "mountinfo").write_text(
            f"20 1 0:21 / /proc rw shared:5 - proc proc rw\n30 1 {self.device} / / rw - ext4 /dev/vda1 rw\n"
        )
        self.set([0] * 11, [0] * 10)

    def set(self, disk: list[int], processors: list[int]) -> None:
        numbers = " ".join(map(str, disk))
        (self.root / "proc" / "diskstats").write_text(
            f" 254 0 vda {numbers} 0\n 254 1 vda1 9 9 9 9 9 9 9 9 9 9 9\n 7 0 loop0 {numbers}\n"
        )
        (self.root / "proc" / "stat").write_text(f"cpu  {' '.join(map(str, processors))}\ncpu0 1 2 3\n")

    def activity(self) -> Activity:
        return Activity([str(self.root)], clock_s=lambda: self.now_s, root=self.root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_mountpath_is_on_a_disk_also_by_a_partition(machine: Machine) -> None:
    assert machine.activity().file_systems == {str(machine.root): FileSystem("/dev/vda1", "ext4", "vda")}


def test_rates_are_those_between_two_looks(machine: Machine) -> None:
    activity = machine.activity()
    machine.now_s += 2
    # reads, merged, sectors, ms; writes, merged, sectors, ms; in flight, busy ms, weighted
    machine.set([10, 0, 80, 5, 4, 0, 4096, 7, 0, 500, 0], [30, 0, 10, 50, 10, 0, 0, 0, 0, 0])
    assert activity.disks() == {"vda": DiskRates(20_480, 4096, 1_048_576, 524_288, 25)}
    assert activity.processors_percent() == 40


def test_looks_that_are_near_each_other_count_as_one(machine: Machine) -> None:
    activity = machine.activity()
    machine.now_s += 2
    machine.set([10, 0, 80, 5, 4, 0, 4096, 7, 0, 500, 0], [0] * 10)
    first = activity.disks()
    machine.now_s += 0.5
    machine.set([99] * 11, [0] * 10)
    assert activity.disks() == first
    machine.now_s += 0.5
    assert activity.disks() != first


def test_before_there_are_two_looks_nothing_was_done(machine: Machine) -> None:
    activity = machine.activity()
    assert activity.disks() == {"vda": DiskRates(0, 0, 0, 0, 0)}
    assert activity.processors_percent() == 0


def test_where_the_kernel_tells_nothing_nothing_is_told(tmp_path: Path) -> None:
    activity = Activity([str(tmp_path), "/nonexistent"], root=tmp_path)
    assert activity.disks() == {}
    assert activity.processors_percent() == 0
    assert activity.file_systems["/nonexistent"] == FileSystem()
