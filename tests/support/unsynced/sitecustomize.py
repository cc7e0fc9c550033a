"""Loaded by every Python process whose PYTHONPATH holds this folder: leaves out one kind of sync.

The power cut test must fail without each of them; that is how we know that it tests them.
TEST_UNSYNCED is `payload` (of payload files), `folder` (of the folders that hold them) or `index`
(of LMDB's commits); each omission, or opening of an index, adds a byte to the file TEST_UNSYNCED_LOG.
"""

import os

from aisle.storage.sync import Durability

_KIND = os.environ["TEST_UNSYNCED"]
_LOG = os.environ["TEST_UNSYNCED_LOG"]


def _note(*_: object) -> None:
    log = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, b".")
    os.close(log)


def _unsynced_index(_: Durability) -> bool:
    _note()
    return False


_OMISSIONS: dict[str, tuple[str, object]] = {
    "payload": ("sync_payload", _note),
    "folder": ("sync_folder", _note),
    "index": ("index_sync", property(_unsynced_index)),
}
setattr(Durability, *_OMISSIONS[_KIND])
