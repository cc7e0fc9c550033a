"""What the committer holds of one mountpath."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import lmdb
import msgspec

from aisle.config import StorageConfig
from aisle.errors import AisleError, CorruptObject, OutOfSpace, Unavailable
from aisle.model.record import Generation
from aisle.storage.filesystem import free_bytes
from aisle.storage.headroom import Headroom
from aisle.storage.layout import Mountpath
from aisle.storage.messages import Answer
from aisle.storage.removals import Removals
from aisle.storage.sync import Durability
from aisle.storage.tables import open_index
from aisle.storage.transaction import Group, MountpathWriter, load_order
from aisle.storage.volatile import open_volatile

INDEX_FAILURES = (lmdb.Error, OSError, msgspec.MsgspecError)
"""What a transaction may fail with; the last of them means that a record is damaged."""


class Order:
    """The committer's order of changes: one number after the other, over all mountpaths."""

    def __init__(self, last: int) -> None:
        self._last = last
        self.removals = Removals()

    def next(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    def advance(self, last: int) -> None:
        """Give out nothing up to `last` any more."""
        self._last = max(self._last, last)
        self.removals.begin(self._last)


class Disk:
    """One mountpath, open for writing. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        mountpath: Mountpath,
        order: Order,
        *,
        config: StorageConfig,
        clock: Callable[[], int],
        durability: Durability,
    ) -> None:
        self.mountpath = mountpath
        self.tables = open_index(
            mountpath.path,
            writable=True,
            map_size_bytes=config.map_size_bytes,
            durability=durability,
        )
        order_state = load_order(self.tables)
        self.last_sequence = order_state.sequence
        """The last place in the order that an earlier committer gave out here."""
        self.writer = MountpathWriter(self.tables, order_state.chains, order.removals)
        self.headroom = Headroom(mountpath.path, self.tables)
        self.access_times = open_volatile(mountpath.path, writable=True)
        self._order = order
        self._config = config
        self._clock = clock

    def begin(self) -> Group:
        """A write transaction; commit or abort it before the next one begins."""
        unlink_ns = self._clock() + int(self._config.unlink_delay_s * 1e9)
        return Group(self.writer, self._order.next, unlink_ns=unlink_ns)

    @contextmanager
    def group(self, answers: Sequence[tuple[Generation, Answer]] = ()) -> Iterator[Group]:
        """A write transaction that commits at the end of the block, and aborts when it raises.

        `answers`, which the block may fill, are kept with it. Failures of the index come out as
        OutOfSpace or Unavailable, damaged records as CorruptObject.
        """
        group = self.begin()
        try:
            yield group
            group.commit(answers)
        except INDEX_FAILURES as error:
            group.abort()
            raise self.reason(error) from error
        except BaseException:
            group.abort()
            raise

    def check_readers(self) -> None:
        """Free the slots of processes that died while they read. Raises lmdb.Error."""
        self.tables.environment.reader_check()
        self.access_times.check_readers()

    def reason(self, error: Exception) -> AisleError:
        """The error to report for a failed transaction. An environment beyond use is raised."""
        if isinstance(error, AisleError):
            return error
        if isinstance(error, lmdb.PanicError):
            raise error  # only a new process can open it again
        path = self.mountpath.path
        if isinstance(error, msgspec.MsgspecError):
            return CorruptObject(f"a record of mountpath {path} is damaged: {error}")
        # Whatever LMDB calls it: on a full disk it says EIO, ENOSPC or that the map is full.
        if isinstance(error, lmdb.MapFullError) or free_bytes(path) < self._config.reserve_bytes:
            return OutOfSpace(f"no space left on mountpath {path}")
        return Unavailable(f"the index of mountpath {path} failed: {error}")

    def close(self) -> None:
        """Release the mountpath."""
        self.headroom.close()
        self.tables.close()
        self.access_times.close()
