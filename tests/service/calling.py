"""The application called without sockets: a memory engine and a memory store behind it."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from aisle.api.app import RouteSource, Services, build_app, routes
from aisle.api.credentials import KeyRing
from aisle.api.gate import Gate, GateSettings
from aisle.api.native.backends import BackendVerbs
from aisle.api.native.object_parts import object_parts
from aisle.api.native.parts import Boards, Inside, job_parts
from aisle.api.native.remote_clusters import RemoteClusterVerbs
from aisle.api.router import Route
from aisle.backends.registry import Factory, Providers
from aisle.backends.remote_gateways import Gateways
from aisle.cluster.memory import MemoryStore
from aisle.errors import BodyTooLarge, SourceUnreachable
from aisle.gateway.backend_report import BackendReport
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity, NodeInformation
from aisle.gateway.listing import Listing
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.gateway.remote_clusters import RemoteClusters
from aisle.gateway.sealing import Sealer
from aisle.gateway.summary import Summaries
from aisle.gateway.users import MasterKey
from aisle.httpd.request import Request
from aisle.httpd.response import FileBody, Response, StreamBody
from aisle.jobs.batch_jobs import BatchJobs
from aisle.jobs.board import JobBoard
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_runner import BulkRunner
from aisle.jobs.bulk_work import BulkTools
from aisle.jobs.delayed_jobs import DelayedJobs
from aisle.jobs.delayed_writing import DelayedTools, Lines, mend, write_once
from aisle.jobs.list_files import ListStore
from aisle.storage.memory import MemoryEngine
from aisle.target.archives import Archives
from aisle.target.batches import Batches
from aisle.target.copying import Copier
from aisle.target.delayed_queue import DelayedQueue
from aisle.target.delayed_writing import DelayedWriter
from aisle.target.objects import TargetEngine, TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.remote_uploads import RemoteUploads
from aisle.target.uploads import TargetUploads
from aisle.telemetry import Telemetry
from aisle.transfer.exchange import Exchanges
from support.bulk import until

START_NS = 1_795_191_158_000_000_000  # 2026-11-20 16:12:38 UTC
IDENTITY = NodeIdentity(
    cluster_id="eOFFFD7iF",
    node_id="bRaSsqgO",
    mountpaths=("/data/mp1",),
    created_ns=START_NS,
    started_ns=START_NS,
)


class Chunks:
    """A request body: one piece that is here already, or pieces that arrive one by one."""

    def __init__(self, pieces: bytes | Iterable[bytes | Exception]) -> None:
        self._whole = pieces if isinstance(pieces, bytes) else None
        self._pieces = iter(() if isinstance(pieces, bytes) else pieces)
        self.length = len(pieces) if isinstance(pieces, bytes) else None

    def buffered(self) -> bytes | None:
        whole, self._whole = self._whole, b"" if self._whole is not None else None
        return whole

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if (whole := self.buffered()) is not None:
            return whole
        piece = next(self._pieces, b"")
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def read_all(self, limit: int) -> bytes:
        read = b""
        while piece := await self.read():
            read += piece
            if len(read) > limit:
                raise BodyTooLarge(limit)
        return read


class Answer:
    """A response as a client sees it; repeated fields are joined with `, `."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers: dict[str, str] = {}
        shared = [line.split(": ", 1) for line in response.lines.splitlines()]
        for name, value in (*response.headers, *shared):
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self.response = response
        assert not isinstance(response.body, FileBody | StreamBody)
        self.body = response.body

    def json(self) -> Any:
        return json.loads(self.body)

    def msgpack(self) -> Any:
        return msgspec.msgpack.decode(self.body)

    def error(self) -> Any:
        """The error document, wherever it is."""
        return json.loads(self.headers["hdr-error"]) if "hdr-error" in self.headers else self.json()


async def _no_pause(_seconds: float) -> None:
    """What is asked again is asked at once: how long the pauses are is tried where they are made."""
    await asyncio.sleep(0)


def _clusters(store: MemoryStore) -> RemoteClusterVerbs:
    """Attachments that no network leads to."""

    def connect(_ca_file: str) -> Exchanges:
        raise SourceUnreachable("there is no network here")

    known = RemoteClusters(store, Sealer([MasterKey.of(b"of the tests")]), cluster_id=IDENTITY.cluster_id)
    return RemoteClusterVerbs(known, Gateways(known, connect=connect, cluster_id=IDENTITY.cluster_id))


class Native:
    """A node without processes and sockets, called one request at a time or several at once."""

    def __init__(
        self,
        *,
        engine: TargetEngine | None = None,
        gate: GateSettings | None = None,
        keys: KeyRing | None = None,
        parts: tuple[RouteSource, ...] = (),
        ready: bool = True,
        promote_roots: tuple[str, ...] = (),
        providers: Mapping[str, Factory] | None = None,
    ) -> None:
        self.ticks = itertools.count(START_NS, 1_000_000)
        self.runner = asyncio.Runner()
        self.store = MemoryStore()
        self.engine = engine or MemoryEngine(self.clock)
        self.buckets = Buckets(self.store, self.engine, clock=self.clock)
        self.telemetry = Telemetry.private()
        guard = Gate(gate, keys=keys, now_s=lambda: START_NS / 1e9)
        board = JobBoard(
            self.store,
            self.buckets,
            live_folder=Path("/nowhere"),
            lists=ListStore([Path("/nowhere")]),
            ring=lambda: None,
            clock_ns=self.clock,
            sealer=Sealer([MasterKey.of(b"of the tests")]),
        )
        self.bulk = BulkBoard(self.store, ring=lambda: None, clock_ns=self.clock)
        archives = Archives(self.engine)
        remote = RemoteBuckets(self.buckets, Providers(providers or {}, pause=_no_pause))
        objects = TargetObjects(self.engine)
        self._lines: Lines = {}
        self.queue = queue = DelayedQueue(self.engine, self.buckets.open_queue, clock=self.clock)
        remote_objects = RemoteObjects(objects, remote.provider, queue=queue)
        self.delayed_jobs = DelayedJobs(self.store, self.buckets, self.engine, clock_ns=self.clock)
        self._delayed = DelayedWriter(self.engine, remote.provider, queue, clock=self.clock)
        uploads = TargetUploads(self.engine, elsewhere=RemoteUploads(self.engine, remote_objects))
        inside = Inside(
            objects,
            Copier(self.engine),
            archives,
            Batches(self.engine, archives),
            BatchJobs(Path("/dev/null"), clock_ns=self.clock),
            self.telemetry,
            remote_objects.cold,
            remote_objects,
        )
        jobs = job_parts(
            Boards(board, self.bulk, remote=remote, delayed=self.delayed_jobs),
            self.buckets,
            inside=inside,
            gate=guard,
            identity=IDENTITY,
        )
        node = NodeInformation(IDENTITY, clock=self.clock)
        further = object_parts(
            self.engine,
            self.buckets,
            board=self.bulk,
            identity=IDENTITY,
            telemetry=self.telemetry,
            remote=remote_objects,
            uploads=uploads,
            promote_roots=promote_roots,
        )
        self.environment: dict[str, str] = {}
        backends = BackendVerbs(BackendReport(remote.elsewhere, self.buckets, self.environment))
        services = Services(
            buckets=self.buckets,
            objects=inside.objects,
            uploads=uploads,
            listing=Listing(self.engine, provider_of=remote_objects.provider),
            archives=archives,
            summaries=Summaries(self.engine, node, clock=self.clock, provider_of=remote_objects.provider),
            node=node,
            telemetry=self.telemetry,
            remote=remote,
            remote_objects=remote_objects,
            parts=(*jobs.verbs, *further.verbs, _clusters(self.store), backends, *parts),
            variants={**jobs.variants, **further.variants},
            is_ready=lambda: ready,
            gate=guard,
        )
        self.routes: list[Route] = routes(services)
        self._app = build_app(services)

    def clock(self) -> int:
        return next(self.ticks)

    def close(self) -> None:
        self.runner.close()

    def __call__(
        self, method: str, target: str, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str
    ) -> Answer:
        return self.runner.run(self.send(method, target, body, **headers))

    def at_once(self, *requests: tuple[Any, ...]) -> list[Answer]:
        async def gathered() -> list[Answer]:
            return await asyncio.gather(*(self.send(*request) for request in requests))

        return self.runner.run(gathered())

    async def ask(
        self, method: str, target: str, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str
    ) -> Response:
        """The response, before anything of its body is made."""
        path, _, query = target.partition("?")
        fields = {"host": "127.0.0.1:8080"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = Request(method, path.encode(), query.encode(), fields)
        request.body = Chunks(json.dumps(body).encode() if isinstance(body, dict) else body)
        request.peer = "127.0.0.1:45482"
        answer = self._app(request)
        return answer if isinstance(answer, Response) else await answer

    async def send(
        self, method: str, target: str, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str
    ) -> Answer:
        response = await self.ask(method, target, body, **headers)
        if isinstance(response.body, StreamBody):
            length = response.body.length
            response.body = b"".join([chunk async for chunk in response.body.chunks])
            assert length in (None, len(response.body))
        return Answer(response)

    def state(self) -> object:
        """All that the node keeps: documents, objects, uploads. Equal as long as nothing was changed."""
        assert isinstance(self.engine, MemoryEngine)
        return (
            {document.key: document for document in self.store.list("")},
            {number: dict(held.objects) for number, held in self.engine._buckets.items()},
            {upload: (held.upload, dict(held.parts)) for upload, held in self.engine._uploads.items()},
        )

    def write_back(self) -> None:
        """Take what is delayed to its sources, as the job worker does, until there is nothing left to do."""

        async def work() -> None:
            tools = DelayedTools(
                self.store, self.engine, self.buckets, self.queue, self._delayed, self.clock, self.telemetry
            )
            await mend(tools)
            await write_once(tools, self._lines)

        self.runner.run(work())

    def work(self) -> None:
        """Let a job worker take all jobs to their ends."""

        async def work() -> None:
            runner = BulkRunner(BulkTools(self.store, self.engine, self.buckets), self.clock)
            runner.look()
            await until(lambda: not runner.active)

        self.runner.run(work())

    def bucket(self, name: str, **properties: Any) -> None:
        value = properties or None
        answer = self("POST", f"/v1/buckets/{name}?provider=ais", {"action": "create-bck", "value": value})
        assert answer.status == 200, answer.body

    def put(self, path: str, body: bytes = b"x", **headers: str) -> Answer:
        answer = self("PUT", f"/v1/objects/{path}?provider=ais", body, **headers)
        assert answer.status == 200, answer.body
        return answer

    def page(self, bucket: str, **value: Any) -> Any:
        answer = self(
            "GET",
            f"/v1/buckets/{bucket}?provider=ais",
            {"action": "list", "value": value},
            accept="application/msgpack",
        )
        assert answer.status == 200, answer.body
        return answer.msgpack()

    def names(self, bucket: str, **value: Any) -> list[str]:
        return [entry["n"] for entry in self.page(bucket, **value)["Entries"]]
