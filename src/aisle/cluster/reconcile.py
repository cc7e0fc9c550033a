"""Making the metadata copies of all mountpaths equal, once, before the node's processes start.

The most advanced copy wins as a whole, so a removed document cannot come back from an older one.
While the node ran, every acknowledged change was on all mountpaths of that run: a crash between
them leaves copies that differ by one change nobody was told of, and a mountpath that was away is
simply behind. Damaged documents are taken from another copy.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import lmdb

from aisle.cluster.documents import EMPTY, Damaged, Head
from aisle.cluster.replica import FOLDER, Replica, damaged_keys
from aisle.cluster.watch import Dated
from aisle.errors import StartError


class Reconciled(NamedTuple):
    """What `reconcile` found and did, for the log."""

    sequence: int
    """How many changes the store has seen."""
    rewritten: list[Path]
    """Mountpaths whose copy was replaced by the winner's."""
    set_aside: list[Path]
    """Copies that could not be read at all, where they were moved to."""
    restored: list[str]
    """Keys of damaged documents that were taken from another copy."""


class _Copy(NamedTuple):
    """A replica and what is in it."""

    replica: Replica
    head: Head
    damaged: list[str]


def reconcile(mountpaths: Sequence[Path], *, may_be_new: bool = True) -> Reconciled:
    """Create missing copies and make all equal; the caller holds the locks of the mountpaths.

    `may_be_new` says that a store without any change may be right. Raises StartError if a document is
    damaged in every copy, no copy can be read, or all are lost.
    """
    with ExitStack() as stack:
        found = [_survey(mountpath / FOLDER, stack) for mountpath in mountpaths]
        unreadable = [
            mountpath / FOLDER for mountpath, copy in zip(mountpaths, found, strict=True) if not copy
        ]
        # Nothing is moved before it is certain that another copy can stand in: the next start would
        # take what is left for a new and empty node.
        if all(copy.head == EMPTY for copy in found if copy):
            if unreadable:
                raise StartError(
                    f"the cluster metadata cannot be read: {', '.join(map(str, unreadable))}. "
                    "Restore it with `ais storage restore`"
                )
            if not may_be_new:
                lost = ", ".join(str(mountpath / FOLDER) for mountpath in mountpaths)
                raise StartError(
                    f"the cluster metadata is missing, though there are buckets: {lost}. Restore it with "
                    "`ais storage restore`; without a copy of it nobody knows what the buckets are called"
                )
        set_aside = [_set_aside(folder) for folder in unreadable]
        copies = [copy for copy in found if copy]
        copies += [_open(folder, stack) for folder in unreadable]
        # Among equally advanced copies an undamaged one saves the repair.
        winner = max(copies, key=lambda copy: (copy.head.sequence, not copy.damaged, copy.head.stamp))
        for key in winner.damaged:
            _restore(key, winner, copies)
        rewritten = [copy.replica for copy in copies if copy.head != winner.head or copy.damaged]
        rewritten = [replica for replica in rewritten if replica is not winner.replica]
        for replica in rewritten:
            with winner.replica.reading() as source, replica.writing() as target:
                target.become(source)
    folders = [replica.folder.parent for replica in rewritten]
    return Reconciled(winner.head.sequence, folders, set_aside, list(winner.damaged))


def _survey(folder: Path, stack: ExitStack) -> _Copy | None:
    """The copy in `folder`, made if there is none; None if it cannot be read."""
    try:
        return _open(folder, stack)
    except (lmdb.Error, Damaged):
        return None


def _open(folder: Path, stack: ExitStack) -> _Copy:
    folder.mkdir(mode=0o700, exist_ok=True)
    replica = Replica(folder, create=True)
    try:
        with replica.reading() as snapshot:
            copy = _Copy(replica, snapshot.head(), damaged_keys(snapshot))
    except (lmdb.Error, Damaged):
        replica.close()
        raise
    stack.callback(replica.close)
    return copy


def _set_aside(folder: Path) -> Path:
    aside = _free_name(folder)
    folder.rename(aside)
    return aside


def _restore(key: str, winner: _Copy, copies: Sequence[_Copy]) -> None:
    """Replace a damaged document by the latest intact one among the other copies."""
    intact: list[Dated] = []
    for copy in copies:
        if key not in copy.damaged:
            with copy.replica.reading() as snapshot:
                dated = snapshot.load(key)
            if dated:
                intact.append(dated)
    if not intact:
        raise StartError(
            f"cluster metadata {key} is damaged in {winner.replica.folder} and in every other copy: "
            "restore it with `ais storage restore`"
        )
    with winner.replica.writing() as snapshot:
        snapshot.restore(max(intact, key=lambda dated: dated.sequence))


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    return aside
