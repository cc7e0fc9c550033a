"""Routes as data: which handler answers which request, and what the caller must be allowed to do.

A row names a method, the shape of a path, the action that the gate checks, and a handler. Several
rows may share method and path: then the request's body (`{"action": …}`) or its `what` parameter
chooses between them. Paths are matched element by element, literal ones first. A placeholder in the
fourth place takes the rest of the path with its slashes, which is how object names arrive.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from aisle.api.gate import Action
from aisle.httpd.response import Answer

ELEMENTS_MAX: Final = 4
"""A path is split into at most this many elements; the last one keeps its slashes."""
ANY_METHOD: Final = "*"

Elements = list[bytes]
"""A path's elements, still percent-encoded; the first is the empty one before the leading slash."""
Handler = Callable[..., Answer]
"""Called with the request and the path's elements; a row that the body's action chooses also gets the
body, as an ActionMessage."""


class Meter(NamedTuple):
    """Telemetry slots that count a route's requests: all, the time in ns, those that failed."""

    requests: int
    elapsed_ns: int | None = None
    failures: int | None = None


class Route(NamedTuple):
    """A row of the table."""

    method: str
    path: str
    action: Action | None
    handler: Handler | None
    """None for what AIStore knows and this version does not: it is refused as not built."""
    verb: str = ""
    """`action=…` of the body or `what=…` of the query that chooses this row among those of its path."""
    meter: Meter | None = None


class Choice(NamedTuple):
    """Rows of one method and path, by the verb that chooses between them."""

    by: str
    """`action` (in the body) or `what` (in the query)."""
    routes: Mapping[str, Route]


class _Node:
    __slots__ = ("children", "methods", "placeholder")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.placeholder: _Node | None = None
        self.methods: dict[str, Route | Choice] = {}


class Router:
    """A table, ready for lookups."""

    def __init__(self, routes: Iterable[Route], *, reserved: Iterable[bytes] = ()) -> None:
        """`reserved` are first elements that a placeholder never matches."""
        self.routes = tuple(routes)
        self._root = _Node()
        self._reserved = frozenset(reserved)
        for rows in _grouped(self.routes):
            self._place(rows)

    def find(self, elements: Elements) -> Mapping[str, Route | Choice]:
        """What a path's elements lead to, by method; empty for an unknown path."""
        node = self._root
        # A trailing slash means the same path, except in the place of an object's name.
        last = len(elements) - (not elements[-1] and len(elements) <= ELEMENTS_MAX)
        for element in elements[1:last]:
            child = node.children.get(element)
            if child is None:
                child = node.placeholder
                if child is None or (node is self._root and self._is_reserved(element)):
                    return {}
            node = child
        return node.methods

    def literal_pairs(self) -> dict[tuple[bytes, bytes, str], Route]:
        """Rows of paths of two literal elements and two placeholders, by those elements and method.

        `find` leads to the same rows for every path of four elements that begins with the two.
        """
        found: dict[tuple[bytes, bytes, str], Route] = {}
        for first, below in self._root.children.items():
            for second, node in below.children.items():
                third = node.placeholder if not node.children else None
                fourth = third.placeholder if third and not third.children else None
                for method, row in fourth.methods.items() if fourth else ():
                    if isinstance(row, Route):
                        found[first, second, method] = row
        return found

    def _is_reserved(self, element: bytes) -> bool:
        return len(element) <= 2 or element in self._reserved

    def _place(self, rows: list[Route]) -> None:
        node = self._root
        first = rows[0]
        for element in [part for part in first.path.split("/")[1:] if part]:
            if element.startswith("{"):
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.children.setdefault(element.encode(), _Node())
        assert first.method not in node.methods, f"two rows for {first.method} {first.path}"
        if not first.verb:
            assert len(rows) == 1, f"{first.method} {first.path}: rows without a verb"
            node.methods[first.method] = first
            return
        by, _, _ = first.verb.partition("=")
        verbs = {route.verb.partition("=")[2]: route for route in rows}
        assert len(verbs) == len(rows), f"{first.method} {first.path}: a verb twice"
        node.methods[first.method] = Choice(by, verbs)


def split(path: bytes) -> Elements:
    """A path's elements."""
    return path.split(b"/", ELEMENTS_MAX)


def _grouped(routes: Iterable[Route]) -> Iterator[list[Route]]:
    """Rows of the same method and path, in the order of the table."""
    groups: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        groups.setdefault((route.method, route.path), []).append(route)
    yield from groups.values()
