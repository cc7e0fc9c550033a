"""XML documents: written by joining, read strictly within bounds.

What is read may hold no document type, and so no entities of its own; its size, depth and number of
elements are bounded. Namespaces are ignored, as Amazon does: clients send the document with and
without one.
"""

import re
from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from aisle.errors import BadRequest
from aisle.httpd.response import Response

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
HEADER: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
CONTENT_TYPE: Final = ("Content-Type", "application/xml")

DEPTH_MAX: Final = 16
ELEMENTS_MAX: Final = 100_000


class MalformedXML(BadRequest):
    """A document that cannot be read, or is not what the operation expects."""


_SPECIAL: Final = re.compile("[&<>\"'\x00-\x08\x0b-\x1f\x7f]")
_UNKNOWN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def escape(text: str) -> str:
    """Text as the content of an element.

    Control characters become numeric references, as Amazon writes them: those that XML 1.0 does not
    know make the document unreadable to strict parsers, which is what `encoding-type=url` is for.
    """
    return _SPECIAL.sub(_reference, text)


def readable(text: str) -> str:
    """Text without the characters that no XML document can hold: for what people read, not programs."""
    return _UNKNOWN.sub("\ufffd", text)


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    return _ESCAPES.get(character) or f"&#x{ord(character):X};"


def element(name: str, content: str = "") -> str:
    """An element with text; `name` is ours and not escaped."""
    return f"<{name}>{escape(content)}</{name}>"


def group(name: str, children: Iterable[str]) -> str:
    """An element with elements, each already written."""
    return f"<{name}>{''.join(children)}</{name}>"


def document(root: str, children: Iterable[str]) -> bytes:
    """A whole document in Amazon's namespace."""
    # One join: listings have thousands of children, and each copy of such a document takes its time.
    return "".join([f'{HEADER}<{root} xmlns="{NAMESPACE}">', *children, f"</{root}>"]).encode()


def xml_answer(root: str, children: Iterable[str], *, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A document as an answer."""
    return Response(200, [CONTENT_TYPE, *headers], document(root, children))


class Element:
    """An element that was read: its name without namespace, its text, its children."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Element] = []

    def every(self, name: str) -> list["Element"]:
        """The children of that name."""
        return [child for child in self.children if child.name == name]

    def first(self, name: str) -> "Element | None":
        """The first child of that name, or None."""
        return next((child for child in self.children if child.name == name), None)

    def value(self, name: str, default: str = "") -> str:
        """The text of the first child of that name, or the default."""
        child = self.first(name)
        return default if child is None else child.text


class _Tree:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            raise _malformed("it has too many elements, or too deep ones")
        opened = Element(name.rpartition(" ")[2])
        if self._open:
            self._open[-1].children.append(opened)
        else:
            self.root = opened
        self._open.append(opened)
        self._texts.append([])

    def end(self, _name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)

    def doctype(self, *_declared: object) -> None:
        raise _malformed("document types are not allowed")


def parse_xml(body: bytes, root: str, *, bytes_max: int) -> Element:
    """The root element of a document, which must have that name. Raises MalformedXML."""
    if len(body) > bytes_max:
        raise _malformed(f"it is longer than {bytes_max} bytes")
    tree = _Tree()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.characters
    parser.StartDoctypeDeclHandler = tree.doctype
    parser.buffer_text = True
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise _malformed(str(error)) from error
    except (LookupError, ValueError) as error:  # an encoding that does not exist, or cannot be
        raise _malformed(str(error)) from error
    if tree.root is None or tree.root.name != root:
        raise _malformed(f"expected the root element {root}")
    return tree.root


def _malformed(reason: str) -> MalformedXML:
    return MalformedXML(f"The XML that you provided is not well-formed, or not what was expected: {reason}")
