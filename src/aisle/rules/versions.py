"""AIStore's versions: a counter of the writes of one object."""

from typing import Final

FIRST: Final = "1"
"""The version of an object that replaces none."""


def next_version(replaced: str) -> str:
    """The version that counts on; what is no number (a remote source's version) starts anew."""
    return str(int(replaced) + 1) if replaced.isascii() and replaced.isdecimal() else FIRST
