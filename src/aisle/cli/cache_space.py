"""What `ais show storage` tells of the space that copies of remote objects take."""

from collections.abc import Mapping

import click

from aisle.cli import output
from aisle.client.space import Eviction, MountpathSpace, TargetSpace


def print_spaces(spaces: Mapping[str, TargetSpace], *, headers: bool) -> None:
    """Levels, what can be evicted, and the last eviction; of targets that ever kept such copies."""
    caches = {name: space for name, space in spaces.items() if space.is_cache}
    if not caches:
        return
    click.echo()
    columns = ["target", "mountpath", "used(%)", "evicts above", "down to", "keeps none above", "evictable"]
    output.Table(columns, headers=headers).add(
        (
            f"t[{name}]",
            path,
            f"{each.percent_used:.0f}%",
            f"{space.levels.high}%",
            f"{space.levels.low}%",
            f"{space.levels.full}%",
            f"{output.size_text(each.evictable)} ({output.count_text(each.evictable_objects, 'object')})",
        )
        for name, space in caches.items()
        for path, each in space.mountpaths.items()
    )
    for space in caches.values():
        if space.last_eviction is not None:
            click.echo(_eviction_text(space.last_eviction))


def spaces_json(space: TargetSpace) -> dict[str, object]:
    """The same of one target for programs."""
    last = space.last_eviction
    return {
        "levels": {
            "lowwm": space.levels.low,
            "highwm": space.levels.high,
            "out_of_space": space.levels.full,
        },
        "mountpaths": {path: _mountpath_json(each) for path, each in space.mountpaths.items()},
        "last_eviction": None
        if last is None
        else {
            "job": last.job,
            "started": last.started,
            "ended": last.ended,
            "objects": last.objects,
            "bytes": last.bytes,
            "aborted": last.aborted,
        },
    }


def _mountpath_json(each: MountpathSpace) -> dict[str, object]:
    return {
        "total": each.total,
        "used": each.used,
        "percent_used": each.percent_used,
        "leaving": each.leaving,
        "reusable": each.reusable,
        "evictable_objects": each.evictable_objects,
        "evictable": each.evictable,
    }


def _eviction_text(last: Eviction) -> str:
    what = f"{output.count_text(last.objects, 'object')} ({output.size_text(last.bytes)})"
    if last.ended is None:
        return f"Evicting now: {what} so far, job {last.job}"
    word = "stopped" if last.aborted else "ended"
    return f"Last eviction: {what}, {word} at {last.ended[:19]}Z, job {last.job}"
