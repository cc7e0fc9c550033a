"""Payloads that prove what they are: the bytes follow from (name, sequence, size).

Two writes of one name differ in every page, so that a mixture of both equals neither. Nothing needs
to be remembered but the sequence number and the size.
"""

import random
from zlib import crc32

_BLOCK_BYTES = 1 << 20
_BLOCK = random.Random(20_261).randbytes(_BLOCK_BYTES)
_TWICE = _BLOCK * 2


def payload(name: str, sequence: int, size: int) -> bytes:
    """The `size` bytes that write number `sequence` of `name` stores."""
    head = f"{name} #{sequence} {size} bytes\n".encode()[:size]
    start = crc32(head + b"%d" % sequence) % _BLOCK_BYTES
    rest = size - len(head)
    if rest <= _BLOCK_BYTES:
        return head + _TWICE[start : start + rest]
    rotated = _TWICE[start : start + _BLOCK_BYTES]
    return head + (rotated * (rest // _BLOCK_BYTES + 1))[:rest]


def describe(body: bytes) -> str:
    """What a payload says of itself, for a message about one that should not be there."""
    first = body.split(b"\n", 1)[0][:120]
    return f"{len(body)} bytes beginning {first!r}"
