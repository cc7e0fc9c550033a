"""Wiring: with `opening`, the only place that says which implementation stands behind which seam."""

import os
import time
from pathlib import Path

from aisle.api.app import Services, build_app
from aisle.api.arrivals import OwnNames
from aisle.api.gate import Gate, GateSettings
from aisle.api.native.auth import AuthVerbs
from aisle.api.native.backends import BackendVerbs
from aisle.api.native.logs import LogVerbs
from aisle.api.native.object_parts import object_parts
from aisle.api.native.parts import Boards, Inside, job_parts
from aisle.api.native.remote_clusters import RemoteClusterVerbs
from aisle.api.native.space import SpaceVerbs
from aisle.cluster.embedded import EmbeddedStore
from aisle.gateway.backend_report import BackendReport
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity, NodeInformation
from aisle.gateway.listing import Listing
from aisle.gateway.logs import LogFiles
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.gateway.space import SpaceReport
from aisle.gateway.summary import Summaries
from aisle.httpd.response import Handler
from aisle.jobs.batch_jobs import BatchJobs
from aisle.jobs.board import JobBoard
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.delayed_jobs import DelayedJobs
from aisle.jobs.list_files import ListStore
from aisle.jobs.manifest import ManifestFolder
from aisle.node.boot import Boot
from aisle.node.control import Control
from aisle.node.credentials import open_key_ring, open_sealer
from aisle.node.providers import open_clusters, open_origins, open_providers
from aisle.storage.local import LocalEngine
from aisle.target.archives import Archives
from aisle.target.batches import Batches
from aisle.target.copying import Copier
from aisle.target.delayed_queue import DelayedQueue
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.remote_uploads import RemoteUploads
from aisle.target.uploads import TargetUploads
from aisle.telemetry import Telemetry


def build_handler(
    boot: Boot, *, engine: LocalEngine, store: EmbeddedStore, telemetry: Telemetry, control: Control
) -> Handler:
    """The application of a worker."""
    config = boot.config
    buckets = Buckets(store, engine)
    clusters = open_clusters(boot, store)
    remote = RemoteBuckets(buckets, open_providers(boot, store, clusters))
    board = _download_board(boot, store, buckets, control)
    identity = _identity(boot)
    users = open_key_ring(boot, store)
    gate = Gate(_admission(boot), keys=users)
    bulk = BulkBoard(store, ring=control.ring_jobs, clock_ns=time.time_ns)
    objects, remote_objects = _objects(engine, buckets, remote, control)
    uploads = TargetUploads(engine, elsewhere=RemoteUploads(engine, remote_objects))
    inside = _inside(boot, engine, objects=objects, telemetry=telemetry, remote=remote_objects)
    boards = Boards(board, bulk, control.draining.is_set, config.download.huggingface_endpoint, remote)
    boards = boards._replace(delayed=DelayedJobs(store, buckets, engine, clock_ns=time.time_ns))
    jobs = job_parts(boards, buckets, inside=inside, gate=gate, identity=identity)
    node = NodeInformation(identity)
    further = object_parts(
        engine,
        buckets,
        board=bulk,
        identity=identity,
        telemetry=telemetry,
        remote=remote_objects,
        uploads=uploads,
        promote_roots=[root for root in config.promote if root],
    )
    backends = BackendVerbs(BackendReport(remote.elsewhere, buckets, os.environ))
    about = _about_the_node(boot, engine, buckets, bulk)
    services = Services(
        buckets=buckets,
        objects=inside.objects,
        uploads=uploads,
        listing=Listing(engine, provider_of=remote_objects.provider),
        archives=inside.archives,
        summaries=Summaries(engine, node, provider_of=remote_objects.provider),
        node=node,
        telemetry=telemetry,
        remote=remote,
        remote_objects=remote_objects,
        origin_of=open_origins(boot),
        own_names=_own_names(boot),
        forwards=config.http.forward_proxy,
        parts=(
            *jobs.verbs,
            *further.verbs,
            AuthVerbs(users),
            RemoteClusterVerbs(*clusters),
            *about,
            backends,
        ),
        variants={**jobs.variants, **further.variants},
        is_ready=lambda: not control.draining.is_set(),
        gate=gate,
        json_bytes_max=config.http.json_bytes_max,
    )
    return build_app(services)


def _about_the_node(
    boot: Boot, engine: LocalEngine, buckets: Buckets, board: BulkBoard
) -> tuple[LogVerbs | SpaceVerbs, ...]:
    identity = _identity(boot)
    logs = LogVerbs(LogFiles(Path(boot.runtime_folder)), identity)
    return logs, SpaceVerbs(SpaceReport(engine.space, buckets), board, identity)


def _download_board(boot: Boot, store: EmbeddedStore, buckets: Buckets, control: Control) -> JobBoard:
    return JobBoard(
        store,
        buckets,
        live_folder=Path(boot.runtime_folder),
        lists=ListStore.in_mountpaths(boot.mountpaths),
        ring=control.ring_jobs,
        clock_ns=time.time_ns,
        sealer=open_sealer(boot),
        manifests=ManifestFolder([Path(path) for path in boot.mountpaths]),
    )


def _objects(
    engine: LocalEngine, buckets: Buckets, remote: RemoteBuckets, control: Control
) -> tuple[TargetObjects, RemoteObjects]:
    objects = TargetObjects(engine)
    queue = DelayedQueue(engine, buckets.open_queue, ring=control.ring_jobs)
    return objects, RemoteObjects(objects, remote.provider, queue=queue)


def _inside(
    boot: Boot, engine: LocalEngine, *, objects: TargetObjects, telemetry: Telemetry, remote: RemoteObjects
) -> Inside:
    archives = Archives(engine)
    return Inside(
        objects,
        Copier(engine),
        archives,
        Batches(engine, archives),
        BatchJobs(Path(boot.runtime_folder), clock_ns=time.time_ns),
        telemetry,
        remote.cold,
        remote,
    )


def _admission(boot: Boot) -> GateSettings:
    config = boot.config
    return GateSettings(insecure=not boot.is_loopback_only, hosts=config.hosts, domains=config.s3.domains)


def _own_names(boot: Boot) -> OwnNames:
    authorities = frozenset(url.partition("://")[2].rstrip("/") for url in boot.urls)
    return OwnNames(authorities, boot.config.s3.domains, boot.config.s3.order)


def _identity(boot: Boot) -> NodeIdentity:
    return NodeIdentity(
        cluster_id=boot.cluster_id,
        node_id=boot.node_id,
        mountpaths=boot.mountpaths,
        created_ns=boot.created_ns,
        started_ns=boot.started_ns,
    )
