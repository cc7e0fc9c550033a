"""JSON that clients send: parsed as forgivingly as AIStore does.

Keys are matched in any case, unknown ones are ignored, null means absent, decimal strings count as
numbers (ais-native-api.md §0).
"""

from typing import TypeVar

import msgspec

from aisle.errors import BadRequest
from aisle.model.trees import converted

_S = TypeVar("_S", bound=msgspec.Struct)


class ActionMessage(msgspec.Struct, frozen=True):
    """What a request asks for: `{"action", "name", "value"}`."""

    action: str = ""
    name: str = ""
    value: object = None


def parse_message(body: bytes, method: str, *, may_be_absent: bool = False) -> ActionMessage:
    """The action message of a body; an empty one if there is none and that is allowed.

    Raises BadRequest.
    """
    if may_be_absent and not body.strip():
        return ActionMessage()
    return parse_struct(body, ActionMessage, what=f"action message ({method})")


def parse_struct(body: bytes, kind: type[_S], *, what: str) -> _S:
    """A body as a struct; `what` names it in the message of the BadRequest that may be raised."""
    if not body.strip():
        raise BadRequest(f"failed to unmarshal [{what}], err: EOF (the body is empty)")
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"failed to unmarshal [{what}], err: {error}") from error
    return parse_value([] if tree is None else tree, kind, what=what)


def parse_value(tree: object, kind: type[_S], *, what: str) -> _S:
    """Parsed JSON as a struct; None, which stands for a value that is absent, as an empty one.

    Raises BadRequest.
    """
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise BadRequest(f"failed to unmarshal [{what}], err: expected an object")
    lowered = {str(key).lower(): value for key, value in tree.items() if value is not None}
    return converted(lowered, kind)
