"""One write transaction on one mountpath's index: what a group of operations does there.

An operation checks everything before it changes anything, so one that is refused leaves no trace in the
group. Whatever else fails (LMDB, the disk) fails the group: the caller aborts it and tries its members
one by one.
"""

from collections.abc import Callable, Sequence
from copy import copy

import lmdb
import msgspec

from aisle.errors import ConditionFailed, NotFound
from aisle.model.record import (
    Condition,
    Generation,
    Inline,
    Record,
    decode_record,
    encode_record,
)
from aisle.rules.versions import FIRST, next_version
from aisle.storage import keys
from aisle.storage.conditions import require
from aisle.storage.messages import Amend, Answer, Put, Remove, condition_of
from aisle.storage.removals import Removals
from aisle.storage.tables import PIECE_BYTES, IndexTables, time_to_unlink

NEVER_SYNCED = b"never"
"""In the `unsynced` table: the system writes the payload file when it likes. Others are synced soon."""
RECORD_HEAD = b"\x97"
"""MessagePack: an array of the record's seven fields."""
SEQUENCE_HEAD = b"\xcf"
"""MessagePack: an unsigned integer of 8 bytes follows."""

PIECE_SUFFIXES = tuple(bytes([number]) for number in range(256))
ANSWERS_KEY = b"answers"
"""In the `state` table: the answers of the last group, see answers.py."""
_ORDER_KEY = b"order"


BUCKET_OPEN, BUCKET_CLOSING, BUCKET_CLOSED = range(3)
"""What a bucket is on one mountpath. CLOSING: found empty here, the other mountpaths being asked."""


class BucketState(msgspec.Struct, array_like=True):
    """A bucket on one mountpath, as kept in the `buckets` table."""

    state: int
    objects: int = 0
    bytes: int = 0
    extra_objects: int = 0
    """To be subtracted: +1 for an object that another mountpath has (and counts) too, -1 when such a copy
    is dropped here. Summed over all mountpaths, totals are exact in every state between transactions."""
    extra_bytes: int = 0


class OrderState(msgspec.Struct, array_like=True):
    """How far the order and the chains of a mountpath have come, in the `state` table."""

    sequence: int = 0
    """The last one given out."""
    chains: int = 0
    """Chains made so far; see keys.py."""


encode_bucket = msgspec.msgpack.Encoder().encode
decode_bucket = msgspec.msgpack.Decoder(BucketState).decode
_encode_version = msgspec.msgpack.Encoder().encode
FIRST_VERSION = _encode_version(FIRST)
"""As it stands in the head of a record whose version is counted."""
_encode_order = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(OrderState).decode
encode_answers_kept = msgspec.msgpack.Encoder().encode
decode_answers_kept = msgspec.msgpack.Decoder(list[tuple[Generation, Answer]]).decode


def load_order(tables: IndexTables) -> OrderState:
    """What the last group left."""
    with tables.environment.begin(db=tables.state) as transaction:
        found = transaction.get(_ORDER_KEY)
    return _decode_order(found) if found else OrderState()


class MountpathWriter:
    """What the committer holds of one mountpath between groups."""

    def __init__(self, tables: IndexTables, chains: int, removals: Removals) -> None:
        self.tables = tables
        self.removals = removals
        self.buckets: dict[bytes, BucketState] = {}
        """As committed; a group that fails throws away what it changed."""
        self.chains = chains


class Group:
    """An open write transaction. `next_sequence` gives the committer's order.

    Operations return their answers; they raise AisleError when they are refused.
    """

    def __init__(self, writer: MountpathWriter, next_sequence: Callable[[], int], *, unlink_ns: int) -> None:
        self.tables = writer.tables
        self.next_sequence = next_sequence
        self.transaction: lmdb.Transaction[bytes] = writer.tables.environment.begin(write=True)
        self._writer = writer
        self._removals = writer.removals
        self._chains = writer.chains
        self._changed: dict[bytes, BucketState] = {}
        self._pieces: list[tuple[bytes, memoryview]] = []
        self._fresh: set[Generation] = set()
        self._removed: list[tuple[bytes, bytes]] = []
        self._unlink_at = time_to_unlink(unlink_ns)

    # The three operations on objects

    def put(self, message: Put, payload: memoryview) -> int | bytes:
        """Make a generation current; `payload` is empty unless it lives in the index.

        Returns its sequence, or the encoded record if its version was counted on from another one.
        """
        key = message.key
        bucket = self._changed.get(key[: keys.SPACE_BYTES])
        if bucket is None or bucket.state != BUCKET_OPEN:
            bucket = self.open_bucket(key[: keys.SPACE_BYTES])
        transaction, objects = self.transaction, self.tables.objects
        if message.expect or message.generation is not None:
            self._require(key, condition_of(message.expect, message.generation))
        if message.since is not None:
            self.require_not_removed(key, message.since)
        if len(key) > keys.DIRECT_BYTES_MAX:
            key = keys.find_or_make(transaction, objects, key, self.new_chain)
        sequence = self.next_sequence()
        record = b"".join(
            (RECORD_HEAD, message.head, SEQUENCE_HEAD, sequence.to_bytes(8, "big"), message.tail)
        )
        old = transaction.replace(key, record, db=objects)
        if payload:
            self._keep_pieces(message.id, payload)
        bucket.bytes += message.size
        last = message.replaced_version
        if old is None:
            bucket.objects += 1
        else:
            last = self._drop_replaced(key, old, bucket).attributes.version
        if message.unsynced:
            value = NEVER_SYNCED if message.unsynced == "never" else b""
            transaction.put(key, value, db=self.tables.unsynced)
        if not message.version_at or not last:
            return sequence
        # Most writes make new objects: only an overwrite pays for a second look at its entry.
        record = _with_version(record, message.version_at + len(RECORD_HEAD), next_version(last))
        transaction.put(key, record, db=objects)
        return record

    def remove(self, message: Remove) -> bool:
        """Remove an object; whether there was one."""
        bucket = self.open_bucket(message.key[: keys.SPACE_BYTES])
        if message.expect or message.generation is not None:
            self._require(message.key, condition_of(message.expect, message.generation))
        if message.lasts:
            # Also if the group fails: then no more is refused than need be.
            self._removals.remember(message.key, self.next_sequence())
        return self.delete(message.key, bucket)

    def amend(self, message: Amend) -> bytes:
        """Replace the attributes; the encoded record."""
        self.open_bucket(message.key[: keys.SPACE_BYTES])
        old = self.current(message.key)
        require(condition_of(message.expect, message.generation), old.generation if old else None)
        if old is None:
            raise ConditionFailed("the object does not exist")
        if message.sequence not in (None, old.sequence):
            raise ConditionFailed("the object was amended meanwhile")
        sequence = self.next_sequence()
        record = Record(
            size=old.size,
            written_ns=old.written_ns,
            attributes=message.attributes,
            generation=old.generation,
            sequence=sequence,
            payload=old.payload,
            boot_id=old.boot_id,
        )
        encoded = encode_record(record)
        key = keys.find(self.transaction, self.tables.objects, message.key)
        assert key is not None
        self.transaction.put(key, encoded, db=self.tables.objects)
        return encoded

    # What they and other operations are made of

    def current(self, packed: bytes) -> Record | None:
        """The current record of a packed name."""
        key = keys.find(self.transaction, self.tables.objects, packed)
        found = self.transaction.get(key, db=self.tables.objects) if key else None
        return decode_record(found) if found else None

    def require_not_removed(self, packed: bytes, since: int) -> None:
        """Raise ConditionFailed if a name may have been removed behind the place `since`."""
        self._removals.require_none(packed, since)

    def delete(self, packed: bytes, bucket: BucketState) -> bool:
        """Remove the entry of a packed name and its payload; whether there was one."""
        key = keys.find(self.transaction, self.tables.objects, packed)
        old = self.transaction.pop(key, db=self.tables.objects) if key else None
        if old is None or key is None:
            return False
        if key is not packed:
            keys.prune(self.transaction, self.tables.objects, packed)
        bucket.objects -= 1
        self._drop_replaced(key, old, bucket)
        return True

    def replace(self, packed: bytes, record: Record, bucket: BucketState) -> None:
        """Make a record current whose payload lies in files of this mountpath."""
        key = keys.find_or_make(self.transaction, self.tables.objects, packed, self.new_chain)
        old = self.transaction.replace(key, encode_record(record), db=self.tables.objects)
        bucket.bytes += record.size
        if old is None:
            bucket.objects += 1
        else:
            self._drop_replaced(key, old, bucket)
        if record.boot_id:
            self.transaction.put(key, b"", db=self.tables.unsynced)

    def put_record(self, key: bytes, record: Record) -> None:
        """Write a record under its index key and change nothing else: for repairs, which count at the end."""
        self.transaction.put(key, encode_record(record), db=self.tables.objects)
        if record.boot_id:
            self.transaction.put(key, b"", db=self.tables.unsynced)

    def set_boot_id(self, key: bytes, record: Record, boot_id: str) -> None:
        """Change the boot id of the record under an index key, if it is still `record`."""
        found = self.transaction.get(key, db=self.tables.objects)
        if found is None or decode_record(found) != record:
            return
        changed = msgspec.structs.replace(record, boot_id=boot_id)
        self.transaction.put(key, encode_record(changed), db=self.tables.objects)
        if not boot_id:
            self.transaction.delete(key, db=self.tables.unsynced)

    def adopt(self, packed: bytes, record: Record, pieces: Sequence[bytes]) -> bool:
        """Take over a record that another mountpath has, in its own order; whether it was wanted.

        `pieces` are those of a small payload; payload files are in place.
        """
        bucket = self.bucket(packed[: keys.SPACE_BYTES])
        if bucket is None or bucket.state == BUCKET_CLOSED or self.current(packed) is not None:
            return False
        self.replace(packed, record, bucket)
        for number, piece in enumerate(pieces):
            self._pieces.append((record.generation + PIECE_SUFFIXES[number], memoryview(piece)))
        bucket.extra_objects += 1
        bucket.extra_bytes += record.size
        return True

    def open_bucket(self, bucket: bytes) -> BucketState:
        """A bucket that takes objects, to be changed by this group. Raises NotFound for others."""
        state = self.bucket(bucket)
        if state is None or state.state != BUCKET_OPEN:
            raise NotFound(f"bucket number {int.from_bytes(bucket, 'big')} is not open")
        return state

    def bucket(self, bucket: bytes) -> BucketState | None:
        """A bucket as this group sees and may change it; None if it never was on this mountpath."""
        state = self._changed.get(bucket)
        if state is not None:
            return state
        known = self._writer.buckets.get(bucket)
        if known is None:
            found = self.transaction.get(bucket, db=self.tables.buckets)
            if found is None:
                return None
            known = decode_bucket(found)
        state = self._changed[bucket] = copy(known)
        return state

    def set_bucket(self, bucket: bytes, state: BucketState | None) -> None:
        """Replace a bucket's state, or forget the bucket."""
        if state is None:
            self._changed.pop(bucket, None)
            self._writer.buckets.pop(bucket, None)
            self.transaction.delete(bucket, db=self.tables.buckets)
        else:
            self._changed[bucket] = state

    def drop_file(self, generation: Generation) -> None:
        """Have a payload file unlinked once no reader can be about to open it."""
        self._removed.append((self._unlink_at + generation, b""))

    def commit(self, answers: Sequence[tuple[Generation, Answer]]) -> None:
        """Make everything visible and durable. Raises lmdb.Error and OSError; then nothing happened."""
        transaction, tables = self.transaction, self.tables
        self._flush_pieces()
        if self._removed:
            with transaction.cursor(tables.removed) as cursor:
                cursor.putmulti(self._removed)
        for bucket, state in self._changed.items():
            transaction.put(bucket, encode_bucket(state), db=tables.buckets)
        # One more than any record of the group has, so that none is ever given out twice.
        order = OrderState(self.next_sequence(), self._chains)
        transaction.put(_ORDER_KEY, _encode_order(order), db=tables.state)
        if answers:
            transaction.put(ANSWERS_KEY, encode_answers_kept(answers), db=tables.state)
        transaction.commit()
        self._writer.buckets.update(self._changed)
        self._writer.chains = self._chains

    def abort(self) -> None:
        """Forget everything."""
        self.transaction.abort()

    def _require(self, packed: bytes, condition: Condition) -> None:
        current = self.current(packed)
        require(condition, current.generation if current else None)

    def new_chain(self) -> int:
        """The number of a new chain; see keys.py."""
        self._chains += 1
        return self._chains

    def _keep_pieces(self, generation: Generation, payload: memoryview) -> None:
        self._fresh.add(generation)
        pieces, length = self._pieces, len(payload)
        start = number = 0
        while start < length:
            end = start + PIECE_BYTES
            pieces.append((generation + PIECE_SUFFIXES[number], payload[start:end]))
            start = end
            number += 1

    def _flush_pieces(self) -> None:
        if self._pieces:
            with self.transaction.cursor(self.tables.small) as cursor:
                cursor.putmulti(self._pieces)
            self._pieces.clear()
            self._fresh.clear()

    def _drop_replaced(self, key: bytes, old: bytes, bucket: BucketState) -> Record:
        """Drop the payload of a record that was replaced; the record."""
        record = decode_record(old)
        bucket.bytes -= record.size
        if record.boot_id:
            self.transaction.delete(key, db=self.tables.unsynced)
        payload = record.payload
        if isinstance(payload, Inline):
            if record.generation in self._fresh:
                self._flush_pieces()
            for number in range(payload.pieces):
                self.transaction.delete(record.generation + PIECE_SUFFIXES[number], db=self.tables.small)
        else:
            for segment in payload.segments:
                self.drop_file(segment.generation)
        return record


def _with_version(record: bytes, start: int, version: str) -> bytes:
    """An encoded record with another version than the first, which stands at `start`."""
    assert record.startswith(FIRST_VERSION, start)
    return record[:start] + _encode_version(version) + record[start + len(FIRST_VERSION) :]
