"""Time spans and sizes as AIStore's documents write them: `2h45m`, `256KiB`.

They are kept as they were given; what needs a number asks here.
"""

import re
from typing import Annotated, Final

from msgspec import Meta

Duration = Annotated[str, Meta(description="a time span such as 30s, 2h45m, 100ms")]
"""A time span in Go's notation."""
Size = Annotated[str, Meta(description="a size such as 256KiB, 1GiB, 0B")]
"""A size in bytes: a number, or one with a unit; `KiB` is 1,024 bytes and `KB` 1,000."""
Bits = Annotated[str, Meta(description="an unsigned number of 64 bits")]
"""64 bits as a decimal string, because JSON numbers hold so many only by luck."""

BITS_MAX: Final = 2**64 - 1
_CHARACTERS_MAX: Final = 40
"""Longer texts are not amounts of anything that there is."""

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|h|m|s))+|0")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|h|m|s)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(i?)B?|B)?", re.IGNORECASE)


def duration_s(text: str) -> float | None:
    """The seconds of a time span, or None if the text is none."""
    if len(text) > _CHARACTERS_MAX or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def size_bytes(text: str) -> int | None:
    """The bytes of a size, or None if the text is none."""
    found = _SIZE.fullmatch(text.strip()) if len(text) <= _CHARACTERS_MAX else None
    if not found:
        return None
    number, unit, binary = found.groups()
    # A unit of one letter counts in steps of 1,024, as AIStore has it.
    base = 1000 if unit and not binary and text.strip()[-1] in "bB" else 1024
    return int(float(number) * base ** " KMGTP".index((unit or " ").upper()))


def bits(text: str) -> int | None:
    """The number of 64 bits that a decimal string is, or None."""
    value = int(text) if len(text) <= _CHARACTERS_MAX and text.isascii() and text.isdecimal() else -1
    return value if 0 <= value <= BITS_MAX else None
