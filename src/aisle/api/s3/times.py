"""Times as S3's documents write them."""

from functools import lru_cache
from time import gmtime, strftime
from typing import Final

MILLISECONDS: Final = tuple(f".{number:03}Z" for number in range(1000))
"""How a time ends, by its milliseconds: looked up faster than it is written."""


@lru_cache(4096)
def second_text(seconds: int) -> str:
    """A Unix time up to its seconds: `2026-11-20T16:12:38`."""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def timestamp(time_ns: int) -> str:
    """A Unix time in nanoseconds as S3 shows it, in UTC: `2026-11-20T16:12:38.123Z`."""
    return second_text(time_ns // 1_000_000_000) + MILLISECONDS[time_ns // 1_000_000 % 1000]
