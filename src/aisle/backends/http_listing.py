"""Listing what lies below a folder of a web server, in byte order, from any name on.

Only the folders are asked for that a page of the listing needs: a name tells which come before it.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aisle.errors import SourceFailed

DEPTH_MAX: Final = 64

_ALIKE_MAX: Final = 2
"""Folders above one that show the very same names, before it is taken for a way in a circle."""
_Above = tuple[int, ...]

Children = Callable[[str], Awaitable[Sequence[str] | None]]
"""The names that a folder's page shows, from the root of the dataset on and those of folders with a slash at
their end; None if there is no such page."""


class Selection(NamedTuple):
    """Which names are wanted; `behind` is the last one that was given out."""

    prefix: str = ""
    behind: str = ""
    delimiter: str = ""

    def folded(self, name: str) -> str:
        """The name under which another is listed."""
        end = name.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return name if end < 0 else name[: end + len(self.delimiter)]

    def wants(self, name: str) -> bool:
        """Whether a name, folded already, is to be listed."""
        return name.startswith(self.prefix) and name.encode() > self.behind.encode()

    def may_hold(self, folder: str) -> bool:
        """Whether a folder may have names to be listed below it."""
        if not (folder.startswith(self.prefix) or self.prefix.startswith(folder)):
            return False
        return self.behind.startswith(folder) or folder.encode() > self.behind.encode()

    def folds(self, folder: str) -> bool:
        """Whether all that is below a folder is listed under one name."""
        prefix = self.prefix
        return bool(self.delimiter) and folder.startswith(prefix) and self.delimiter in folder[len(prefix) :]

    def is_folded(self, name: str) -> bool:
        """Whether a name that `folded` gave stands for others."""
        return bool(self.delimiter) and name.endswith(self.delimiter) and name != self.prefix


async def walked(children: Children, selection: Selection) -> AsyncIterator[str]:
    """The names that are wanted, in byte order, each once; ways in a circle are left at the third turn.

    Raises SourceFailed for too many folders below each other, and what `children` does.
    """
    last = ""
    deeper: dict[str, set[str]] = {}
    # Folders that no page shows, only files below them: they need have no page of their own.
    implied: set[str] = set()
    pending: list[tuple[str, _Above]] = [("", ())]
    while pending:
        name, above = pending.pop()
        if name and not name.endswith("/"):
            name = selection.folded(name)
            if name != last and selection.wants(name):
                last = name
                yield name
            continue
        if name and not selection.may_hold(name):
            continue
        if selection.folds(name):
            name = selection.folded(name)
            if name != last and selection.wants(name):
                last = name
                yield name
            continue
        if name.count("/") > DEPTH_MAX:
            raise SourceFailed(f"{name[:200]}: more than {DEPTH_MAX} folders deep")
        below = () if name in implied else await children(name)
        found, named = _direct(name, [*(below or ()), *deeper.pop(name, ())], deeper)
        implied |= found - named
        shown = hash(frozenset(each[len(name) :] for each in found))
        # A link in the server's file system may lead back up: what it shows again and again has no end.
        if above.count(shown) < _ALIKE_MAX:
            above = (*above, shown)
            pending.extend((each, above) for each in sorted(found, key=str.encode, reverse=True))


def _direct(folder: str, names: Sequence[str], deeper: dict[str, set[str]]) -> tuple[set[str], set[str]]:
    """What lies in the folder itself, and what of it is named; names below are noted with their folder."""
    found, named = set(), set()
    for name in names:
        end = name.find("/", len(folder)) + 1
        if end and end < len(name):
            deeper.setdefault(name[:end], set()).add(name)
            found.add(name[:end])
        else:
            found.add(name)
            named.add(name)
    return found, named


async def chosen(names: Sequence[str], selection: Selection) -> AsyncIterator[str]:
    """The names that are wanted, of those given in byte order, each once."""
    last = ""
    first = max(selection.prefix.encode(), selection.behind.encode())
    for at in range(bisect_left(names, first, key=str.encode), len(names)):
        if not names[at].startswith(selection.prefix):
            return
        name = selection.folded(names[at])
        if name != last and selection.wants(name):
            last = name
            yield name


async def page_of(names: AsyncIterator[str], limit: int) -> tuple[list[str], str]:
    """The next names, at most `limit`, and the last of them if there are more behind it."""
    found: list[str] = []
    async for name in names:
        if len(found) == limit:
            return found, found[-1]
        found.append(name)
    return found, ""
