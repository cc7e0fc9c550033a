"""How full the disks are and what of them copies of remote objects take: `what=space`, our own question.

AIStore has no counterpart: its clients read `what=disk` and the fill levels in the configuration.
"""

import asyncio
from typing import Final

import msgspec

from aisle.api.gate import Action
from aisle.api.native.jobs import wire_time
from aisle.api.router import Elements, Route
from aisle.gateway.information import NodeIdentity
from aisle.gateway.space import MountpathSpace, SpaceReport
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard, BulkStatus
from aisle.model.bulk import EVICTION

_JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")


class SpaceVerbs:
    """Handler of the question how the space is."""

    def __init__(self, report: SpaceReport, board: BulkBoard, identity: NodeIdentity) -> None:
        self._report = report
        self._board = board
        self._identity = identity

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        return [Route("GET", "/v1/cluster", Action.SHOW_CLUSTER, self.space, "what=space")]

    async def space(self, _request: Request, _elements: Elements) -> Response:
        """Used space, what of it can go, and the last eviction; by target. Sizes in bytes."""
        mountpaths = await asyncio.to_thread(self._report.mountpaths)
        levels = self._report.levels()
        told = {
            "levels": {
                "lowwm": levels.lowwm,
                "highwm": levels.highwm,
                "out_of_space": levels.out_of_space,
            },
            "mountpaths": {each.path: _mountpath(each) for each in mountpaths},
            "last_eviction": self._last_eviction(),
        }
        return Response(200, [_JSON_TYPE], msgspec.json.encode({self._identity.target_id: told}) + b"\n")

    def _last_eviction(self) -> dict[str, object] | None:
        """The last job that evicted something, or one that is at it."""
        jobs = [status for status in self._board.all() if status.record.kind == EVICTION]
        for status in reversed(jobs):
            if status.progress.objects or not status.done_ns:
                return _eviction(status)
        return None


def _mountpath(space: MountpathSpace) -> dict[str, object]:
    usage = space.usage
    return {
        "total": usage.total,
        "used": usage.used,
        "percent_used": round(usage.percent, 2),
        "leaving": usage.leaving,
        "reusable": usage.reusable,
        "evictable_objects": space.evictable.objects,
        "evictable": space.evictable.bytes,
    }


def _eviction(status: BulkStatus) -> dict[str, object]:
    record, progress = status.record, status.progress
    return {
        "job": record.id,
        "started": wire_time(record.started_ns),
        "ended": wire_time(status.done_ns) if status.done_ns else None,
        "objects": progress.objects,
        "bytes": progress.bytes,
        "aborted": status.is_aborted,
    }
