"""Jobs that have ended: found at the start, remembered for a while, then forgotten."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from aisle.cluster.store import MetadataStore
from aisle.errors import AisleError
from aisle.model.job import (
    DOWNLOAD_ID_PREFIX,
    ID_CHARACTERS,
    PROGRESS_PREFIX,
    RECORD_PREFIX,
    JobRecord,
    decode_brief,
)

_INTERVAL_NS: Final = 60 * 1_000_000_000

_log = logging.getLogger(__name__)


class History:
    """What becomes of ended jobs. They are remembered for `keep_s` seconds, for ever if that is 0."""

    def __init__(self, store: MetadataStore, clock_ns: Callable[[], int], *, keep_s: float) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._keep_ns = int(keep_s * 1e9)
        self._looked_ns = 0

    def ended(self, records: Mapping[str, JobRecord]) -> dict[str, int]:
        """When each job ended that has, Unix nanoseconds; 0 for one that was removed and left something."""
        found = {}
        # In portions: a progress may be large, and there may be very many.
        for first in ID_CHARACTERS:
            for document in self._store.list(f"{PROGRESS_PREFIX}{DOWNLOAD_ID_PREFIX}{first}"):
                job_id = document.key.removeprefix(PROGRESS_PREFIX)
                finished_ns = decode_brief(document.value).finished_ns
                if job_id not in records:
                    found[job_id] = 0
                elif finished_ns:
                    found[job_id] = finished_ns
        return found

    def expired(self, ended: Mapping[str, int], records: Mapping[str, JobRecord]) -> list[str]:
        """Jobs that need not be remembered any longer; looks once a minute."""
        now_ns = self._clock_ns()
        if not self._keep_ns or abs(now_ns - self._looked_ns) < _INTERVAL_NS:
            return []
        self._looked_ns = now_ns
        before_ns = now_ns - self._keep_ns
        return [
            job_id
            for job_id, finished_ns in ended.items()
            if 0 < finished_ns < before_ns and job_id in records
        ]

    async def remove(self, job_ids: list[str]) -> None:
        """Remove the records of jobs; what else there is of them follows as for any that is removed."""
        for job_id in job_ids:
            document = self._store.load(RECORD_PREFIX + job_id)
            if document is None:
                continue
            try:
                await asyncio.to_thread(
                    self._store.swap, document.key, None, expected_version=document.version
                )
            except AisleError as error:
                _log.warning("cannot forget job %s: %s", job_id, error)
                return
        _log.info("forgot %d jobs that ended long ago", len(job_ids))
