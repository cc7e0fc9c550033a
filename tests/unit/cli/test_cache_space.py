"""What `ais show storage` tells of copies of remote objects."""

import json

import msgspec
import pytest

from aisle.cli.cache_space import print_spaces, spaces_json
from aisle.client.space import TargetSpace

MOUNTPATH = {
    "total": 1000,
    "used": 910,
    "percent_used": 91.0,
    "leaving": 5,
    "reusable": 6,
    "evictable_objects": 3,
    "evictable": 2048,
}
EVICTION = {
    "job": "x1",
    "started": "2026-11-21T20:39:02.367317726Z",
    "ended": "2026-11-21T20:39:05.380322394Z",
    "objects": 51,
    "bytes": 13_540_428,
    "aborted": False,
}
LEVELS = {"lowwm": 75, "highwm": 90, "out_of_space": 95}


def space(
    *, mountpath: dict[str, object] | None = None, last: dict[str, object] | None = None
) -> TargetSpace:
    told = {"levels": LEVELS, "mountpaths": {"/mnt/1": mountpath or MOUNTPATH}, "last_eviction": last}
    return msgspec.json.decode(json.dumps(told).encode(), type=TargetSpace)


def shown(capsys: pytest.CaptureFixture[str], found: TargetSpace) -> list[list[str]]:
    print_spaces({"t1": found}, headers=True)
    return [line.split() for line in capsys.readouterr().out.splitlines() if line]


def test_levels_and_what_can_go_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _, row = shown(capsys, space())
    assert row == ["t[t1]", "/mnt/1", "91%", "90%", "75%", "95%", "2.00KiB", "(3", "objects)"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Last eviction: 51 objects (12.91MiB), ended at 2026-11-21T20:39:05Z, job x1"),
        ({"aborted": True}, "Last eviction: 51 objects (12.91MiB), stopped at 2026-11-21T20:39:05Z, job x1"),
        ({"ended": None, "objects": 1}, "Evicting now: 1 object (12.91MiB) so far, job x1"),
    ],
)
def test_the_last_eviction_is_told(
    capsys: pytest.CaptureFixture[str], changes: dict[str, object], text: str
) -> None:
    assert shown(capsys, space(last=EVICTION | changes))[-1] == text.split()


def test_of_a_node_without_copies_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, space(mountpath=MOUNTPATH | {"evictable_objects": 0, "evictable": 0})) == []


def test_programs_get_all_of_it() -> None:
    told = spaces_json(space(last=EVICTION))
    assert told == {"levels": LEVELS, "mountpaths": {"/mnt/1": MOUNTPATH}, "last_eviction": EVICTION}
    assert spaces_json(space())["last_eviction"] is None
