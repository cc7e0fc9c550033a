"""What the `robots.txt` of a server lets a program ask for (RFC 9309), and how slowly it wants to be asked.

The rules are those of all groups that name the program, else those for everybody. Of the rules that fit a
path the longest one decides, wherever it stands; `*` in it stands for any characters, and `$` behind it for
the end.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")
_PRODUCT: Final = re.compile(r"\*|[A-Za-z_-]+")
_DECIMAL: Final = re.compile(r"[0-9]+\.[0-9]+")
_EVERYBODY: Final = "*"
_BYTE_ORDER_MARK: Final = "\ufeff"


class _Rule(NamedTuple):
    length: int
    allows: bool
    pieces: tuple[str, ...]
    """What stands between the `*`s."""
    is_anchored: bool
    """Whether the last piece is at the path's end."""

    def fits(self, path: str) -> bool:
        """Whether it is about a path. Takes one pass over it, whatever the rule is."""
        first, *others = self.pieces
        if not path.startswith(first):
            return False
        at, end = len(first), len(path)
        if self.is_anchored:
            if not others:
                return path == first
            last = others.pop()
            end -= len(last)
            if end < at or not path.endswith(last):
                return False
        for piece in others:
            found = path.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


class Robots:
    """The rules of a `robots.txt` for one program, by the name that it is called there."""

    def __init__(self, text: str, program: str) -> None:
        """Raises ValueError for a number that is none."""
        own: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        is_named = False
        for programs, field, value in _grouped(text):
            if program.lower() in programs:
                is_named = True
                own.append((field, value))
            elif _EVERYBODY in programs:
                others.append((field, value))
        meant = own if is_named else others
        rules = [_rule(value, allows=field == "allow") for field, value in meant if field in _RULES and value]
        # The longest decides, and of two that say the opposite the one that allows.
        self._rules = sorted(rules, key=lambda rule: (-rule.length, not rule.allows))
        delays = [value for field, value in meant if field == "crawl-delay"]
        self.delay_s = max((_seconds(value) for value in delays), default=0.0)
        """How long to wait between two requests; 0 if nobody said."""

    def allows(self, link: str) -> bool:
        """Whether a link may be asked for."""
        if not self._rules:
            return True
        parts = urlsplit(link)
        path = _normal((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return next((rule.allows for rule in self._rules if rule.fits(path)), True)


_RULES: Final = frozenset({"allow", "disallow"})


def _grouped(text: str) -> Iterator[tuple[frozenset[str], str, str]]:
    """Each line below the names of programs: these, its field, and its value. A name alone has no field."""
    programs: set[str] = set()
    is_open = True  # further names belong to the same group
    for line in _LINE_ENDS.split(text.removeprefix(_BYTE_ORDER_MARK)):
        field, colon, value = line.partition("#")[0].partition(":")
        field, value = field.strip().lower(), value.strip()
        if not colon:
            continue
        if field == "user-agent":
            if not is_open:
                programs = set()
            is_open = True
            if product := _PRODUCT.match(value):
                programs.add(product[0].lower())
                yield frozenset(programs), "", ""
        elif field in _RULES or field == "crawl-delay":
            is_open = False
            yield frozenset(programs), field, value


def _rule(path: str, *, allows: bool) -> _Rule:
    is_anchored = path.endswith("$")
    pieces = tuple(map(_normal, path.removesuffix("$").split("*")))
    return _Rule(len(path), allows, pieces, is_anchored)


def _normal(path: str) -> str:
    """A path, or a piece of one, as it is compared: however its characters were encoded."""
    return "?".join(quote(unquote_to_bytes(part), safe="/") for part in path.split("?"))


def _seconds(text: str) -> float:
    """Raises ValueError."""
    return float(text) if text.isdigit() or _DECIMAL.fullmatch(text) else 0.0
