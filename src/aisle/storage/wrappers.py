"""Engines around an engine: injected faults and added latency, for tests of what stands above.

Both are engines themselves, so they stack. Verbs are known by their names in the protocols.
"""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from aisle.errors import AisleError, Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import ANY, Attributes, Condition, Record
from aisle.storage.engine import (
    BucketCounts,
    Draft,
    EngineLifecycle,
    Held,
    OpenPayload,
    Page,
    Part,
    SmallWriter,
    StorageEngine,
    Stored,
    ToldOfRecord,
    Upload,
    UploadStore,
)
from aisle.storage.results import when_done

Result = TypeVar("Result")


class Engine(StorageEngine, SmallWriter, UploadStore, EngineLifecycle, Protocol):
    """Everything that an engine is."""


class WrappedEngine:
    """Passes everything on; subclasses change what happens around a verb."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _now(self, verb: str, act: Callable[[], Result]) -> Result:
        """Do something that answers at once."""
        del verb
        return act()

    def _later(self, verb: str, act: Callable[[], "Future[Result]"]) -> "Future[Result]":
        """Do something that answers later."""
        del verb
        return act()

    def open(self, name: ObjectName) -> Stored | None:
        """See StorageEngine."""
        return self._now("open", lambda: self._engine.open(name))

    def draft(
        self, name: ObjectName, *, size: int | None = None, digests: Sequence[str] = (), sync: str = ""
    ) -> Draft:
        """See StorageEngine."""
        return self._now("draft", lambda: self._engine.draft(name, size=size, digests=digests, sync=sync))

    def commit(
        self,
        name: ObjectName,
        draft: Draft,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> "Future[Record]":
        """See StorageEngine."""
        return self._later(
            "commit",
            lambda: self._engine.commit(name, draft, attributes, condition=condition, written_ns=written_ns),
        )

    def put_small(
        self,
        name: ObjectName,
        payload: bytes,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> "Future[Record]":
        """See SmallWriter."""
        return self._later(
            "put_small",
            lambda: self._engine.put_small(
                name, payload, attributes, condition=condition, written_ns=written_ns
            ),
        )

    def store_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, told: ToldOfRecord
    ) -> None:
        """See SmallWriter."""
        when_done(self.put_small(name, payload, attributes), told)

    def amend(self, name: ObjectName, attributes: Attributes, *, condition: Condition) -> "Future[Record]":
        """See StorageEngine."""
        return self._later("amend", lambda: self._engine.amend(name, attributes, condition=condition))

    def remove(self, name: ObjectName, *, condition: Condition = ANY, lasts: bool = False) -> "Future[bool]":
        """See StorageEngine."""
        return self._later("remove", lambda: self._engine.remove(name, condition=condition, lasts=lasts))

    def scan(
        self, bucket: int, *, prefix: bytes = b"", after: bytes = b"", limit: int, delimiter: bytes = b""
    ) -> Page:
        """See StorageEngine."""
        return self._now(
            "scan",
            lambda: self._engine.scan(bucket, prefix=prefix, after=after, limit=limit, delimiter=delimiter),
        )

    def open_bucket(self, bucket: int) -> "Future[None]":
        """See StorageEngine."""
        return self._later("open_bucket", lambda: self._engine.open_bucket(bucket))

    def close_bucket(self, bucket: int, *, only_if_empty: bool) -> "Future[None]":
        """See StorageEngine."""
        return self._later(
            "close_bucket", lambda: self._engine.close_bucket(bucket, only_if_empty=only_if_empty)
        )

    def begin_upload(self, name: ObjectName, attributes: Attributes) -> "Future[Upload]":
        """See UploadStore."""
        return self._later("begin_upload", lambda: self._engine.begin_upload(name, attributes))

    def find_upload(self, upload_id: str) -> Upload:
        """See UploadStore."""
        return self._now("find_upload", lambda: self._engine.find_upload(upload_id))

    def commit_part(
        self, upload: Upload, number: int, draft: Draft, attributes: Attributes
    ) -> "Future[Part]":
        """See UploadStore."""
        return self._later("commit_part", lambda: self._engine.commit_part(upload, number, draft, attributes))

    def parts(self, upload_id: str) -> list[Part]:
        """See UploadStore."""
        return self._now("parts", lambda: self._engine.parts(upload_id))

    def open_part(self, upload_id: str, number: int) -> OpenPayload | None:
        """See UploadStore."""
        return self._now("open_part", lambda: self._engine.open_part(upload_id, number))

    def complete_upload(
        self,
        upload: Upload,
        numbers: Sequence[int],
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        as_seen: Sequence[Part] = (),
        written_ns: int = 0,
    ) -> "Future[Record]":
        """See UploadStore."""
        return self._later(
            "complete_upload",
            lambda: self._engine.complete_upload(
                upload, numbers, attributes, condition=condition, as_seen=as_seen, written_ns=written_ns
            ),
        )

    def abandon_upload(self, upload_id: str) -> "Future[None]":
        """See UploadStore."""
        return self._later("abandon_upload", lambda: self._engine.abandon_upload(upload_id))

    def uploads(self, bucket: int) -> list[Upload]:
        """See UploadStore."""
        return self._now("uploads", lambda: self._engine.uploads(bucket))

    def look_up(self, name: ObjectName) -> Held | None:
        """See EngineLifecycle."""
        return self._now("look_up", lambda: self._engine.look_up(name))

    def counts(self, bucket: int) -> BucketCounts:
        """See EngineLifecycle."""
        return self._now("counts", lambda: self._engine.counts(bucket))

    def place(self) -> int:
        """See EngineLifecycle."""
        return self._now("place", self._engine.place)

    def accessed_ns(self, name: ObjectName) -> int:
        """See EngineLifecycle."""
        return self._now("accessed_ns", lambda: self._engine.accessed_ns(name))

    def open_noted(self, name: ObjectName) -> Stored | None:
        """See EngineLifecycle."""
        return self._now("open", lambda: self._engine.open_noted(name))

    def note_access(self, name: ObjectName) -> None:
        """See EngineLifecycle."""
        self._engine.note_access(name)

    async def close(self) -> None:
        """See EngineLifecycle."""
        await self._engine.close()


class FaultyEngine(WrappedEngine):
    """Fails where it is told to.

    `fault` is asked with each verb: an error makes it fail without effect. `loses_answer` is asked for
    changes: True lets the change happen and fails it as Unavailable, as when the committer dies.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        fault: Callable[[str], AisleError | None] = lambda _: None,
        loses_answer: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__(engine)
        self._fault = fault
        self._loses_answer = loses_answer

    def _now(self, verb: str, act: Callable[[], Result]) -> Result:
        error = self._fault(verb)
        if error is not None:
            raise error
        return act()

    def _later(self, verb: str, act: Callable[[], "Future[Result]"]) -> "Future[Result]":
        error = self._fault(verb)
        if error is not None:
            failed: Future[Result] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed
        if self._loses_answer(verb):
            return asyncio.ensure_future(_lost(act()))
        return act()


class SlowEngine(WrappedEngine):
    """Answers changes late: `delay_s` gives the seconds for each verb. Reads are as fast as ever."""

    def __init__(self, engine: Engine, *, delay_s: Callable[[str], float]) -> None:
        super().__init__(engine)
        self._delay_s = delay_s

    def _later(self, verb: str, act: Callable[[], "Future[Result]"]) -> "Future[Result]":
        return asyncio.ensure_future(_late(act(), self._delay_s(verb)))


async def _lost(change: "Future[Result]") -> Result:
    await change
    raise Unavailable("the answer was lost: the outcome is not known")


async def _late(change: "Future[Result]", delay_s: float) -> Result:
    await asyncio.sleep(delay_s)
    return await change
