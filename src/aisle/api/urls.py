"""Paths and queries as they stand on the wire: percent-decoded once, byte for byte."""

import re
from urllib.parse import unquote_to_bytes

from aisle.errors import BadRequest

Query = dict[str, str]
"""Decoded query parameters; of a repeated one the first counts, as in Go."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


def decode_path(raw: bytes) -> bytes:
    """A path element without its percent-escapes; `+` stays. Raises BadRequest for a broken escape."""
    if b"%" not in raw:
        return raw
    if broken := _BROKEN_ESCAPE.search(raw):
        escape = raw[broken.start() : broken.start() + 3].decode("latin-1")
        raise BadRequest(f'invalid URL escape "{escape}"')
    return unquote_to_bytes(raw)


def parse_query(raw: bytes) -> Query:
    """The parameters of a query. Raises BadRequest for a broken escape."""
    query: Query = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            query.setdefault(_decode_part(name), _decode_part(value))
    return query


def is_true(text: str) -> bool:
    """Whether a parameter's value means yes (ais-native-api.md §0); anything else means no."""
    return text.lower() in _TRUE


def shown_path(raw: bytes) -> str:
    """A path as messages show it; what cannot be decoded is replaced."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def _decode_part(raw: bytes) -> str:
    return decode_path(raw.replace(b"+", b" ")).decode("utf-8", "replace")
