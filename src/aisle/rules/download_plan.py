"""A download job's plan: its items by number, and which of them are done.

Items are numbered, never listed: a template of ten million names costs nothing until a name is
needed. What is done is a set of numbers kept as spans: with items taken in order it is one span and
a few holes, however many items there are, so a job's progress fits into a small document.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from aisle.errors import BadRequest, CorruptObject
from aisle.model.job import DownloadSpec, Span
from aisle.model.names import OBJECT_NAME_BYTES_MAX, parse_object_key
from aisle.rules.download_names import object_key
from aisle.rules.download_request import range_template
from aisle.rules.provider_links import normal_source
from aisle.rules.range_names import RangeNames
from aisle.rules.templates import Template

_LISTED = frozenset({"list", "index", "backend"})  # their items are kept elsewhere
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]*")


class Item(msgspec.Struct, frozen=True, gc=False):
    """One object to fetch."""

    number: int
    key: bytes
    link: str
    checksum: str = ""
    """What the bytes must have, `KIND:HEX` as in `sha256:9f86…`; it decides over what the source says."""
    size: int = -1
    """Bytes that must come, -1 if nobody said."""


class ItemSource(Protocol):
    """Items that are kept elsewhere, by number from 0 to before `total`."""

    total: int

    def item(self, number: int) -> Item:
        """The item of that number. Raises AisleError when it cannot be had, which concerns no other."""

    def label(self, number: int) -> str:
        """What to call an item that cannot be had."""


class Plan:
    """The items of a job, by number from 0 to before `total`."""

    def __init__(self, spec: DownloadSpec, source: ItemSource | None = None) -> None:
        """`source` has the items of a list, and those of an index as soon as they are known.

        Without it only `total` can be asked for; that of an index is -1, which is not known.
        """
        self._spec = spec
        self._source = source
        self._template = range_template(spec.template) if spec.kind == "range" else None
        self._subdir = f"{spec.subdir.rstrip('/')}/" if spec.subdir.strip("/") else ""
        self._names, self._folder = None, ""
        if self._template is not None:
            self._names = RangeNames(self._template, spec.subdir)
            self._folder = _plain_folder(self._template, self._subdir, self._names)
        self._folder_chars = len(self._folder)
        self._counting = _counting(self._template, self._subdir) if self._folder else None
        if source is not None:
            self.total = source.total
        elif self._template is not None:
            self.total = self._template.count
        else:
            many = spec.list_items or len(spec.objects)
            self.total = {"multi": many, "list": many, "index": -1, "backend": -1}.get(spec.kind, 1)

    def item(self, number: int) -> Item:
        """The item of that number.

        Raises AisleError when its link or name cannot exist, or a list is damaged there, which concerns no
        other item.
        """
        if (counting := self._counting) is not None:
            prefix, start, step, width, after = counting
            link = f"{prefix}{start + number * step:0{width}}{after}"
            return Item(number, f"{self._subdir}{link[self._folder_chars :]}".encode(), link)
        spec = self._spec
        if self._source is not None:
            return self._source.item(number)
        if spec.kind in _LISTED:
            raise CorruptObject(f"the list of the job is not there, and so neither is item {number + 1}")
        if self._template is not None:
            link = self._template.name(number)
            if self._folder:
                name = self._subdir + link[self._folder_chars :]
                return Item(number, parse_object_key(name.encode()), link)
            link = normal_source(link)
            assert self._names is not None
            return Item(number, object_key(self._names.name(link)), link)
        name, link = spec.objects[number] if spec.kind == "multi" else (spec.object_name, spec.link)
        return Item(number, name.encode(), link)

    def label(self, number: int) -> str:
        """What to call an item whose link or name cannot exist."""
        if self._source is not None:
            return self._source.label(number)
        if self._spec.kind in _LISTED:
            return f"item {number + 1}"
        return self._template.name(number) if self._template is not None else self.item(number).link


def _plain_folder(template: Template, subdir: str, names: RangeNames) -> str:
    """The part of all links up to their names, if names are made by cutting it off and nothing else.

    Empty where a name needs the whole rule: numbers in front of the last slash, characters that are
    encoded, a query, a link without its scheme. Plain templates give their items ten times as fast.
    """
    folder, slash, start = template.prefix.rpartition("/")
    first = template.name(0)
    if not all(_PLAIN_NAME.fullmatch(text) for text in (start, *(group.after for group in template.groups))):
        return ""
    try:
        link = normal_source(first)
        key = object_key(names.name(link))
    except BadRequest:
        return ""
    plain = subdir + first[len(folder) + 1 :]
    return folder + slash if link == first and key == plain.encode() else ""


def _counting(template: Template | None, subdir: str) -> tuple[str, int, int, int, str] | None:
    """Prefix, first number, step, width and suffix of all links, if they count by one number only.

    None also if a name might be too long; else they need not be looked at one by one.
    """
    if template is None or len(template.groups) != 1:
        return None
    if len(subdir.encode()) + len(template.name(template.count - 1)) > OBJECT_NAME_BYTES_MAX:
        return None
    (group,) = template.groups
    return template.prefix, group.start, group.step, group.width, group.after


class NumberSet:
    """A set of whole numbers, kept as sorted spans that do not touch."""

    __slots__ = ("_ends", "_starts", "count")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0
        for start, end in spans:
            assert start < end, "an empty span"
            assert not self._ends or self._ends[-1] < start, "spans out of order"
            self._starts.append(start)
            self._ends.append(end)
            self.count += end - start

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]

    def add(self, number: int) -> bool:
        """Put a number in; False if it was there."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, number)  # the first span that begins behind the number
        joins_right = at < len(starts) and starts[at] == number + 1
        if at and number <= ends[at - 1]:
            if number < ends[at - 1]:
                return False
            if joins_right:
                ends[at - 1] = ends[at]
                del starts[at], ends[at]
            else:
                ends[at - 1] = number + 1
        elif joins_right:
            starts[at] = number
        else:
            starts.insert(at, number)
            ends.insert(at, number + 1)
        self.count += 1
        return True

    def spans(self) -> tuple[Span, ...]:
        """The spans in order."""
        return tuple(zip(self._starts, self._ends, strict=True))

    def missing(self, total: int) -> Iterator[int]:
        """The numbers below `total` that are not in the set as it is now, in order."""
        at = 0
        for start, end in self.spans():
            yield from range(at, min(start, total))
            at = end
        yield from range(at, total)
