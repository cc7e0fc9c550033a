"""What a write requires of the object that it replaces, checked the same way by every engine."""

from aisle.errors import ConditionFailed
from aisle.model.record import Condition, Expect, Generation


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
