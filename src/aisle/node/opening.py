"""What every serving process of a node opens: the storage engine and the metadata store.

Apart from `wiring`, because the job worker needs no API: it would load twice as long, at a low priority.
"""

import time
from pathlib import Path

from aisle.cluster.embedded import EmbeddedStore
from aisle.node.boot import JOBS, Boot
from aisle.storage.local import LocalEngine, open_local_engine
from aisle.telemetry import Telemetry


def open_engine(boot: Boot, telemetry: Telemetry) -> LocalEngine:
    """The storage engine over the node's mountpaths, for one process."""
    return open_local_engine(
        [Path(folder) for folder in boot.mountpaths],
        committer_path=boot.committer_path,
        incarnation=boot.incarnation,
        config=boot.config.storage,
        clock=time.time_ns,
        telemetry=telemetry,
        patient=boot.role == JOBS,
    )


def open_store(boot: Boot, telemetry: Telemetry) -> EmbeddedStore:
    """The metadata store of a machine on its own."""
    return EmbeddedStore([Path(folder) for folder in boot.mountpaths], telemetry=telemetry)
