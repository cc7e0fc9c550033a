"""Chunked bodies (RFC 9112 §7.1), decoded strictly: bytes in, body bytes out, or a refusal."""

import re
from typing import Final

from aisle.httpd.head import Refusal

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION: Final = rb";" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# No white space anywhere, though the RFC would forgive it: nobody sends it but to confuse.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)")
_TRAILER: Final = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*")
_STRAY: Final = re.compile(rb"\r[^\n]|(?<!\r)\n")
_LINE_BYTES_MAX: Final = 1024
# Extensions mean nothing to us. Their sum is limited too: a body of one-byte chunks with long
# extensions would otherwise cost a thousand times the bytes that its limit allows.
_EXTENSION_BYTES_MAX: Final = 16 * 1024
_TRAILER_BYTES_MAX: Final = 16 * 1024
_TRAILERS_MAX: Final = 64

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedDecoder:
    """Decodes one chunked body, however its bytes are split."""

    __slots__ = ("_extension_bytes", "_held", "_left", "_state", "_trailer_bytes", "_trailers")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._held = b""
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Body bytes in `data`, and what follows the body's end (None while it goes on).

        Trailers are checked and dropped. Raises Refusal.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position = 0
        while self._state != _DONE:
            if self._state == _DATA:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                if piece:
                    pieces.append(piece)
                if self._left:
                    return pieces, None
                self._state = _DATA_END
            end = data.find(b"\r\n", position)
            if end < 0:
                self._hold(data[position:])
                return pieces, None
            self._take_line(data[position:end])
            position = end + 2
        return pieces, data[position:]

    def _hold(self, rest: bytes) -> None:
        if self._state == _DATA_END and rest not in (b"", b"\r"):
            raise Refusal(400, "malformed end of a chunk")
        if len(rest) > _LINE_BYTES_MAX:
            raise Refusal(400, "line too long in a chunked body")
        if _STRAY.search(rest):
            raise Refusal(400, "bare CR or LF in a chunked body")
        self._held = rest

    def _take_line(self, line: bytes) -> None:
        if self._state == _SIZE:
            self._take_size(line)
        elif self._state == _DATA_END:
            if line:
                raise Refusal(400, "malformed end of a chunk")
            self._state = _SIZE
        elif line:
            self._take_trailer(line)
        else:
            self._state = _DONE

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or len(line) > _LINE_BYTES_MAX:
            raise Refusal(400, "malformed chunk size")
        self._extension_bytes += len(match[2])
        if self._extension_bytes > _EXTENSION_BYTES_MAX:
            raise Refusal(400, "too many bytes of chunk extensions")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += 1
        self._trailer_bytes += len(line)
        if self._trailers > _TRAILERS_MAX or self._trailer_bytes > _TRAILER_BYTES_MAX:
            raise Refusal(431, "too many trailers")
        if not _TRAILER.fullmatch(line):
            raise Refusal(400, "malformed trailer")
