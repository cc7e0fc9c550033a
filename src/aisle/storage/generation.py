"""Generations: the identity of one write, and where its payload file lies.

A generation is 16 bytes: the incarnation of the process that wrote (4 bytes, never used again in a
data folder), a salt of its engine (4 bytes, against an incarnation counter that went back with a
restored backup) and a count (8 bytes, top bit set for payload files). It tells the file's folder, and
folders fill one after the other: a new folder costs a sync of its parent, so it comes once in a
thousand files.
"""

import os
import struct
from itertools import count

from aisle.model.record import Generation

INCARNATION_BYTES = 4
FILES_PER_FOLDER = 1024
COMMITTER_INCARNATION = bytes(INCARNATION_BYTES)
"""Whoever is the committer copies payloads under this one; workers have others."""

_FILE_BIT = 1 << 63
_PARTS = struct.Struct(">I4xQ")


class Generations:
    """Hands out the generations of one engine."""

    def __init__(self, incarnation: bytes) -> None:
        assert len(incarnation) == INCARNATION_BYTES
        self.incarnation = incarnation
        self._prefix = incarnation + os.urandom(4)
        self._inline = count()
        self._files = count(_FILE_BIT)

    def for_inline(self) -> Generation:
        """The next one for what lives in the index, or for an act that needs an identity."""
        return self._prefix + next(self._inline).to_bytes(8, "big")

    def for_file(self) -> Generation:
        """The next one for a payload file."""
        return self._prefix + next(self._files).to_bytes(8, "big")


def payload_folder(generation: Generation) -> str:
    """The folder of a payload file, relative to its mountpath: `data/ab/cd`."""
    incarnation, number = _PARTS.unpack(generation)
    # The multiplier (odd, so every folder gets its turn) spreads short-lived incarnations.
    folder = (incarnation * 40503 + (number & (_FILE_BIT - 1)) // FILES_PER_FOLDER) & 0xFFFF
    return f"data/{folder >> 8:02x}/{folder & 0xFF:02x}"


def payload_path(generation: Generation) -> str:
    """A payload file's path, relative to its mountpath: `data/ab/cd/GENERATION`."""
    return f"{payload_folder(generation)}/{generation.hex()}"


def draft_folder(incarnation: bytes) -> str:
    """The folder of one process' drafts, relative to its mountpath: `drafts/INCARNATION`."""
    return f"drafts/{incarnation.hex()}"
