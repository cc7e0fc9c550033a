"""Download jobs in one process: real libcurl and sockets, everything stored in memory."""

import asyncio
import functools
import inspect
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from aisle.backends.registry import Providers
from aisle.cluster.memory import MemoryStore
from aisle.config import DownloadConfig
from aisle.gateway.buckets import Buckets
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.gateway.sealing import Sealer
from aisle.gateway.users import MasterKey
from aisle.jobs.board import JobBoard, JobStatus
from aisle.jobs.list_files import ListStore
from aisle.jobs.manifest import ManifestFolder
from aisle.jobs.provider_item import ProviderSources
from aisle.jobs.runner import JobServices, JobSettings, run
from aisle.model.names import ObjectName, parse_bucket
from aisle.model.record import Record
from aisle.rules.download_request import read_request
from aisle.rules.egress import EgressPolicy
from aisle.storage.memory import MemoryEngine
from aisle.target.delayed_view import DelayedViews
from support.faulty import FaultyServer, faulty_server

LOOPBACK = EgressPolicy(allow_loopback=True)
# Long enough for a test that is kept waiting itself: that is no stall of the server.
CONFIG = DownloadConfig(retries_max=3, stall_timeout_s=20.0, connect_timeout_s=20.0, part_bytes=256 * 1024)


@dataclass
class Rig:
    """A web server, and a job worker that outlives restarts of itself."""

    server: FaultyServer
    folder: Path
    config: DownloadConfig = CONFIG
    policy: EgressPolicy = LOOPBACK
    store: MemoryStore = field(default_factory=MemoryStore)
    engine: MemoryEngine = field(default_factory=lambda: MemoryEngine(time.time_ns))
    sealer: Sealer = field(default_factory=lambda: Sealer([MasterKey.of(b"of the tests")]))
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    providers: Providers | None = None
    """What remote buckets are fetched through."""

    def __post_init__(self) -> None:
        self.buckets = Buckets(self.store, self.engine)
        self.lists = ListStore([self.folder / "lists"])
        self.manifests = ManifestFolder([self.folder])
        self.board = JobBoard(
            self.store,
            self.buckets,
            live_folder=self.folder,
            lists=self.lists,
            ring=self.bell.set,
            clock_ns=time.time_ns,
            sealer=self.sealer,
            manifests=self.manifests,
        )
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        services = JobServices(
            self.store,
            self.engine,
            self.buckets,
            time.time_ns,
            sealer=self.sealer,
            manifests=self.manifests,
            sources=self._sources() if self.providers else None,
        )
        settings = JobSettings(self.config, self.policy, self.folder, self.lists)
        self._worker = asyncio.get_running_loop().create_task(run(services, settings, self.bell))

    def _sources(self) -> ProviderSources:
        assert self.providers is not None
        remote = RemoteBuckets(self.buckets, self.providers)
        return ProviderSources(self.buckets, DelayedViews(self.engine, remote.provider).of)

    async def stop(self) -> None:
        """End the worker as a node that drains does."""
        assert self._worker is not None
        self._worker.cancel()
        try:
            await self._worker
        except asyncio.CancelledError:
            pass
        self._worker = None

    async def submit(self, **body: object) -> str:
        """Accept a job into bucket `b`, as the API would."""
        self._alive()
        asked = read_request(msgspec.json.encode({"bucket": {"name": "b"}, **body}))
        return await self.board.submit(asked.spec, headers=asked.headers, priority=asked.priority)

    async def single(self, link: str, **more: object) -> str:
        return await self.submit(type="single", link=link, **{"object_name": "o", **more})

    async def ended(self, job_id: str, *, within_s: float = 50.0) -> JobStatus:
        """The job's status when it has ended."""
        return await self.until(job_id, lambda status: bool(status.finished_ns), within_s=within_s)

    async def until(
        self, job_id: str, holds: Callable[[JobStatus], bool], *, within_s: float = 50.0
    ) -> JobStatus:
        """The job's status as soon as something holds of it."""
        end_s = time.monotonic() + within_s
        while not holds(status := self.board.find(job_id)):
            self._alive()
            assert time.monotonic() < end_s, f"still {status}"
            await asyncio.sleep(0.01)
        return status

    async def download(self, link: str, **more: object) -> JobStatus:
        """Download a single object and wait for the end."""
        return await self.ended(await self.single(link, **more))

    def content(self, key: str = "o", bucket: str = "b") -> bytes | None:
        """An object's bytes, or None."""
        stored = self.engine.open(self._name(key, bucket))
        return stored.inline if stored else None

    def record(self, key: str = "o", bucket: str = "b") -> Record:
        stored = self.engine.open(self._name(key, bucket))
        assert stored is not None
        return stored.record

    def uploads(self, bucket: str = "b") -> int:
        """Uploads in progress in a bucket."""
        return len(self.engine.uploads(self.buckets.find(parse_bucket(bucket)).number))

    def _name(self, key: str, bucket: str) -> ObjectName:
        return ObjectName(self.buckets.find(parse_bucket(bucket)).number, key.encode())

    def _alive(self) -> None:
        if self._worker is not None and self._worker.done():
            self._worker.result()


def with_rig(**settings: Any) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run an asynchronous test with a started rig as its first argument."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        async def running(**arguments: object) -> None:
            with tempfile.TemporaryDirectory(prefix="downloader-") as folder:
                async with faulty_server() as server:
                    rig = Rig(server, Path(folder), **settings)
                    rig.start()
                    try:
                        await asyncio.wait_for(test(rig, **arguments), 100)
                    finally:
                        if rig._worker is not None:
                            await rig.stop()

        @functools.wraps(test)
        def plain(**arguments: object) -> None:
            asyncio.run(running(**arguments))

        parameters = list(inspect.signature(test).parameters.values())[1:]
        plain.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        del plain.__wrapped__  # type: ignore[attr-defined]
        return plain

    return decorate
