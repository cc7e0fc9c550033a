"""Payloads being written: small ones in memory, large ones in a file of their own.

A large draft is written in batches by a thread that also hashes them, one batch at a time and in order,
while the next one gathers. The file lies in the drafts folder of this process and gets its final name as
a second link when it is committed, so whatever a crash leaves is found in one small folder.
"""

import asyncio
import errno
import os
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from aisle.errors import AisleError, OutOfSpace, Unavailable
from aisle.model.record import INLINE_BYTES_MAX, Generation
from aisle.rules.courtesy import never
from aisle.storage.generation import Generations, draft_folder, payload_folder, payload_path
from aisle.storage.hashing import Digests
from aisle.storage.sync import Durability

BATCH_BYTES = 1024 * 1024
WRITEBACK_BYTES = 8 * 1024 * 1024
"""The disk is told to begin with as much as this at a time: who waits for it waits for all of that."""
SMALL_WRITE_BYTES = 64 * 1024
"""What is written in one system call beside somebody who is served."""
SMALL_WRITEBACK_BYTES = 16 * SMALL_WRITE_BYTES
_BUFFERS_MAX = 512  # of one writev; the system takes 1,024
_FULL = (errno.ENOSPC, errno.EDQUOT)

Chunk = bytes | memoryview


class DraftPlace:
    """Where one process writes on one mountpath, and with what."""

    def __init__(
        self,
        mountpath: Path,
        generations: Generations,
        *,
        executor: Executor,
        durability: Durability,
        gives_way: Callable[[], bool] = never,
    ) -> None:
        self.mountpath = mountpath
        self.generations = generations
        self.executor = executor
        self.durability = durability
        self.gives_way = gives_way
        """Whether others are served now, beside whom large writes are made in small pieces."""
        self.folder = mountpath / draft_folder(generations.incarnation)

    def reason(self, error: BaseException) -> OutOfSpace | Unavailable:
        """What to raise for a failed write."""
        if not isinstance(error, OSError):
            return Unavailable(f"writing to mountpath {self.mountpath} failed: {error!r}")
        if error.errno in _FULL:
            return OutOfSpace(f"no space left on mountpath {self.mountpath}")
        return Unavailable(f"mountpath {self.mountpath} failed: {error.strerror}")


class PayloadFile:
    """A payload file being written, by one thread at a time. Methods raise OSError."""

    def __init__(self, place: DraftPlace) -> None:
        self.generation = place.generations.for_file()
        self._place = place
        self.path = place.folder / self.generation.hex()
        self._fd = -1
        self._length = 0
        self._writeback = 0

    def append(self, chunks: Sequence[Chunk]) -> None:
        """Write chunks at the end."""
        if self._fd < 0:
            self._fd = self._create()
        gives_way = self._place.gives_way()
        for group in _small_groups(chunks) if gives_way else _groups(chunks):
            _write_all(self._fd, group)
        self._length += sum(map(len, chunks))
        if self._length - self._writeback >= (SMALL_WRITEBACK_BYTES if gives_way else WRITEBACK_BYTES):
            self._place.durability.start_writeback(self._fd, self._writeback, self._length - self._writeback)
            self._writeback = self._length

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(self.path, flags, 0o640)
        except FileNotFoundError:
            self._place.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            return os.open(self.path, flags, 0o640)

    def publish(self, trailer: bytes, *, sync: bool) -> None:
        """Append the trailer, give the file its final name, and make both durable.

        The index decides whether it counts; until then the name in the drafts folder stays too.
        """
        self.append([trailer])
        folder = self._place.mountpath / payload_folder(self.generation)
        final = folder / self.generation.hex()
        try:
            os.link(self.path, final)
        except FileNotFoundError:
            self._make_folder(folder)
            os.link(self.path, final)
        if sync:
            # After the link: the file's own sync then carries most of the folder's.
            self._place.durability.sync_payload(self._fd)
            self._place.durability.sync_folder(str(folder))
        self._close()

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._place.durability.sync_folder(str(folder.parent))
        self._place.durability.sync_folder(str(folder.parent.parent))

    def keep(self) -> None:
        """The index refers to the file: its name in the drafts folder can go."""
        self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Nothing refers to the file: remove it under all its names."""
        self._close()
        (self._place.mountpath / payload_path(self.generation)).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, chunks: Sequence[Chunk]) -> None:
    written = os.writev(fd, chunks)
    total = sum(map(len, chunks))
    if written == total:
        return
    # Rare (a signal, a nearly full disk): go on chunk by chunk behind what was written.
    for chunk in chunks:
        skip = min(written, len(chunk))
        written -= skip
        rest = memoryview(chunk)[skip:]
        while rest:
            rest = rest[os.write(fd, rest) :]


def _groups(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """The chunks in groups of as many as the system takes in one call."""
    for start in range(0, len(chunks), _BUFFERS_MAX):
        yield chunks[start : start + _BUFFERS_MAX]


def _small_groups(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """The same bytes in groups that are as much as is written in one call beside somebody who is served."""
    group: list[Chunk] = []
    room = SMALL_WRITE_BYTES
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            group.append(rest[:room])
            rest, room = rest[room:], room - len(group[-1])
            if not room or len(group) == _BUFFERS_MAX:
                yield group
                group, room = [], SMALL_WRITE_BYTES
    if group:
        yield group


class LocalDraft:
    """A payload being written to one mountpath; see the Draft protocol."""

    def __init__(
        self, place: DraftPlace, *, size: int | None, digests: Sequence[str], sync: str = ""
    ) -> None:
        self.size = 0
        self.sync = sync
        """When its file must be on disk; empty: as the engine is set."""
        self.place = place
        self.file: PayloadFile | None = None
        """Where the payload is, None as long as it is in memory."""
        self._generation: Generation | None = None
        self._large = size is not None and size > INLINE_BYTES_MAX
        self._digests = Digests(digests)
        self._chunks: list[Chunk] = []
        self._held = 0
        self._writing: Future[None] | None = None
        self.filed = 0
        self._error: BaseException | None = None
        self._aborted = False
        self.finished = False

    @property
    def generation(self) -> Generation:
        """The write's identity."""
        if self.file is not None:
            return self.file.generation
        if self._generation is None:
            self._generation = self.place.generations.for_inline()
        return self._generation

    @property
    def path(self) -> str:
        """Where the first `filed` bytes can be read; empty while there are none."""
        return str(self.file.path) if self.file is not None and self.filed else ""

    def write(self, chunk: Chunk) -> Awaitable[None] | None:
        """Append a chunk; what is returned, if anything, is awaited before the next."""
        if self._error is not None:
            raise self.place.reason(self._error) from self._error
        length = len(chunk)
        self.size += length
        self._held += length
        self._chunks.append(chunk)
        if self._held < BATCH_BYTES:
            return None
        if self._writing is None:
            self._start_batch()
            return None
        # One batch is being written and another is complete: more must not gather.
        return self._wait() if self._held >= 2 * BATCH_BYTES else None

    def finish(self) -> Awaitable[None] | None:
        """Complete the digests; a small payload needs no waiting."""
        self.finished = True
        if self._writing is None and self.size <= INLINE_BYTES_MAX and self.file is None:
            self._digests.update(self._chunks)
            return None
        return self._finish()

    async def _finish(self) -> None:
        await self._wait()
        if self._chunks:
            self._start_batch()
            await self._wait()

    async def to_file(self) -> PayloadFile:
        """The payload in a file, also if it is small. The draft is finished.

        Raises OutOfSpace and Unavailable; then there is no file.
        """
        if self.file is None:
            # The digests are complete already.
            chunks, self._chunks = self._chunks, []
            self.file = PayloadFile(self.place)
            try:
                await self.in_thread(lambda file: file.append(chunks))
            except AisleError:
                await self.in_thread(PayloadFile.discard)
                raise
        return self.file

    def inline_chunks(self) -> list[Chunk]:
        """The chunks of a payload in memory."""
        return self._chunks

    async def content(self) -> AsyncIterator[bytes]:
        """All bytes of the finished draft, from memory or from its file. Raises Unavailable."""
        assert self.finished
        if self.file is None:
            for chunk in self._chunks:
                yield bytes(chunk)
            return
        loop, position = asyncio.get_running_loop(), 0
        fd = os.open(self.file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while position < self.size:
                piece = await loop.run_in_executor(
                    self.place.executor, os.pread, fd, min(BATCH_BYTES, self.size - position), position
                )
                if not piece:
                    raise Unavailable(f"a draft on {self.place.mountpath} is shorter than what was written")
                position += len(piece)
                yield piece
        except OSError as error:
            raise self.place.reason(error) from error
        finally:
            os.close(fd)

    def digest(self, kind: str) -> str:
        """The digest of that kind, lower-case hex."""
        return self._digests.hex(kind)

    def xxh3(self) -> bytes:
        """XXH3-64 of the payload, as records keep it."""
        return self._digests.xxh3()

    def abort(self) -> None:
        """Forget the draft; harmless when it was committed or aborted before."""
        if self._aborted:
            return
        self._aborted = True
        self._chunks = []
        if self.file is not None and self._writing is None:
            self.place.executor.submit(self.file.discard)

    def committed(self) -> None:
        """The index refers to the payload: aborting does nothing any more."""
        self._aborted = True

    async def in_thread(self, act: Callable[[PayloadFile], None]) -> None:
        """Do something with the file in a thread. Raises OutOfSpace and Unavailable."""
        assert self.file is not None
        try:
            await asyncio.get_running_loop().run_in_executor(self.place.executor, act, self.file)
        except OSError as error:
            raise self.place.reason(error) from error

    def _start_batch(self) -> None:
        if self.file is None:
            self.file = PayloadFile(self.place)
        file, digests = self.file, self._digests
        chunks, self._chunks = self._chunks, []
        held, self._held = self._held, 0

        def batch() -> None:
            file.append(chunks)
            digests.update(chunks)

        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self.place.executor, batch)
        self._writing.add_done_callback(lambda batch: self._batch_done(batch, held))

    def _batch_done(self, batch: Future[None], count: int) -> None:
        self._writing = None
        # Whatever it was, what the batch held is missing from the file.
        self._error = asyncio.CancelledError() if batch.cancelled() else batch.exception()
        if self._error is None:
            self.filed += count
        if self._aborted:
            assert self.file is not None
            self.place.executor.submit(self.file.discard)
        elif self._error is None and self._held >= BATCH_BYTES:
            self._start_batch()

    async def _wait(self) -> None:
        while self._writing is not None and self._error is None:
            batch = self._writing
            # Who waits may be cancelled; the batch itself must not be.
            await asyncio.wait([batch])
        if self._error is not None:
            raise self.place.reason(self._error) from self._error
