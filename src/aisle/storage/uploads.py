"""What operations on uploads do within a write transaction, and how the index keeps them.

An upload's id begins with the id of its mountpath: all parts lie there, whichever process receives them.
Payloads of parts are always files, so that completing an upload writes a list and moves no byte.
"""

from collections.abc import Sequence

import msgspec

from aisle.errors import BadRequest, InvalidPart, UploadNotFound
from aisle.model.names import ObjectName
from aisle.model.record import Files, Record, Segment, encode_record
from aisle.storage import keys
from aisle.storage.conditions import counted, require
from aisle.storage.engine import Part, Upload
from aisle.storage.filesystem import boot_id
from aisle.storage.messages import AbandonUpload, BeginUpload, CompleteUpload, PutPart, condition_of
from aisle.storage.tables import IndexTables
from aisle.storage.transaction import Group


class StoredPart(msgspec.Struct, frozen=True, array_like=True):
    """A part as the index keeps it."""

    part: Part
    segment: Segment
    boot_id: str = ""
    """Set when the payload file was not synced; see Record."""


encode_upload = msgspec.msgpack.Encoder().encode
decode_upload = msgspec.msgpack.Decoder(Upload).decode
encode_part = msgspec.msgpack.Encoder().encode
decode_part = msgspec.msgpack.Decoder(StoredPart).decode


def part_prefix(upload_id: str) -> bytes:
    """What the keys of an upload's parts begin with."""
    return upload_id.encode() + b"/"


def part_key(upload_id: str, number: int) -> bytes:
    """The key of a part; in byte order of the numbers."""
    return part_prefix(upload_id) + number.to_bytes(4, "big")


def stored_parts(tables: IndexTables, transaction: keys.ReadTransaction, upload_id: str) -> list[StoredPart]:
    """The parts of an upload in order of their numbers."""
    prefix = part_prefix(upload_id)
    found = []
    with transaction.cursor(tables.parts) as cursor:
        if cursor.set_range(prefix):
            for key, value in cursor.iternext():
                if not key.startswith(prefix):
                    break
                found.append(decode_part(value))
    return found


def begin(group: Group, message: BeginUpload) -> None:
    """Keep an upload."""
    group.open_bucket(message.bucket)
    group.transaction.put(message.upload.encode(), message.encoded, db=group.tables.uploads)


def put_part(group: Group, message: PutPart) -> None:
    """Keep a part; the file of an earlier one of that number goes."""
    _upload(group, message.upload)
    key = part_key(message.upload, message.number)
    old = group.transaction.replace(key, message.encoded, db=group.tables.parts)
    if old is not None:
        group.drop_file(decode_part(old).segment.generation)


def complete(group: Group, message: CompleteUpload) -> bytes:
    """Make the named parts the object; the encoded record."""
    upload = _upload(group, message.upload)
    name = ObjectName(upload.bucket, upload.key)
    packed = keys.pack(name)
    bucket = group.open_bucket(keys.pack_bucket(name.bucket))
    parts = {part.part.number: part for part in stored_parts(group.tables, group.transaction, upload.id)}
    for number in message.numbers:
        if number not in parts:
            raise InvalidPart(f"upload {upload.id} has no part {number}")
    for number, written_ns in zip(message.numbers, message.written_ns, strict=False):
        if parts[number].part.written_ns != written_ns:
            raise InvalidPart(f"part {number} of upload {upload.id} was written again meanwhile")
    if not message.numbers or len(set(message.numbers)) != len(message.numbers):
        raise BadRequest(f"upload {upload.id}: no parts, or one twice")
    current = group.current(packed)
    require(
        condition_of(message.expect, message.generation),
        current.generation if current else None,
    )
    if message.since is not None:
        group.require_not_removed(packed, message.since)
    chosen = [parts[number] for number in message.numbers]
    replaced = current.attributes.version if current else message.replaced_version
    record = Record(
        size=sum(part.part.size for part in chosen),
        written_ns=message.completed_ns,
        attributes=counted(message.attributes, replaced),
        generation=message.id,
        sequence=group.next_sequence(),
        payload=Files(tuple(part.segment for part in chosen)),
        boot_id=_boot_of(chosen),
    )
    group.replace(packed, record, bucket)
    forget(group, upload.id, keep={part.segment.generation for part in chosen})
    return encode_record(record)


def _boot_of(parts: Sequence[StoredPart]) -> str:
    """The boot of the machine that has written some of the parts without a sync; empty if none has.

    One that has ended, if there is one: what it wrote must be verified.
    """
    boots = {part.boot_id for part in parts} - {""}
    return max(boots, key=lambda boot: boot != boot_id(), default="")


def abandon(group: Group, message: AbandonUpload) -> None:
    """Drop an upload and its parts."""
    _upload(group, message.upload)
    forget(group, message.upload)


def forget(group: Group, upload_id: str, *, keep: set[bytes] | frozenset[bytes] = frozenset()) -> None:
    """Remove an upload's entries, and its payload files but those to keep."""
    for part in stored_parts(group.tables, group.transaction, upload_id):
        group.transaction.delete(part_key(upload_id, part.part.number), db=group.tables.parts)
        if part.segment.generation not in keep:
            group.drop_file(part.segment.generation)
    group.transaction.delete(upload_id.encode(), db=group.tables.uploads)


def _upload(group: Group, upload_id: str) -> Upload:
    found = group.transaction.get(upload_id.encode(), db=group.tables.uploads)
    if found is None:
        raise UploadNotFound(upload_id)
    return decode_upload(found)
