"""What every serving process of a node opens: the storage engine, the metadata store, the shared fetches.

Apart from `wiring`, because the job worker needs no API: it would load twice as long, at a low priority.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from aisle.cluster.embedded import EmbeddedStore
from aisle.gateway.configuration import Configuration
from aisle.node.boot import JOBS, Boot
from aisle.rules.courtesy import never
from aisle.storage.local import LocalEngine, open_local_engine
from aisle.target.claims import Claims
from aisle.target.following import SharedFetches, share_fetches
from aisle.target.room import CacheRoom
from aisle.telemetry import Telemetry


def open_engine(boot: Boot, telemetry: Telemetry, *, gives_way: Callable[[], bool] = never) -> LocalEngine:
    """The storage engine over the node's mountpaths, for one process; see `open_local_engine`."""
    return open_local_engine(
        [Path(folder) for folder in boot.mountpaths],
        committer_path=boot.committer_path,
        incarnation=boot.incarnation,
        config=boot.config.storage,
        clock=time.time_ns,
        telemetry=telemetry,
        patient=boot.role == JOBS,
        gives_way=gives_way,
    )


def open_room(engine: LocalEngine, store: EmbeddedStore, telemetry: Telemetry) -> CacheRoom:
    """The room for copies of remote objects, as the cluster's configuration limits it."""
    configuration = Configuration(store)
    return CacheRoom(engine.space, lambda: configuration.get().values.space.out_of_space, telemetry)


def open_store(boot: Boot, telemetry: Telemetry) -> EmbeddedStore:
    """The metadata store of a machine on its own."""
    return EmbeddedStore([Path(folder) for folder in boot.mountpaths], telemetry=telemetry)


async def open_fetches(boot: Boot) -> SharedFetches:
    """What this process fetches of remote objects for the others of the node, and they for it."""
    shared = SharedFetches(Claims(boot.fetches_fd), os.path.dirname(boot.committer_path))
    await shared.listen()
    share_fetches(shared)
    return shared
