"""The job worker: runs jobs beside the serving workers, at a lower priority."""

import asyncio
import logging
import time
from pathlib import Path

import uvloop

from aisle.errors import AisleError
from aisle.gateway.buckets import Buckets
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_runner import run_bulk
from aisle.jobs.bulk_work import BulkTools
from aisle.jobs.delayed_writing import DelayedTools, run_delayed
from aisle.jobs.list_files import ListStore
from aisle.jobs.list_sweep import sweep_lists
from aisle.jobs.manifest import ManifestFolder
from aisle.jobs.provider_item import ProviderSources
from aisle.jobs.runner import JobServices, JobSettings
from aisle.jobs.runner import run as run_jobs
from aisle.jobs.space_watch import watch_space
from aisle.node.boot import Boot
from aisle.node.child import settle_memory
from aisle.node.control import Control
from aisle.node.credentials import open_sealer
from aisle.node.opening import open_engine, open_fetches, open_room, open_store
from aisle.node.priority import lower_processor_priority
from aisle.node.providers import open_providers
from aisle.rules.courtesy import Courtesy
from aisle.rules.egress import egress_policy
from aisle.target.delayed_queue import DelayedQueue
from aisle.target.delayed_view import DelayedViews
from aisle.target.delayed_writing import DelayedWriter
from aisle.target.room import keep_room
from aisle.telemetry import Telemetry

_log = logging.getLogger(__name__)


def run(boot: Boot, telemetry: Telemetry) -> None:
    """Run jobs until the supervisor ends it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(boot, telemetry))


async def _work(boot: Boot, telemetry: Telemetry) -> None:
    control = Control(boot.control_fd)
    store = open_store(boot, telemetry)
    courtesy = Courtesy(telemetry.served, time.monotonic_ns)
    engine = open_engine(boot, telemetry, gives_way=courtesy.gives_way)
    keep_room(open_room(engine, store, telemetry))
    shared = await open_fetches(boot)
    buckets = Buckets(store, engine)
    providers = open_providers(boot, store)
    remote = RemoteBuckets(buckets, providers)
    doorbell, bulk_doorbell, delayed_doorbell = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def on_jobs_changed() -> None:
        store.wake()
        doorbell.set()
        bulk_doorbell.set()
        delayed_doorbell.set()

    control.listen(on_jobs_changed)
    views = DelayedViews(engine, remote.provider)
    manifests = ManifestFolder([Path(path) for path in boot.mountpaths])
    services = JobServices(
        store,
        engine,
        buckets,
        time.time_ns,
        telemetry,
        open_sealer(boot),
        manifests,
        ProviderSources(buckets, views.of),
        courtesy.gives_way,
    )
    settings = _settings(boot)
    jobs = asyncio.create_task(run_jobs(services, settings, doorbell))
    tools = BulkTools(store, engine, buckets, views.of, engine.space, telemetry)
    bulk = asyncio.create_task(run_bulk(tools, time.time_ns, bulk_doorbell))
    board = BulkBoard(store, ring=bulk_doorbell.set, clock_ns=time.time_ns)
    watching = asyncio.create_task(watch_space(tools, board))
    queue = DelayedQueue(engine, buckets.open_queue, ring=delayed_doorbell.set)
    writer = DelayedWriter(engine, remote.provider, queue, clock=time.time_ns)
    delayed_tools = DelayedTools(store, engine, buckets, queue, writer, time.time_ns, telemetry)
    delayed = asyncio.create_task(run_delayed(delayed_tools, delayed_doorbell))
    repairing = asyncio.create_task(_repair(buckets))
    sweeping = asyncio.create_task(sweep_lists(settings.lists, store))
    settle_memory()
    control.say_ready()
    lower_processor_priority()
    ending = asyncio.create_task(control.draining.wait())
    lasting = (jobs, bulk, watching, delayed)  # one that ends has failed, and the worker is started again
    await asyncio.wait((*lasting, ending), return_when=asyncio.FIRST_COMPLETED)
    for task in (tasks := (ending, repairing, sweeping, *lasting)):
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    shared.close()
    await providers.close()
    await engine.close()
    store.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _settings(boot: Boot) -> JobSettings:
    """How jobs may work on this node."""
    policy = egress_policy(boot.config.egress, listens_on_loopback_only=boot.is_loopback_only)
    lists = ListStore.in_mountpaths(boot.mountpaths)
    return JobSettings(boot.config.download, policy, Path(boot.runtime_folder), lists)


async def _repair(buckets: Buckets) -> None:
    """Finish what a crash left half done."""
    try:
        for bucket in await buckets.repair():
            _log.info("ended the interrupted destruction of %s", bucket.cname)
    except AisleError as error:
        _log.warning("an interrupted destruction of a bucket has to wait: %s", error)
