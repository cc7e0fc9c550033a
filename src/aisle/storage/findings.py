"""What a check of mountpaths can find, as values."""

from enum import Enum
from pathlib import Path
from typing import NamedTuple

from aisle.model.names import ObjectName
from aisle.model.record import Generation


class FindingKind(Enum):
    """Kinds of damage and disorder."""

    LOST_INDEX = "lost index"
    """The index is missing or cannot be read. Repair: rebuilt from the trailers of payload files."""
    DAMAGED_RECORD = "damaged record"
    """An index entry that is no record. Repair: removed."""
    MISSING_FILE = "missing file"
    """A payload file that a record or a part refers to is not there, or too short. Repair: record removed."""
    DAMAGED_FILE = "damaged file"
    """A payload file's bytes are not what was stored. Repair: record removed, file to quarantine."""
    DAMAGED_TRAILER = "damaged trailer"
    """A payload file is whole, but not what describes it behind the payload. Repair: written again."""
    DAMAGED_SMALL = "damaged small payload"
    """A small payload's bytes are not what was stored. Repair: record removed."""
    ORPHAN_FILE = "orphan file"
    """A file in `data` that nothing refers to. Repair: taken up if its trailer names an object that is
    not there; otherwise to quarantine."""
    ORPHAN_PIECES = "orphan pieces"
    """Bytes of small payloads that no record refers to. Repair: removed."""
    ABANDONED_DRAFT = "abandoned draft"
    """A payload that a process was writing when it died. Repair: swept, as at every start."""
    WRONG_COUNTS = "wrong counts"
    """A bucket's totals are not those of its objects. Repair: corrected."""
    MISPLACED = "misplaced object"
    """An object lies elsewhere than on its owner although all should be settled. Repair: the next start
    moves it."""


class Finding(NamedTuple):
    """One thing that was found on one mountpath."""

    kind: FindingKind
    mountpath: Path
    detail: str
    name: ObjectName | None = None
    """The object concerned, if it is one."""
    generation: Generation | None = None
    """The payload concerned, if it is one."""
    action: str = ""
    """What was done about it; empty if it was reported only."""


class Report(NamedTuple):
    """The outcome of a check."""

    findings: list[Finding]
    objects: int
    bytes: int
    """Payload bytes of the objects that were checked."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong, or everything was put right."""
        return all(finding.action for finding in self.findings)
