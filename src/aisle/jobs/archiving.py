"""The job that packs objects of a bucket into an archive (ais-native-api.md §6.10).

The archive appears when it is complete. What a killed process had packed is packed again: an archive
that was being written leaves nothing behind.
"""

import os
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from aisle.errors import AisleError, Conflict, ObjectNotFound
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import BulkTools, destination_bucket, is_listed, selected, source_bucket
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkProgress, BulkRecord
from aisle.model.names import ObjectName, display
from aisle.model.record import ABSENT, Condition, Record
from aisle.rules.archives import ArchiveFormat, parse_member_name
from aisle.rules.ranges import Span
from aisle.target.archive_writing import GeneratedSource, Growing
from aisle.target.archives import Archives, OpenArchive
from aisle.target.objects import Incoming, TargetObjects
from aisle.target.stored_source import StoredSource

_NS_PER_S: Final = 1_000_000_000


class ArchiveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of archive, and what members are called in it."""

    name: str
    """The archive's own."""
    format: str
    """Its extension, such as `.tar`."""
    with_bucket: bool = False
    """Names of members begin with that of the bucket."""
    appends: bool = False
    """An archive that is there grows; otherwise it is replaced."""
    basename_only: bool = False
    """Members are called by what follows the last slash."""

    def member_name(self, bucket: str, key: bytes) -> str:
        """What an object is called in the archive. Raises BadRequest for a name that would lead elsewhere."""
        name = key.decode("utf-8", "surrogateescape")
        if self.basename_only:
            name = os.path.basename(name)
        return parse_member_name(f"{bucket}/{name}" if self.with_bucket else name)


encode_settings = msgspec.msgpack.Encoder().encode
_decode_settings = msgspec.msgpack.Decoder(ArchiveSettings).decode


class Archiving:
    """Packs objects into an archive."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record
        self._settings = _decode_settings(record.details)
        self._counts = BatchCounts()

    async def run(self, tally: BulkTally, _keep: object = None) -> None:
        """Pack all that is selected."""
        tools, settings = self._tools, self._settings
        source, to = source_bucket(tools, self._record), destination_bucket(tools, self._record)
        key = settings.name.encode()
        old: OpenArchive | None = None
        content: GeneratedSource | None = None
        if settings.appends:
            try:
                old = await Archives(tools.engine).open(to, key)
            except ObjectNotFound:
                old = None
        try:
            format_ = old.index.format if old else ArchiveFormat(settings.format)
            growing = Growing(format_, old)
            content = GeneratedSource(self._packed(source, growing, skipped=ObjectName(to.number, key)))
            condition = Condition(generation=old.stored.record.generation) if old else ABSENT

            def unchanged(_: Record | None) -> Condition:
                return condition

            incoming = Incoming(format_.content_type, condition=unchanged if settings.appends else None)
            await TargetObjects(tools.engine).put(to, key, content, incoming)
        finally:
            if content is not None:
                await content.aclose()
            if old is not None:
                old.close()
        done = self._counts.objects + len(self._counts.errors)
        tally.add(self._counts, visited=done, after=b"")

    async def _packed(
        self, source: BucketInfo, growing: Growing, *, skipped: ObjectName
    ) -> AsyncIterator[bytes]:
        """The archive's bytes."""
        async for chunk in growing.begin():
            yield chunk
        # Names are walked through from the first one, whatever an earlier process got done.
        walk = BulkTally(BulkProgress(id=self._record.id))
        for batch in selected(self._tools, self._record, walk):
            for key in batch.keys:
                if ObjectName(source.number, key) == skipped:
                    continue  # the archive itself, or what it was
                async for chunk in self._member(source, key, growing):
                    yield chunk
            walk.add(BatchCounts(), visited=len(batch.keys), after=batch.after)
        yield growing.close()

    async def _member(self, source: BucketInfo, key: bytes, growing: Growing) -> AsyncIterator[bytes]:
        """One object as a member, or nothing where the job continues without it."""
        try:
            name = self._settings.member_name(source.bucket.name, key)
            stored = self._tools.engine.open(ObjectName(source.number, key))
            if stored is None:
                raise ObjectNotFound(display(source.bucket, key))
        except ObjectNotFound as error:
            if not is_listed(self._record):
                return  # a template names what may be there
            self._fail(error)
            return
        except AisleError as error:
            self._fail(error)
            return
        record = stored.record
        try:
            content = StoredSource(stored, Span(0, record.size))
            # From here on there is no way back: a file that cannot be read ends the archive.
            async for chunk in growing.add(
                name, record.size, content, modified_s=record.written_ns // _NS_PER_S
            ):
                yield chunk
        finally:
            stored.close()
        self._counts.done(record.size)

    def _fail(self, error: AisleError) -> None:
        """Go on without this object. Raises Conflict unless the job was told to."""
        if not self._record.continues_on_error:
            # Not as it is: to whoever writes the archive, what is not found is the archive's bucket.
            raise Conflict(str(error)) from error
        self._counts.failed(error)
