"""What the objects of a range download are called: by AIStore's rule, where that tells them apart.

AIStore takes the last element of each link, so links that differ in front of their last slash would become
one object, and overwrite each other in an order that nobody chose. Here such objects are called by their
paths, from the first folder on that counts: `https://host/{1..2}/a{1..2}` gives `1/a1`, `1/a2`, `2/a1` and
`2/a2`. Where no names can be told apart, the request is refused.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from aisle.errors import BadRequest
from aisle.rules.download_names import base_name, without_query
from aisle.rules.provider_links import normal_source
from aisle.rules.templates import Group, Template, TemplateInvalid

_COMPARED_MAX: Final = 200_000
"""Names that are compared one by one, where their form does not tell whether they differ."""
_DIGITS: Final = frozenset("0123456789")


class RangeNames:
    """The rule for the names of one range."""

    def __init__(self, template: Template, subdir: str) -> None:
        self._subdir = f"{subdir.rstrip('/')}/" if subdir.strip("/") else ""
        literals = [template.prefix, *(group.after for group in template.groups)]
        end = next((at for at, part in enumerate(literals) if without_query(part) != part), len(literals))
        paths = [without_query(part) for part in literals[: end + 1]]
        last = max((at for at, part in enumerate(paths) if "/" in part), default=0)
        self.are_paths = any(group.count > 1 for group in template.groups[:last])
        """Whether objects are called by their paths."""
        self._left_out = _elements_left_out(template) if self.are_paths else 0
        self._named = template.groups[:end] if self.are_paths else template.groups[last:end]
        self._behind = template.groups[end:]

    def refuse_equal(self, text: str) -> None:
        """Raise BadRequest, with the template's text, if two of its links would become one object."""
        if "?" in self._subdir or "#" in self._subdir:
            raise BadRequest("subdir: what follows a ? or # is no part of a name")
        if any(group.count > 1 for group in self._behind):
            raise TemplateInvalid(
                text, "its links differ behind their paths only: all would become one object"
            )
        if not all(map(_differ, _runs(self._named))):
            raise TemplateInvalid(text, "two of its links would become one object")

    def name(self, link: str) -> str:
        """The name for a link as it will be requested, still encoded. Raises InvalidName."""
        if not self.are_paths:
            return self._subdir + base_name(link)
        return self._subdir + without_query(link).split("/", self._left_out)[-1]


def _elements_left_out(template: Template) -> int:
    """How many elements of its links come before the folder that counts first."""
    first = template.name(0)
    counting = first[template.prefix.rfind("/") + 1 :]
    try:
        link = normal_source(first)
    except BadRequest:
        return 0  # which is said when the link is looked at
    return without_query(link).count("/") - without_query(counting).count("/")


def _runs(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups whose numbers may flow into each other: nothing but digits lies between them."""
    run: list[Group] = []
    for group in groups:
        run.append(group)
        if not _DIGITS.issuperset(group.after):
            yield run
            run = []
    if run:
        yield run


def _differ(run: Sequence[Group]) -> bool:
    """Whether all texts of these groups differ."""
    # Then a text's length tells where each number ends.
    if sum(_length(group, 0) != _length(group, group.count - 1) for group in run) <= 1:
        return True
    template = Template("", tuple(run))
    return template.count <= _COMPARED_MAX and len(set(template.names())) == template.count


def _length(group: Group, index: int) -> int:
    return len(group.text(index))
