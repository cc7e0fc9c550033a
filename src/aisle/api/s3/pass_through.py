"""Requests that are signed for the source of a bucket: replayed there, and answered from here if it agrees.

Buckets with the feature `S3-Presigned-Request` take requests with signatures for Amazon, or for the
endpoint that they are configured with. Only the source can check those. What it sends is kept; what is
here is sent only after it has accepted the very request, to which nothing but an unsigned If-None-Match
is added. A refusal is passed on, and leaves everything as it was.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from enum import Enum
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.payload import CONTENT_HASH_FIELD, STREAMING, raw_body
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.metadata import Kept, kept_metadata, refuse_unbuilt
from aisle.api.s3.reading import OVERRIDES, ReadingOperations
from aisle.api.s3.signed_requests import (
    Chunks,
    Reply,
    SignedRequests,
    fields_passed,
    passed_on,
    signed_fields,
    unbroken,
)
from aisle.api.s3.sources import COPY_SOURCE
from aisle.api.s3.unsure_writes import UnsureWrites
from aisle.api.s3.writing import OBJECT_BYTES_MAX
from aisle.backends.answer_fields import plain_etag
from aisle.backends.aws_protocol import about_of, digests_of
from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    ConditionFailed,
    CorruptObject,
    EgressDenied,
    NotFound,
    NotYetWritten,
    RequestAborted,
    SourceFailed,
)
from aisle.httpd.delivery import BrokenAnswer
from aisle.httpd.request import BodyStream
from aisle.httpd.response import Response, StreamBody
from aisle.model.names import ObjectName
from aisle.model.principal import PASSED_ON
from aisle.model.record import ABSENT, Condition, Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.preconditions import CONDITIONAL_FIELDS
from aisle.rules.remote_metadata import attributes_of, digests_to_compute
from aisle.rules.signatures_chunks import ChunkDecoder
from aisle.storage.engine import Stored
from aisle.target.keeping import MD5, Keeping, contradicts
from aisle.target.remote_objects import RemoteObjects

_log = logging.getLogger(__name__)

RANGE: Final = "range"
_OF_SIGNATURES: Final = frozenset(
    {
        "AWSAccessKeyId",
        "Expires",
        "Signature",
        "X-Amz-Algorithm",
        "X-Amz-Checksum-Mode",
        "X-Amz-Content-Sha256",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "x-amz-security-token",
        "x-id",
    }
)
"""Parameters that do not change what is asked for."""
_FRAMES: Final = 32
"""The part of a body that signatures of its chunks may take up, at most."""
_FILLING_MAX: Final = 16
_KEYS_OF_CLIENTS: Final = "x-amz-server-side-encryption-customer-"
"""Begins the fields that carry a client's own key: what is encrypted with it is nobody else's."""


class Outcome(Enum):
    """What is known of a change that was passed on."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNSURE = "unsure"


class PassThrough:
    """Answers signed requests about buckets that pass them on."""

    def __init__(
        self,
        signed: SignedRequests,
        remote: RemoteObjects,
        reading: ReadingOperations,
        *,
        counters: telemetry.Telemetry,
    ) -> None:
        self._signed = signed
        self._remote = remote
        self._engine = remote.engine
        self._reading = reading
        self._slots = counters.slots
        self._unsure = UnsureWrites(remote)
        self._passing: dict[ObjectName, Keeping] = {}
        """Objects that are going by and are to be kept."""
        self._filling: dict[ObjectName, asyncio.Task[None]] = {}
        """Objects that are fetched because a range of them was read."""

    async def answer(self, operation: Operation, call: S3Call) -> Response:
        """What the source says to a request. Raises S3Error, and what sending raises."""
        method = call.request.method
        if operation.level is not Level.OBJECT and method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", "Buckets are changed at their source, not from here.")
        is_plain = operation.subresource == "" and not _has_client_key(call)
        if is_plain and operation.level is Level.OBJECT:
            if method == "GET" and call.query.keys() <= _OF_SIGNATURES | OVERRIDES.keys():
                return await self._read(call)
            if method == "PUT" and COPY_SOURCE not in call.headers:
                return await self._write(call)
        if method in ("GET", "HEAD"):
            return passed_on(await self._signed.send(call), call.request)
        return await self._change(call)

    # Reading.

    async def _read(self, call: S3Call) -> Response:
        since = self._engine.place()
        copy = self._copy(call)
        try:
            etag = _source_etag(copy.record) if copy is not None else ""
            further = (("If-None-Match", f'"{etag}"'),) if etag else ()
            reply = await self._signed.send(call, further=further)
            if copy is not None and reply.status == 304 and etag:
                reply.close()
                held, copy = copy, None
                return await self._from_here(call, held)
            record = copy.record if copy is not None else None
        finally:
            if copy is not None:
                copy.close()
        if reply.status == 200 and self._may_keep(call, reply):
            return self._kept(call, reply, record, since)
        if reply.status in (200, 206) and record is not None and etag:
            await self._remove(call, Condition(generation=record.generation))
        if reply.status == 206 and self._may_fill(call, reply):
            self._begin_filling(call)
        return passed_on(reply, call.request)

    def _may_fill(self, call: S3Call, reply: Reply) -> bool:
        """Whether a read of a range allows to fetch the whole: it says nothing of its range, nor of more."""
        name = ObjectName(call.bucket().number, call.key)
        is_known = name in self._passing or name in self._filling or len(self._filling) >= _FILLING_MAX
        is_signed = RANGE in signed_fields(call.request)
        is_plain = call.headers.keys().isdisjoint(CONDITIONAL_FIELDS) and call.query.keys() <= _OF_SIGNATURES
        if is_known or is_signed or not is_plain:
            return False
        size = reply.fields.get("content-range", "").rpartition("/")[2]
        return size.isdecimal() and call.bucket().properties.caching.fills(int(size))

    def _begin_filling(self, call: S3Call) -> None:
        """Fetch the whole of an object by a signature for a range of it, in the background."""
        name = ObjectName(call.bucket().number, call.key)
        task = asyncio.create_task(self._fill(call))
        self._filling[name] = task
        task.add_done_callback(lambda _: self._filling.pop(name, None))

    async def _fill(self, call: S3Call) -> None:
        since = self._engine.place()
        headers = {field: value for field, value in call.headers.items() if field != RANGE}
        request = msgspec.structs.replace(call.request, headers=headers)
        whole = S3Call(request, call.name, call.key, call.query, call.permits, call.info)
        held = self._engine.look_up(ObjectName(call.bucket().number, call.key))
        try:
            reply = await self._signed.send(whole)
            if held is not None or reply.status != 200 or not self._may_keep(whole, reply):
                reply.close()
                return
            answer = self._kept(whole, reply, None, since)
            assert isinstance(answer.body, StreamBody)
            async for _ in answer.body.chunks:
                pass
        except (AisleError, BrokenAnswer) as error:
            _log.info("%s/%s: not all of it was fetched: %s", call.name, call.key.decode(), error)

    def _copy(self, call: S3Call) -> Stored | None:
        """What is here, if it can be what the request asks for."""
        if not call.headers.keys().isdisjoint(CONDITIONAL_FIELDS):
            return None  # the source decides about those, and is asked as the client asked
        try:
            stored = self._engine.open(ObjectName(call.bucket().number, call.key))
        except CorruptObject:
            return None
        if stored is not None and (not _source_etag(stored.record) or is_unwritten(stored.record.attributes)):
            stored.close()
            return None
        return stored

    async def _from_here(self, call: S3Call, stored: Stored) -> Response:
        """The answer to a read that the source has accepted, of what it says is still the same."""
        accepted = msgspec.structs.replace(call.request, caller=PASSED_ON)
        query = {name: value for name, value in call.query.items() if name in OVERRIDES}
        local = S3Call(accepted, call.name, call.key, query, call.permits, call.info)
        try:
            return await self._reading.serve(local, stored)
        except CorruptObject:
            await self._forget(call)
            return passed_on(await self._signed.send(call), call.request)

    def _may_keep(self, call: S3Call, reply: Reply) -> bool:
        return (
            reply.rest is not None
            and "content-length" in reply.fields
            and "content-encoding" not in reply.fields
            and call.query.keys() <= _OF_SIGNATURES
            and ObjectName(call.bucket().number, call.key) not in self._passing
        )

    def _kept(self, call: S3Call, reply: Reply, replaces: Record | None, since: int) -> Response:
        """The whole of an object, on its way to the client and to the disk."""
        info = call.bucket()
        about = about_of(call.key.decode(), reply.fields)
        kinds = digests_to_compute(about, info.properties.checksum.type)
        keeping = Keeping(self._engine, info, call.key, digests=kinds, size=about.size, since=since)
        self._slots[telemetry.GET_BYTES] += about.size
        assert reply.rest is not None
        both = self._both_ways(call, unbroken(reply.rest.chunks()), keeping, (about, replaces))

        def close() -> None:
            keeping.drop()
            reply.close()

        return Response(200, fields_passed(reply.fields), StreamBody(Chunks(both, close), about.size))

    async def _both_ways(
        self,
        call: S3Call,
        chunks: AsyncGenerator[bytes, None],
        keeping: Keeping,
        told: tuple[RemoteObject, Record | None],
    ) -> AsyncGenerator[bytes, None]:
        """The chunks, each kept before it is sent; the last one is sent when all are known to be right."""
        about, replaces = told
        name = ObjectName(call.bucket().number, call.key)
        self._passing[name] = keeping
        try:
            last = b""
            async for chunk in chunks:
                await keeping.take(chunk)
                if last:
                    yield last
                last = chunk
            size = keeping.size
            computed = await keeping.finish()
            if keeping.is_kept and contradicts(about, size, computed):
                raise BrokenAnswer(f"{call.name}/{about.key}: its source sent other bytes than it told of")
            remote = call.bucket().remote
            assert remote is not None
            condition = Condition(generation=replaces.generation) if replaces else ABSENT
            attributes = attributes_of(about, remote.provider, computed)
            await keeping.commit(attributes, condition=condition, written_ns=about.modified_ns)
            if last:
                yield last
        finally:
            if self._passing.get(name) is keeping:
                del self._passing[name]
            keeping.drop()
            await chunks.aclose()

    # Writing.

    async def _write(self, call: S3Call) -> Response:
        """A write, sent on while it comes in, and kept if its source accepts it."""
        info = call.bucket()
        body, length = _sized(call)
        kept = _kept_metadata(call)
        name = ObjectName(info.number, call.key)
        held = self._engine.look_up(name)
        condition = Condition(generation=held.record.generation) if held else ABSENT
        self._stop_keeping(name)
        own = info.properties.checksum.type
        kinds = [MD5] if own in ("", "none") else [MD5, own]
        since = self._engine.place()
        keeping = Keeping(
            self._engine, info, call.key, digests=kinds, size=length, since=since, is_judged=False
        )
        if kept is None or (held and is_unwritten(held.record.attributes)):
            keeping.drop()
        outcome = Outcome.UNSURE
        try:
            reply = await self._sent_and_kept(call, body, length, keeping)
            outcome = _outcome(reply.status)
            if outcome is Outcome.CHANGED:
                self._slots[telemetry.PUT_BYTES] += length
                if kept is not None and await self._commit(call, reply, keeping, (kept, condition)):
                    outcome = Outcome.UNCHANGED  # it is what is here
            return passed_on(reply, call.request)
        except AisleError as error:
            outcome = _outcome_of(error, outcome)
            raise
        finally:
            keeping.drop()
            await self._settle(call, outcome)

    async def _sent_and_kept(self, call: S3Call, body: BodyStream, length: int, keeping: Keeping) -> Reply:
        unframed = _Unframed(call, keeping)
        whole = body.buffered() if length else b""
        if whole is not None:
            await unframed.take(whole)
            reply = await self._signed.send(call, whole)
        else:
            reply = await self._signed.send(call, _read_through(body, unframed), length=length)
        unframed.finish()
        return reply

    async def _commit(
        self, call: S3Call, reply: Reply, keeping: Keeping, wanted: tuple[Kept, Condition]
    ) -> bool:
        """Whether what was written is the copy here now."""
        kept, condition = wanted
        remote = call.bucket().remote
        assert remote is not None
        size = keeping.size
        computed = await keeping.finish()
        etag = plain_etag(reply.fields.get("etag", ""))
        about = RemoteObject(
            call.key.decode(),
            size,
            version=reply.fields.get("x-amz-version-id", "").removeprefix("null") or etag,
            etag=etag,
            digests=digests_of(etag, reply.fields),
            custom=kept.user,
            content_type=kept.content_type,
        )
        if not keeping.is_kept or not etag or contradicts(about, size, computed):
            return False
        told = attributes_of(about, remote.provider, computed)
        attributes = msgspec.structs.replace(told, fields=dict(kept.fields))
        return await keeping.commit(attributes, condition=condition, written_ns=0) is not None

    async def _change(self, call: S3Call) -> Response:
        """Any other request that may change the object: what is here of it is out of date then."""
        body, length = _sized(call)
        whole = body.buffered() if length else b""
        self._stop_keeping(ObjectName(call.bucket().number, call.key))
        outcome = Outcome.UNSURE
        try:
            if whole is not None:
                reply = await self._signed.send(call, whole)
            else:
                reply = await self._signed.send(call, _read_through(body), length=length)
            outcome = _outcome(reply.status)
        except AisleError as error:
            outcome = _outcome_of(error, outcome)
            raise
        finally:
            await self._settle(call, Outcome.UNCHANGED if _is_of_upload(call) else outcome)
        return passed_on(reply, call.request)

    async def _settle(self, call: S3Call, outcome: Outcome) -> None:
        """Do to what is here what follows from a change at its source."""
        if outcome is Outcome.CHANGED:
            await self._forget(call)
        elif outcome is Outcome.UNSURE:
            await self._unsure.settle(call.bucket(), call.key)

    async def _forget(self, call: S3Call) -> None:
        """Drop what is here, unless its source does not have it yet."""
        with suppress(NotYetWritten):
            await self._remote.evict(call.bucket(), call.key)

    def _stop_keeping(self, name: ObjectName) -> None:
        """What is going by now is about to be out of date."""
        keeping = self._passing.pop(name, None)
        if keeping is not None:
            keeping.drop()

    async def _remove(self, call: S3Call, condition: Condition) -> None:
        """Drop the copy that the source has another version of."""
        try:
            await self._engine.remove(ObjectName(call.bucket().number, call.key), condition=condition)
        except (ConditionFailed, NotFound):
            pass  # somebody else was faster


class _Unframed:
    """The payload of a body that is sent on as it comes, for keeping."""

    def __init__(self, call: S3Call, keeping: Keeping) -> None:
        self._keeping = keeping
        self._decoder: ChunkDecoder | None = None
        if call.headers.get(CONTENT_HASH_FIELD, "").startswith(STREAMING):
            self._decoder = ChunkDecoder(seal=None, announced=(), length=None)

    async def take(self, raw: bytes) -> None:
        """The next bytes of the body."""
        if self._decoder is None:
            await self._keeping.take(raw)
            return
        try:
            for piece in self._decoder.feed(raw):
                await self._keeping.take(piece)
        except AisleError:
            self._keeping.drop()  # whether that is a body is for the source to say

    def finish(self) -> None:
        """The body is over."""
        if self._decoder is not None and self._keeping.is_kept:
            try:
                self._decoder.finish()
            except AisleError:
                self._keeping.drop()


async def _read_through(body: BodyStream, unframed: _Unframed | None = None) -> AsyncIterator[bytes]:
    """A body as it comes."""
    while chunk := await body.read():
        if unframed is not None:
            await unframed.take(chunk)
        yield chunk


def _sized(call: S3Call) -> tuple[BodyStream, int]:
    """The body as it came, and its length. Raises S3Error MissingContentLength, EntityTooLarge."""
    body = raw_body(call.request.body)
    if body.length is None:
        raise S3Error("MissingContentLength")
    if body.length > OBJECT_BYTES_MAX + OBJECT_BYTES_MAX // _FRAMES:
        proposed, limit = str(body.length), str(OBJECT_BYTES_MAX)
        raise S3Error("EntityTooLarge", ProposedSize=proposed, MaxSizeAllowed=limit)
    return body, body.length


def _kept_metadata(call: S3Call) -> Kept | None:
    """What is kept of a write's headers; None if it is not to be kept, as some of them mean more."""
    if not call.query.keys() <= _OF_SIGNATURES:
        return None
    try:
        refuse_unbuilt(call.headers)
        return kept_metadata(call.headers)
    except S3Error:
        return None


def _is_of_upload(call: S3Call) -> bool:
    """Whether a change is about an upload in parts that is not completed by it: the object stays as it is."""
    if "uploadId" in call.query:
        return call.request.method != "POST"
    return "uploads" in call.query


def _outcome(status: int) -> Outcome:
    """What a source has made of a change that it answers so."""
    if 200 <= status < 300:
        return Outcome.CHANGED
    return Outcome.UNSURE if status >= 500 and status not in (501, 503) else Outcome.UNCHANGED


def _outcome_of(error: AisleError, before: Outcome) -> Outcome:
    """What has become of a change that failed so. What the source has said `before` remains."""
    is_unasked = isinstance(error, SourceFailed) and error.is_unasked
    if before is Outcome.UNSURE and (
        is_unasked or isinstance(error, EgressDenied | RequestAborted | S3Error)
    ):
        return Outcome.UNCHANGED
    return before


def _has_client_key(call: S3Call) -> bool:
    return any(name.startswith(_KEYS_OF_CLIENTS) for name in call.headers)


def _source_etag(record: Record) -> str:
    """The entity tag that the source has told of what is here."""
    return record.attributes.custom.get("ETag", "")
