"""Answers kept in the index, for workers that send an operation again.

A group keeps its answers in its own transaction. When the committer dies before its workers have read
them, the next one finds them here, and an operation sent again is answered, not executed twice.
"""

from collections.abc import Sequence

import msgspec

from aisle.model.record import Generation
from aisle.storage.disk import Disk
from aisle.storage.messages import Answer
from aisle.storage.transaction import ANSWERS_KEY, decode_answers_kept

KEPT_S = 60
"""Longer than any worker waits for a new committer."""

_EARLIER_KEY = b"earlier"


class Earlier(msgspec.Struct, frozen=True, array_like=True):
    """The last answers of a committer that is gone, and when its successor found them."""

    found_ns: int
    answers: list[tuple[Generation, Answer]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Earlier]).decode


def take_over_answers(disk: Disk, now_ns: int) -> Sequence[tuple[Generation, Answer]]:
    """The answers that earlier committers of a mountpath may not have delivered.

    They are kept apart from those to come, in case this committer dies soon too.
    """
    with disk.tables.environment.begin(db=disk.tables.state) as transaction:
        last = transaction.get(ANSWERS_KEY)
        kept = transaction.get(_EARLIER_KEY)
    if last is None and kept is None:
        return ()
    earlier = [found for found in (_decode(kept) if kept else []) if now_ns - found.found_ns < KEPT_S * 10**9]
    if last is not None:
        earlier.append(Earlier(now_ns, decode_answers_kept(last)))
    with disk.group() as group:
        group.transaction.put(_EARLIER_KEY, _encode(earlier), db=group.tables.state)
        group.transaction.delete(ANSWERS_KEY, db=group.tables.state)
    return [answer for found in earlier for answer in found.answers]
