"""Selecting objects by template, and what copies are called.

AIStore's multi-object requests take a text that may be a template in one of three forms, or else a
prefix (ais-native-api.md §6.10):

    shard-{0001..0010..2}.tar     braces: start, end, step; several pairs make all combinations
    shard-@0100.tar               at: from 0 to the number, as wide as it is written
    shard-%06d.tar                printf: endless, and so of no use without a bound: refused
"""

import re
from collections.abc import Mapping
from typing import Final

from aisle.errors import BadRequest
from aisle.rules.templates import NAMES_MAX, Group, Template, TemplateInvalid, parse_template

WILDCARD: Final = "*"

_AT: Final = re.compile(r"([^@]*)@(\d{1,18})(.*)", re.DOTALL)
_PRINTF: Final = re.compile(r"[^%]*%0?\d*d[^%]*", re.DOTALL)


def parse_selection(text: str) -> Template | str:
    """A template, or the prefix that the text is.

    Raises TemplateInvalid for a template that cannot be read, or that would never end.
    """
    if "{" in text or "}" in text:
        return parse_template(text)
    if found := _AT.fullmatch(text):
        before, digits, after = found.groups()
        last = int(digits)
        if last >= NAMES_MAX:
            raise TemplateInvalid(text, f"{last + 1} names, at most {NAMES_MAX} are allowed")
        return Template(before, (Group(0, last, 1, len(digits), after),))
    if _PRINTF.fullmatch(text):
        raise BadRequest(f'errTemplateInvalid: template "{text}" has no end: write {{start..end}}')
    return text.rstrip(WILDCARD)


def name_of_copy(key: bytes, *, prepend: str, extensions: Mapping[str, str]) -> bytes:
    """What a copy is called: the prepended text and the name, its file extension replaced.

    >>> name_of_copy(b"a/x.jpg", prepend="new/", extensions={"jpg": "txt"})
    b'new/a/x.txt'
    """
    if extensions:
        stem, dot, extension = key.rpartition(b".")
        replaced = extensions.get(extension.decode("utf-8", "replace")) if dot else None
        if replaced is not None and b"/" not in extension:
            key = stem + b"." + replaced.encode()
    return prepend.encode() + key
