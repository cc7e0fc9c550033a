"""Headers that a download request asks to be sent along: checked, and never shown.

They are often credentials, so no error here tells a value.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from aisle.errors import BadRequest
from aisle.model.job import Headers

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]+")
_COUNT_MAX: Final = 64
_BYTES_MAX: Final = 16 * 1024
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What the downloader itself decides on: where a request goes, how it is framed, which bytes it is for."""


def read_headers(wire: Mapping[str, str | Sequence[str]]) -> Headers:
    """Headers as JSON carries them, each name with a value or a list of values.

    Raises BadRequest for names and values that no request can carry, for headers that the downloader
    sets itself, and for more than a server would take.
    """
    headers = []
    for name, told in wire.items():
        if not _NAME.fullmatch(name):
            raise BadRequest(f"headers: {name[:100]!r} is no name of a header")
        if name.lower() in _OURS:
            raise BadRequest(f"headers: {name} is set by the downloader itself")
        for value in [told] if isinstance(told, str) else told:
            text = value.strip(" \t")
            if not _VALUE.fullmatch(text):
                raise BadRequest(f"headers: the value of {name} must be printable ASCII")
            headers.append((name, text))
    if len(headers) > _COUNT_MAX:
        raise BadRequest(f"headers: at most {_COUNT_MAX} are allowed, not {len(headers)}")
    if sum(len(name) + len(value.encode()) for name, value in headers) > _BYTES_MAX:
        raise BadRequest(f"headers: all together may have {_BYTES_MAX} bytes")
    return tuple(headers)
