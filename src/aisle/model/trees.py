"""Documents with a fixed shape, and partial ones laid over them.

AIStore's clients change a bucket's properties or the configuration by sending the same tree with only
the members to be changed: an absent or null member stays as it is (ais-native-api.md §4.2).
"""

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Protocol, TypeVar, get_args, runtime_checkable

import msgspec
from msgspec import Struct

from aisle.errors import BadRequest
from aisle.model.quantities import Bits, Duration, Size, bits, duration_s, size_bytes

Tree = dict[str, object]
S = TypeVar("S", bound=Struct)


@runtime_checkable
class Section(Protocol):
    """A struct that knows more about its values than their types say."""

    def mistakes(self) -> Iterable[str]:
        """What is wrong with its values, in words for users."""


def converted(tree: object, kind: type[S]) -> S:
    """Parsed JSON as a struct, decimal strings taken for numbers. Raises BadRequest."""
    try:
        return msgspec.convert(tree, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"invalid value: {error}") from error


def overlaid(base: S, changes: Tree) -> S:
    """`base` with the members of `changes` laid over it; absent and null ones stay.

    Raises BadRequest for an unknown member or a value that cannot be, all mistakes at once.
    """
    before, asked, kind = msgspec.to_builtins(base), normalized(changes, type(base)), type(base)
    try:
        result = converted(laid_over(before, asked), kind)
    except BadRequest as error:
        # A conversion ends at its first mistake, and tells it in the words of programmers.
        raise BadRequest("; ".join(_wrong_leaves(before, asked, kind)) or str(error)) from error
    if found := list(_mistakes(result, "")):
        raise BadRequest("; ".join(found))
    return result


def normalized(changes: Tree, kind: type[Struct], path: str = "") -> Tree:
    """The same changes with members spelled as `kind` spells them, and null ones left out.

    Raises BadRequest for an unknown member, or a section that is no object.
    """
    known = {field.encode_name.lower(): field for field in msgspec.structs.fields(kind)}
    result: Tree = {}
    for given, value in changes.items():
        # JSON keys are matched in any case, as AIStore does.
        field = known.get(str(given).lower())
        if field is None:
            within = f" (in {path[:-1]})" if path else ""
            raise BadRequest(f"found unknown field: {given}{within}")
        name, inner = field.encode_name, _section(field.type)
        if value is None:
            continue
        if inner is not None:
            if not isinstance(value, dict):
                raise BadRequest(f"{path}{name}: expected an object")
            result[name] = normalized(value, inner, f"{path}{name}.")
        elif field.type == Bits and isinstance(value, int) and not isinstance(value, bool):
            result[name] = str(value)
        else:
            result[name] = value
    return result


def laid_over(base: Tree, changes: Tree) -> Tree:
    """Normalized changes on top of earlier ones."""
    result = dict(base)
    for name, value in changes.items():
        below = result.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        result[name] = laid_over(below, value) if both else value  # type: ignore[arg-type]
    return result


def tree_of(pairs: Iterable[tuple[str, object]]) -> Tree:
    """The tree that flat pairs mean: `checksum.type`, `md5` is `{"checksum": {"type": "md5"}}`.

    Raises BadRequest for a name that is empty, or a section and a value at the same time.
    """
    result: Tree = {}
    for dotted, value in pairs:
        *sections, name = dotted.split(".")
        below = result
        for section in sections:
            inner = below.setdefault(section, {})
            if not isinstance(inner, dict):
                raise BadRequest(f'"{dotted}": {section} is a value, not a section')
            below = inner
        if not all((*sections, name)):
            raise BadRequest(f'"{dotted}" is not the name of a property')
        if isinstance(below.get(name), dict):
            raise BadRequest(f'"{dotted}" is a section, not a value')
        below[name] = value
    return result


def leaf_names(kind: type[Struct], path: str = "") -> list[str]:
    """The dotted names of all leaves that a tree of this kind can have, in its order."""
    result: list[str] = []
    for field in msgspec.structs.fields(kind):
        name, inner = f"{path}{field.encode_name}", _section(field.type)
        if inner is not None:
            result += leaf_names(inner, f"{name}.")
        else:
            result.append(name)
    return result


def flat(tree: Tree, path: str = "") -> dict[str, object]:
    """The leaves of a tree by their dotted names, in its order."""
    result: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            result |= flat(value, f"{path}{name}.")
        else:
            result[f"{path}{name}"] = value
    return result


def _section(kind: object) -> type[Struct] | None:
    """The struct that a member's type is, be it one that may be left out; None for values."""
    for each in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if isinstance(each, type) and issubclass(each, Struct):
            return each
    return None


def _wrong_leaves(before: Tree, asked: Tree, kind: type[Struct]) -> Iterator[str]:
    """What is wrong with each leaf that is asked for, seen alone."""
    for dotted, value in flat(asked).items():
        try:
            alone = msgspec.convert(laid_over(before, tree_of([(dotted, value)])), kind, strict=False)
        except msgspec.ValidationError as error:
            expected = str(error).partition(" - at ")[0].partition(", got")[0].replace("`", "")
            yield f'{dotted}: {expected[:1].lower()}{expected[1:]}, not "{value}"'
        else:
            yield from _mistakes(alone, "")


def _mistakes(section: Struct, path: str) -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        value, name = getattr(section, field.name), f"{path}{field.encode_name}"
        if isinstance(value, Struct):
            yield from _mistakes(value, f"{name}.")
        elif field.type == Duration and duration_s(value) is None:
            yield f'{name}: "{value}" is not a time span such as 30s or 2h45m'
        elif field.type == Size and size_bytes(value) is None:
            yield f'{name}: "{value}" is not a size such as 256KiB or 1GiB'
        elif field.type == Bits and bits(value) is None:
            yield f'{name}: "{value}" is not a number of 64 bits'
    if isinstance(section, Section):
        yield from section.mistakes()
