"""Removing the lists of jobs that are no more.

A list is written before its job and outlives it by a moment: what no job names any more goes at once if
one has named it before, and after an hour if none ever did, because its job may just be about to be
accepted.
"""

import asyncio
import logging
import time
from typing import Final

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.jobs.list_files import DRAFT_SUFFIX, ListStore
from aisle.model.job import RECORD_PREFIX, decode_record

_INTERVAL_S: Final = 2.0
_UNCLAIMED_S: Final = 3600.0

_log = logging.getLogger(__name__)


class ListSweep:
    """Knows which lists have had a job."""

    def __init__(self, lists: ListStore, store: MetadataStore) -> None:
        self._lists = lists
        self._names = View(store, RECORD_PREFIX.rstrip("/"), _list_name)
        self._claimed: set[str] = set()

    def look(self, now_s: float) -> None:
        """Remove what nobody needs; `now_s` is in Unix seconds."""
        ages = self._lists.ages(now_s)
        if not ages:
            return
        wanted = set(self._names.all().values())
        for file, age_s in ages.items():
            name = file.removesuffix(DRAFT_SUFFIX)
            if name in wanted:
                self._claimed.add(name)
            elif name in self._claimed or age_s > _UNCLAIMED_S:
                self._lists.remove(file)
                self._claimed.discard(name)


async def sweep_lists(lists: ListStore, store: MetadataStore) -> None:
    """Sweep now and then; never ends."""
    sweep = ListSweep(lists, store)
    while True:
        try:
            sweep.look(time.time())
        except OSError as error:
            _log.warning("cannot look after the lists of jobs: %s", error)
        await asyncio.sleep(_INTERVAL_S)


def _list_name(document: Document) -> str:
    return decode_record(document.value).download.list_file
