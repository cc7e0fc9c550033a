"""Templates: many names written as one, `shard-{0000..0999}.tar`.

The syntax is AIStore's "bash" form: `{start..end}` or `{start..end..step}`, several groups, literal
text around them; numbers are padded with zeros to the shorter of the two bounds' widths. Groups
count like an odometer, the last one fastest. A template is never expanded in memory: it knows how
many names it has and what the nth one is, which is also how a job remembers where it was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aisle.errors import BadRequest

NAMES_MAX = 10_000_000
"""More names than this are refused (AIStore's own bound for downloads)."""

_WHOLE = re.compile(r"[0-9]+")
_DIGITS_MAX = 18  # what fits into 64 bits with certainty


class TemplateInvalid(BadRequest):
    """A template that cannot be read; the message names it and says why."""

    def __init__(self, template: str, reason: str) -> None:
        super().__init__(f"errTemplateInvalid: invalid 'bash' template \"{template}\": {reason}")


@dataclass(frozen=True, slots=True)
class Group:
    """One pair of braces, and the literal text that follows it."""

    start: int
    end: int
    step: int
    width: int
    after: str

    @property
    def count(self) -> int:
        """How many numbers it stands for."""
        return (self.end - self.start) // self.step + 1

    def text(self, index: int) -> str:
        """The number at `index`, padded, with the text behind it."""
        return str(self.start + index * self.step).zfill(self.width) + self.after


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Without groups it is plain text: a prefix."""

    prefix: str
    groups: tuple[Group, ...]

    @property
    def count(self) -> int:
        """How many names it stands for."""
        count = 1
        for group in self.groups:
            count *= group.count
        return count

    def name(self, index: int) -> str:
        """The name at `index`, 0 or more and less than `count`."""
        if len(self.groups) == 1:
            return self.prefix + self.groups[0].text(index)
        parts: list[str] = []
        for group in reversed(self.groups):
            index, digit = divmod(index, group.count)
            parts.append(group.text(digit))
        parts.append(self.prefix)
        parts.reverse()
        return "".join(parts)

    def names(self) -> Iterator[str]:
        """All names in order, one at a time."""
        return map(self.name, range(self.count))


def parse_template(text: str) -> Template:
    """Read a template; text without braces is one without groups.

    Raises TemplateInvalid for unbalanced or nested braces, bounds that are not whole numbers,
    a start beyond the end, a step below 1, and more than `NAMES_MAX` names.
    """
    prefix, *pieces = text.split("{")
    if "}" in prefix:
        raise TemplateInvalid(text, "'}' without '{'")
    groups = tuple(_group(text, piece) for piece in pieces)
    template = Template(prefix, groups)
    if template.count > NAMES_MAX:
        raise TemplateInvalid(text, f"{template.count} names, at most {NAMES_MAX} are allowed")
    return template


def _group(text: str, piece: str) -> Group:
    inside, closed, after = piece.partition("}")
    if not closed or "}" in after:
        raise TemplateInvalid(text, "braces do not match")
    bounds = inside.split("..")
    if len(bounds) not in (2, 3):
        raise TemplateInvalid(text, f"want {{start..end}} or {{start..end..step}}, not {{{inside}}}")
    for bound in bounds:
        if bound.startswith("-") and _WHOLE.fullmatch(bound[1:]):
            raise TemplateInvalid(text, f'"{bound}" is negative')
        if not _WHOLE.fullmatch(bound) or len(bound) > _DIGITS_MAX:
            raise TemplateInvalid(text, f'"{bound}" is not a whole number')
    start, end = int(bounds[0]), int(bounds[1])
    step = int(bounds[2]) if len(bounds) == 3 else 1
    if start > end:
        raise TemplateInvalid(text, "'start' cannot be greater than 'end'")
    if step < 1:
        raise TemplateInvalid(text, "'step' must be 1 or more")
    return Group(start, end, step, min(len(bounds[0]), len(bounds[1])), after)
