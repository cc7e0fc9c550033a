"""Summaries of buckets: asked for once, then polled for until they are complete."""

import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import field

Ask = Callable[[str], tuple[int, bytes]]
"""Asks with an id, empty at first; the status and the body of the answer."""

_FIRST_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 2.0


class ObjectCount(msgspec.Struct, frozen=True):
    """How many objects; decimal strings on the wire."""

    present: str = field(name="obj_count_present", default="0")
    remote: str = field(name="obj_count_remote", default="0")


class ObjectSizes(msgspec.Struct, frozen=True):
    """Sizes of single objects, bytes."""

    smallest: int = field(name="obj_min_size", default=0)
    average: int = field(name="obj_avg_size", default=0)
    largest: int = field(name="obj_max_size", default=0)


class TotalSizes(msgspec.Struct, frozen=True):
    """Sizes together, bytes as decimal strings."""

    on_disk: str = field(name="size_on_disk", default="0")
    present: str = field(name="size_all_present_objs", default="0")
    remote: str = field(name="size_all_remote_objs", default="0")


class Namespace(msgspec.Struct, frozen=True):
    """Where else a bucket is: in which cluster, in which space of names; both empty for most."""

    uuid: str = ""
    name: str = ""


class BucketSummary(msgspec.Struct, frozen=True):
    """One bucket's summary, as the node tells it."""

    name: str
    provider: str = "ais"
    namespace: Namespace = Namespace()
    count: ObjectCount = field(name="ObjCount", default=ObjectCount())
    sizes: ObjectSizes = field(name="ObjSize", default=ObjectSizes())
    total: TotalSizes = field(name="TotalSize", default=TotalSizes())
    percent_used: int = field(name="used_pct", default=0)
    refusal: str = ""
    """Why its source could not be asked, where others were asked too."""


def poll(ask: Ask, *, pause: Callable[[float], None] = time.sleep) -> list[BucketSummary]:
    """Ask until the summaries are complete. Raises what asking raises, ValueError for a garbled answer."""
    _, job = ask("")
    pause_s = 0.0
    while True:
        if pause_s:
            pause(pause_s)
        status, body = ask(job.decode("ascii").strip().strip('"'))
        if status == 200:
            return msgspec.json.decode(body, type=list[BucketSummary])
        pause_s = min(_PAUSE_S_MAX, pause_s * 2 or _FIRST_PAUSE_S)
