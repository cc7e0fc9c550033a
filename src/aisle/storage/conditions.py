"""What a write requires and takes over of the object that it replaces, the same way in every engine."""

import msgspec

from aisle.errors import ConditionFailed
from aisle.model.record import COUNTED, Attributes, Condition, Expect, Generation
from aisle.rules.versions import next_version


def counted(attributes: Attributes, replaced: str) -> Attributes:
    """The attributes as they are stored, `replaced` being the version of the object before."""
    if attributes.version != COUNTED:
        return attributes
    return msgspec.structs.replace(attributes, version=next_version(replaced))


def require(condition: Condition, current: Generation | None) -> None:
    """Check a condition against the current generation, None when there is no object.

    Raises ConditionFailed.
    """
    if condition.expect is Expect.ABSENT and current is not None:
        raise ConditionFailed("the object exists already")
    if condition.expect is Expect.PRESENT and current is None:
        raise ConditionFailed("the object does not exist")
    if condition.generation is not None and condition.generation != current:
        raise ConditionFailed("the object is not, or no longer, the required one")
