"""Loaded by every Python process whose PYTHONPATH holds this folder: leaves out one kind of sync.

The power cut test must fail without each of them; that is how we know that it tests them.
TEST_UNSYNCED is `payload` (files below a `data` folder, and those folders) or `index` (LMDB
environments named `index`); each omission is noted by one byte in the file TEST_UNSYNCED_LOG.
"""

import os
from collections.abc import Callable

_KIND = os.environ["TEST_UNSYNCED"]
_LOG = os.environ["TEST_UNSYNCED_LOG"]


def _note() -> None:
    log = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, b".")
    os.close(log)


def _without_payloads(sync: Callable[[int], None]) -> Callable[..., None]:
    def maybe_sync(file: object) -> None:
        fd = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        path = os.readlink(f"/proc/self/fd/{fd}")
        if "/data/" in path.rpartition("/mountpath/")[2] + "/" and not path.endswith(".mdb"):
            _note()
        else:
            sync(fd)

    return maybe_sync


def _without_index(open_environment: Callable[..., object]) -> Callable[..., object]:
    def open_unsynced(path: str, *args: object, **options: object) -> object:
        if os.path.basename(os.path.abspath(path)) == "index":
            options |= {"sync": False, "metasync": False}
            _note()
        return open_environment(path, *args, **options)

    return open_unsynced


if _KIND == "payload":
    os.fsync = _without_payloads(os.fsync)
    os.fdatasync = _without_payloads(os.fdatasync)
elif _KIND == "index":
    import lmdb

    vars(lmdb).update(dict.fromkeys(("open", "Environment"), _without_index(lmdb.Environment)))
else:
    raise SystemExit(f"TEST_UNSYNCED={_KIND}: want payload or index")
