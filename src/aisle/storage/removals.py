"""What was removed lately: for writes that were begun earlier, and must not bring it back.

Who fetches an object notes the place in the committer's order before it asks the source. Its commit says
that place, and is refused if the name was removed behind it: the bytes may be older than the removal.
Only removals that ask for it are remembered, those of copies of remote objects.
"""

from typing import Final

from aisle.errors import ConditionFailed

REMEMBERED_MAX: Final = 16_384
"""Names that are remembered one by one; when there are more, all of them count as removed just now."""


class Removals:
    """The committer's memory of removals, over all mountpaths. Places are those of its order."""

    def __init__(self, *, remembered_max: int = REMEMBERED_MAX) -> None:
        self._remembered_max = remembered_max
        self._places: dict[bytes, int] = {}
        self._forgotten = 0

    def begin(self, place: int) -> None:
        """Whatever was removed up to a place is not known: an earlier committer did it."""
        self._forgotten = max(self._forgotten, place)

    def remember(self, packed: bytes, place: int) -> None:
        """A name is removed, at this place."""
        if len(self._places) >= self._remembered_max:
            self._places.clear()
            self._forgotten = place
        self._places[packed] = place

    def require_none(self, packed: bytes, since: int) -> None:
        """Raise ConditionFailed if a name may have been removed behind the place `since`."""
        if since < max(self._forgotten, self._places.get(packed, 0)):
            raise ConditionFailed("the object was removed meanwhile")
