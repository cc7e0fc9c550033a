r"""Bodies in Amazon's chunks (`aws-chunked`): bytes in, the payload out.

    SIZE[;chunk-signature=SIGNATURE]\r\n PAYLOAD\r\n   … repeated; a size of 0 ends the payload
    [NAME:VALUE\r\n …]                                 trailing fields, such as checksums
    \r\n
    [x-amz-trailer-signature:SIGNATURE\r\n \r\n]    before or behind the empty line: clients differ

Each chunk's signature continues that of the chunk before it, the first that of the request, so no
chunk can be changed, dropped, repeated or moved. A chunk is handed on while it arrives and judged at
its end: whoever keeps the payload must wait for `finish`.
"""

import hmac
import re
from collections.abc import Collection
from hashlib import sha256
from typing import Final

from aisle.errors import BadRequest, RequestAborted, SignatureMismatch
from aisle.rules.signatures import Seal

LINE_BYTES_MAX: Final = 4096
"""The longest line of the framing; lengths and signatures need a tenth of it."""
TRAILERS_MAX: Final = 32
TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,13})(?:;chunk-signature=([0-9a-f]{64}))?[ \t]*")
_EMPTY_SHA256: Final = sha256(b"").hexdigest()


class ChunkDecoder:
    """Takes a body's framing off, and judges its signatures where there is a seal to continue."""

    def __init__(self, *, seal: Seal | None, announced: Collection[str], length: int | None) -> None:
        """Expect the `announced` trailing fields, by lower-case name, and a payload of `length` bytes.

        None stands for a length that is not known.
        """
        self.trailers: dict[str, str] = {}
        """The trailing fields, by lower-case name; complete after `finish`."""
        self._seal = seal
        self._signature = seal.signature if seal else ""
        self._announced = announced
        self._length = length
        self._received = 0
        self._buffer = b""
        self._left = -1
        """Bytes of the present chunk still to come; -1 between chunks."""
        self._expected = ""
        self._hash = sha256()
        self._in_trailers = False
        self._done = False
        self._trailer_lines: list[str] = []
        self._trailer_signature = ""

    def feed(self, data: bytes) -> list[bytes]:
        """The payload that these bytes bring.

        Raises BadRequest for broken framing, RequestAborted for more payload than was announced, and
        SignatureMismatch.
        """
        payload: list[bytes] = []
        position = 0
        while position < len(data):
            if self._left > 0:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                if self._seal is not None:
                    self._hash.update(piece)
                payload.append(piece)
                continue
            position = self._gather_line(data, position)
            if not self._buffer.endswith(b"\n"):
                break
            line, self._buffer = self._buffer.rstrip(b"\r\n"), b""
            self._take_line(line)
        return payload

    def finish(self) -> None:
        """Raise RequestAborted if the body ended too early, BadRequest if it went on or lacks a field."""
        if not self._done:
            raise RequestAborted("the body ended before its last chunk")
        if self._buffer:
            raise BadRequest("bytes follow the body's last chunk")
        if self._length is not None and self._received != self._length:
            raise RequestAborted(
                f"the body has {self._received} bytes of payload, {self._length} were announced"
            )
        if missing := sorted(set(self._announced) - self.trailers.keys()):
            raise BadRequest(f"the trailing field {missing[0]} is missing")
        if self._seal is not None and self._announced:
            lines = "".join(self._trailer_lines).encode("latin-1")
            self._continue("TRAILER", sha256(lines).hexdigest(), self._trailer_signature)

    def _gather_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end + 1
        self._buffer += data[position:end]
        if len(self._buffer) > LINE_BYTES_MAX:
            raise BadRequest("a line of the body's framing is too long")
        return end

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self._take_trailer(line.decode("latin-1"))
        elif self._left == 0:
            # What stands between a chunk and the next one's size.
            if line:
                raise BadRequest("a chunk is longer than its size")
            self._end_chunk()
        else:
            self._begin_chunk(line)

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise BadRequest("malformed chunk size")
        size = int(found[1], 16)
        self._expected = (found[2] or b"").decode()
        self._received += size
        if self._length is not None and self._received > self._length:
            raise RequestAborted(f"the chunks hold more than the {self._length} bytes that were announced")
        if size:
            self._left = size
        else:
            self._end_chunk()
            self._in_trailers = True

    def _end_chunk(self) -> None:
        self._left = -1
        if self._seal is not None:
            self._continue("PAYLOAD", _EMPTY_SHA256 + "\n" + self._hash.hexdigest(), self._expected)
            self._hash = sha256()

    def _take_trailer(self, line: str) -> None:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not line:
            self._done = True
        elif name == TRAILER_SIGNATURE and not self._trailer_signature:
            self._trailer_signature = value
        elif self._done:
            raise BadRequest("bytes follow the body's last chunk")
        elif not colon or len(self._trailer_lines) >= TRAILERS_MAX:
            raise BadRequest("malformed trailing fields")
        else:
            self.trailers[name] = value
            self._trailer_lines.append(f"{name}:{value}\n")

    def _continue(self, kind: str, digests: str, given: str) -> None:
        """Check that a signature is the next of the chain, and go on from it. Raises SignatureMismatch."""
        seal = self._seal
        assert seal is not None
        text = f"AWS4-HMAC-SHA256-{kind}\n{seal.timestamp}\n{seal.scope}\n{self._signature}\n{digests}"
        found = hmac.digest(seal.key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(found.encode(), given.encode("latin-1", "replace")):
            raise SignatureMismatch("the signature of a chunk of the body does not match")
        self._signature = found
