"""What running jobs show between flushes: one small file, replaced a few times a second.

The job worker writes it into the node's runtime folder, the serving workers read it. It is never
synced and may be missing or old at any time: the durable progress in the metadata store then speaks.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aisle.model.job import JobLive, decode_live, encode_job

FILE_NAME = "jobs.live"
_NEW_SUFFIX = ".new"

_decode = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


class LiveWriter:
    """The job worker's side. Calls may block for a disk that is busy: make them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._new_path = folder / (FILE_NAME + _NEW_SUFFIX)

    def write(self, jobs: Mapping[str, JobLive]) -> None:
        """Show these jobs and no others. Raises OSError."""
        self._new_path.write_bytes(encode_job(jobs))
        os.replace(self._new_path, self._path)

    def remove(self) -> None:
        """Show nothing any more."""
        self._path.unlink(missing_ok=True)


class LiveReader:
    """A serving worker's side; the file is read again only when it was replaced."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._seen = (0, 0)
        self._jobs: Mapping[str, msgspec.Raw] = {}

    def find(self, job_id: str) -> JobLive | None:
        """What a running job shows now, if it shows anything."""
        self._refresh()
        raw = self._jobs.get(job_id)
        return None if raw is None else decode_live(raw)

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns)
            if seen != self._seen:
                self._jobs = _decode(self._path.read_bytes())
                self._seen = seen
        except (OSError, msgspec.MsgspecError):
            self._jobs, self._seen = {}, (0, 0)
