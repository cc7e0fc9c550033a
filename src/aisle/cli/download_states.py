"""The states of a download job as they come: by events where the node sends them, else by asking.

Events are read in a thread of their own, so that whoever waits for one can also wait for a time, or
be interrupted. A node of AIStore has none, and a stream breaks when its node restarts: then it is asked.
"""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from aisle.client.download_jobs import DownloadJobs
from aisle.client.downloads import DownloadJob
from aisle.client.node import Client
from aisle.errors import AisleError, NodeUnreachable

POLL_S = 0.25
UNREACHABLE_S = 60.0  # a node that restarts is back by then
_RETRY_S = 1.0


class States:
    """The states of one job."""

    def __init__(
        self,
        client: Client,
        job_id: str,
        *,
        say: Callable[[str], None],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`say` tells people what happens, such as that the node is away."""
        self._client = client
        self._job_id = job_id
        self._say = say
        self._now_s = now_s
        self._sleep = sleep
        self._events: SimpleQueue[DownloadJob | None] | None = None
        self._has_answered = False

    def listen(self) -> None:
        """Take events from now on, as long as there are any."""
        self._events = SimpleQueue()
        threading.Thread(target=self._read, args=(self._events,), daemon=True).start()

    def next(self) -> DownloadJob | None:
        """The next state, after a short while at most; None when nothing is new.

        With failures that are new, or all of them when the job has ended. Raises JobNotFound, and
        NodeUnreachable for a node that never answered, or has been away for long.
        """
        if self._events is not None:
            try:
                job = self._events.get(timeout=POLL_S)
            except Empty:
                return None
            if job is not None:
                self._has_answered = True
                return job
            self._events = None
        elif self._has_answered:
            self._sleep(POLL_S)
        return self._ask()

    def _ask(self) -> DownloadJob:
        away_since_s: float | None = None
        while True:
            try:
                job = self._client.download(self._job_id, only_active=True)
                if not job.is_running:
                    job = self._client.download(self._job_id)
            except NodeUnreachable as error:
                now_s = self._now_s()
                if not self._has_answered or now_s - (away_since_s or now_s) >= UNREACHABLE_S:
                    raise
                if away_since_s is None:
                    away_since_s = now_s
                    self._say(f"{error}; the job goes on when the node is back: waiting")
                self._sleep(_RETRY_S)
            else:
                self._has_answered = True
                return job

    def _read(self, events: "SimpleQueue[DownloadJob | None]") -> None:
        try:
            for job in DownloadJobs(self._client).follow(self._job_id):
                events.put(job)
                if not job.is_running:
                    return
        except (AisleError, ValueError):
            pass  # whoever asks instead is told why
        finally:
            events.put(None)
