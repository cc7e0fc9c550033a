"""Many objects at once, put into the index of a stopped node by the storage engine's own committer.

A million PUTs over HTTP would take longer than everything that is measured. What the committer is
given here is what it gets from a serving worker for a small object, only in larger groups.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec
import xxhash

from aisle.config import StorageConfig
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Inline
from aisle.rules import placement
from aisle.storage import keys
from aisle.storage.commit import Committer
from aisle.storage.generation import Generations
from aisle.storage.layout import open_mountpaths
from aisle.storage.messages import Failure, Put, Remove
from aisle.storage.operations import Request
from aisle.storage.tables import PIECE_BYTES
from bench.measure import Failed
from bench.node import Node, object_path

_GROUP = 5_000
_GROUP_BYTES = 64 * 1024 * 1024
_INCARNATION = b"\xff\xff\xff\xff"  # counted up from 1 by a node
_BUCKET_NUMBER = (1 << 63) - 1
"""The bits of a bucket's id on the wire that are its number in storage."""

_encode = msgspec.msgpack.Encoder().encode


class _Filler:
    """Writes to one bucket of a node; the node is stopped before it is made."""

    def __init__(self, node: Node, bucket_number: int) -> None:
        self._bucket = bucket_number
        self._mountpaths = open_mountpaths(node.mountpaths)
        self._owners = [placement.digest(mountpath.id.encode()) for mountpath in self._mountpaths]
        self._generations = Generations(_INCARNATION)

    def put(self, names: Iterable[str], payload: bytes) -> None:
        """An object under each name, all with the same small payload."""
        checksum = xxhash.xxh64_hexdigest(payload)
        attributes = Attributes(checksum_type="xxhash2", checksum_value=checksum, version="1")
        inline = Inline((len(payload) + PIECE_BYTES - 1) // PIECE_BYTES, xxhash.xxh3_64_digest(payload))
        tail, body = _encode((inline, ""))[1:], memoryview(payload)

        def requests() -> Iterator[Request]:
            for name in names:
                ident, number, key = self._place(name)
                head = _encode((len(payload), time.time_ns(), attributes, ident))[1:]
                put = Put(ident, number, key, head, tail, len(payload), 0, None, False)
                yield Request(put, body, False)

        self._execute(requests(), size=max(1, min(_GROUP, _GROUP_BYTES // len(payload))))

    def remove(self, names: Iterable[str]) -> None:
        """Remove the object of each name."""

        def requests() -> Iterator[Request]:
            for name in names:
                ident, number, key = self._place(name)
                yield Request(Remove(ident, number, key, 0, None), memoryview(b""), False)

        self._execute(requests(), size=_GROUP)

    def _place(self, name: str) -> tuple[bytes, int, bytes]:
        """A new identity, the number of the mountpath, and the key in the index."""
        packed = keys.pack(ObjectName(self._bucket, name.encode()))
        number = placement.owner(placement.digest(packed), self._owners)
        return self._generations.for_inline(), number, packed

    def _execute(self, requests: Iterator[Request], *, size: int) -> None:
        committer = Committer(self._mountpaths, config=StorageConfig(), clock=time.time_ns)
        try:
            while group := list(islice(requests, size)):
                for answer in committer.execute(group):
                    if isinstance(answer, Failure):
                        raise Failed(f"filling a bucket: {answer}")
        finally:
            committer.close()


def fill_bucket(
    node: Node, bucket: str, names: Sequence[str], *, payload: bytes = b"x", removed: Sequence[str] = ()
) -> None:
    """A new bucket with an object under each name, `removed` of them removed again.

    The node is stopped meanwhile and runs again afterwards, at another port.
    """
    node.create_bucket(bucket)
    metadata = json.loads(node.call("GET", "/v1/daemon?what=bmd"))
    number = int(metadata["providers"]["ais"]["@#"][bucket]["bid"]) & _BUCKET_NUMBER
    node.stop()
    filler = _Filler(node, number)
    filler.put(names, payload)
    filler.remove(removed)
    node.start()
    gone = set(removed)
    kept = next(name for name in names if name not in gone)
    if node.call("GET", object_path(bucket, kept)) != payload:
        raise Failed(f"{bucket}/{kept} does not read as it was put")
