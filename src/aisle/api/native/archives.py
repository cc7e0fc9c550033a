"""Archives over the native API: members read, found and written (ais-native-api.md §6.2, §6.8, §6.10)."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.bodies import INERT, part_body
from aisle.api.gate import Action
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import Address, Variants, bucket_of
from aisle.api.native.jobs import TEXT_TYPE, bucket_of_shape
from aisle.api.native.multiobject import SelectionMessage
from aisle.api.native.transfers import Destinations
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.errors import BadRequest, ConditionFailed, ObjectNotFound, TooBusy, UnsupportedRange
from aisle.gateway.buckets import Buckets, check_own
from aisle.httpd.request import BodyStream, Request
from aisle.httpd.response import Response, StreamBody
from aisle.jobs.archiving import ArchiveSettings, encode_settings
from aisle.jobs.bulk_board import BulkBoard
from aisle.model.bulk import ARCHIVE, BulkRecord
from aisle.model.names import display, parse_object_key
from aisle.model.record import ABSENT, Condition, Record
from aisle.rules.archives import ArchiveFormat, member_filter, parse_member_name, writable_format
from aisle.target.archive_reading import Member
from aisle.target.archive_writing import GeneratedSource, Growing
from aisle.target.archives import Archives, OpenArchive
from aisle.target.in_threads import ThreadedChunks
from aisle.target.objects import Incoming, TargetObjects

APPEND, APPEND_OR_CREATE = "1", "2"
"""Values of `Ais-Pine`."""
_OCTETS: Final = ("Content-Type", "application/octet-stream")
_TAR: Final = ("Content-Type", ArchiveFormat.TAR.content_type)


class ArchiveMessage(msgspec.Struct, frozen=True):
    """The value of `archive`, beside its selection."""

    archname: str = ""
    mime: str = ""
    tobck: dict[str, object] = msgspec.field(default_factory=dict)
    isbn: bool = False
    aate: bool = False
    bnonly: bool = False


class ArchiveVerbs:
    """Handlers of what concerns the inside of archives."""

    def __init__(
        self,
        archives: Archives,
        objects: TargetObjects,
        *,
        board: BulkBoard,
        buckets: Buckets,
        destinations: Destinations,
        counters: telemetry.Telemetry,
    ) -> None:
        self._archives = archives
        self._objects = objects
        self._board = board
        self._buckets = buckets
        self._destinations = destinations
        self._slots = counters.slots

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        return [Route("PUT", "/v1/buckets/{bucket}", Action.GET, self.create, "action=archive")]

    def variants(self) -> Variants:
        """What parameters make of the verbs on objects."""
        return {
            ("GET", "archpath"): self.read,
            ("GET", "archmode"): self.read,
            ("PUT", "archpath"): self.write,
        }

    async def read(self, request: Request, key: bytes, address: Address) -> Response:
        """One member by `archpath`, or a tar of all that `archregx` and `archmode` select."""
        query = address.query
        path, mode = query.get("archpath", ""), query.get("archmode", "")
        if path and mode:
            raise BadRequest("archpath and archmode exclude each other")
        if "range" in request.headers:
            raise UnsupportedRange("a range of what is inside an archive")
        match = None if path else member_filter(mode, query.get("archregx", ""))
        archive = await self._archives.open(address.bucket, key, spoken=query.get("archmime", ""))
        try:
            if match is None:
                return await self._member(archive, archive.member(path))
            members, size = await archive.select(match)
            chunks = ThreadedChunks(archive.as_tar(members), stop=archive.stop, close=archive.close)
        except BaseException:
            archive.close()
            raise
        await chunks.begin()
        self._slots[telemetry.GET_BYTES] += size
        return Response(200, [_TAR, *INERT], StreamBody(chunks, size))

    async def _member(self, archive: OpenArchive, member: Member) -> Response:
        self._slots[telemetry.GET_BYTES] += member.size
        span = archive.contents.span(member) if member.size else None
        if span is not None:
            return Response(200, [_OCTETS, *INERT], part_body(archive.stored, span))
        if not member.size:
            archive.close()
            return Response(200, [_OCTETS, *INERT])
        chunks = ThreadedChunks(archive.contents.pieces(member), stop=archive.stop, close=archive.close)
        await chunks.begin()
        return Response(200, [_OCTETS, *INERT], StreamBody(chunks, member.size))

    async def write(self, request: Request, key: bytes, address: Address) -> Response:
        """A file into an archive, which is new, or grows, as `Ais-Pine` says."""
        query, body = address.query, request.body
        name = parse_member_name(query["archpath"])
        how = request.headers.get("ais-pine", "")
        if how not in ("", "0", APPEND, APPEND_OR_CREATE):
            raise BadRequest(f'invalid Ais-Pine "{how[:80]}" (expecting 1 to append, 2 to append or create)')
        if body.length is None:
            raise BadRequest("writing into an archive needs the file's Content-Length")
        spoken = query.get("archmime", "")
        old: OpenArchive | None = None
        content: GeneratedSource | None = None
        if how in (APPEND, APPEND_OR_CREATE):
            try:
                old = await self._archives.open(address.bucket, key, spoken=spoken)
            except ObjectNotFound:
                if how == APPEND:
                    raise
        try:
            format_ = old.index.format if old else writable_format(key, spoken)
            growing = Growing(format_, old)
            content = GeneratedSource(_with_file(growing, name, body, body.length))
            condition = _unchanged(old, is_append=how in (APPEND, APPEND_OR_CREATE))
            content_type = old.stored.record.attributes.content_type if old else format_.content_type
            incoming = Incoming(content_type, condition=condition)
            record = await self._objects.put(address.bucket, key, content, incoming)
        except ConditionFailed as error:
            where = display(address.bucket.bucket, key)
            raise TooBusy(f"{where} is being written by others: try again") from error
        finally:
            if content is not None:
                await content.aclose()
            if old is not None:
                old.close()
        self._slots[telemetry.PUT_BYTES] += record.size
        return Response(200)

    async def create(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that packs the selected objects into an archive; its id."""
        source = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        check_own(source, "packing objects of", instead="copy them into an own bucket first (ais cp)")
        value = message.value
        wanted = parse_value(value, SelectionMessage, what="multi-object message")
        how = parse_value(value, ArchiveMessage, what="archive message")
        key = parse_object_key(how.archname.encode())
        format_ = writable_format(key, how.mime)
        # What the path names is read, and the gate has looked; the archive's bucket is written to.
        to = bucket_of_shape(how.tobck) if how.tobck.get("name") else source.bucket
        destination = self._destinations.find(to, request.caller)
        check_own(destination, "packing objects into", instead="pack into an own bucket, and copy (ais cp)")
        settings = ArchiveSettings(
            name=how.archname,
            format=format_.value,
            with_bucket=how.isbn,
            appends=how.aate,
            basename_only=how.bnonly,
        )
        record = BulkRecord(
            id="",
            kind=ARCHIVE,
            started_ns=0,
            bucket=source.bucket,
            number=source.number,
            to_bucket=to,
            owner=request.caller.id,
            to_number=destination.number,
            selection=wanted.selection(),
            continues_on_error=wanted.coer,
            details=encode_settings(settings),
        )
        job_id = await self._board.submit(record, wanted.objnames)
        return Response(200, [TEXT_TYPE], job_id.encode())


async def _with_file(growing: Growing, name: str, body: BodyStream, size: int) -> AsyncIterator[bytes]:
    """An archive with one more file."""
    async for chunk in growing.begin():
        yield chunk
    async for chunk in growing.add(name, size, body, modified_s=int(time.time())):
        yield chunk
    yield growing.close()


def _unchanged(old: OpenArchive | None, *, is_append: bool) -> Callable[[Record | None], Condition] | None:
    """What must hold when the archive is replaced: that it is still the one that was read."""
    if old is not None:
        same = Condition(generation=old.stored.record.generation)
        return lambda _: same
    return (lambda _: ABSENT) if is_append else None
