"""Whether a source still has what an object was made from, as its answer to a conditional request tells."""

from collections.abc import Mapping
from typing import NamedTuple


class Known(NamedTuple):
    """An object that was made from the link which is asked for."""

    generation: bytes
    size: int
    content_type: str
    etag: str
    """The source's entity tag, quoted; empty if it gave none."""
    condition: tuple[str, str]
    """The header that asks whether the source still has the same."""


def is_confirmed(fields: Mapping[str, str], known: Known) -> bool:
    """Whether an answer "not modified" is about the object that was asked about."""
    etag = fields.get("ETag", "")
    return not etag or not known.etag or _weak(etag) == _weak(known.etag)


def is_the_same(fields: Mapping[str, str], length: int | None, known: Known) -> bool:
    """Whether an answer that brings a whole object brings the known one: some servers know no conditions.

    An entity tag tells, if it is a strong one; a date and a size do not.
    """
    is_strong = bool(known.etag) and not known.etag.startswith("W/")
    return is_strong and unquoted(fields.get("ETag", "")) == unquoted(known.etag) and length == known.size


def unquoted(etag: str) -> str:
    """An entity tag as it is kept: AIStore leaves the quotes of strong ones out; weak ones stay."""
    return etag[1:-1] if len(etag) > 1 and etag[0] == etag[-1] == '"' else etag


def _weak(etag: str) -> str:
    return unquoted(etag.removeprefix("W/"))
