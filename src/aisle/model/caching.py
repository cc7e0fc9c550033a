"""How objects of remote buckets are kept here, as properties of the bucket say."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from aisle.model.quantities import size_bytes

_ALWAYS: Final = "always"
_NEVER: Final = "never"
FILL_RANGES: Final = "4GiB"
"""The default: a look into a file of any usual size brings all of it, the end of a huge one does not."""


class CacheProperties(Struct, frozen=True, omit_defaults=True):
    """How objects of a remote bucket are kept here; members that are as usual are not shown."""

    fill_ranges: str = FILL_RANGES
    """Whether a read of a part brings the whole object: `always`, `never`, or up to this size."""
    serve_stale: bool = False
    """Whether what is here is served when its source cannot be asked if it is still the same."""

    def mistakes(self) -> Iterator[str]:
        """What is neither a word nor a size."""
        text = self.fill_ranges
        if text not in (_ALWAYS, _NEVER) and size_bytes(text) is None:
            yield f'cache.fill_ranges: "{text}" is not always, never or a size such as 512MiB'

    def fills(self, size: int) -> bool:
        """Whether a read of a part brings all of an object of `size` bytes."""
        if self.fill_ranges in (_ALWAYS, _NEVER):
            return self.fill_ranges == _ALWAYS
        return size <= (size_bytes(self.fill_ranges) or 0)


USUAL: Final = CacheProperties()
