"""Times as S3's documents write them."""

from functools import lru_cache
from time import gmtime, strftime


@lru_cache(4096)
def second_text(seconds: int) -> str:
    """A Unix time up to its seconds: `2026-11-20T16:12:38`."""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


def timestamp(time_ns: int) -> str:
    """A Unix time in nanoseconds as S3 shows it, in UTC: `2026-11-20T16:12:38.123Z`."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{second_text(seconds)}.{rest // 1_000_000:03}Z"
