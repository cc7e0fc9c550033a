"""The serving worker: accepts connections and answers requests, in one event loop."""

import asyncio
import os
import socket
from collections.abc import Sequence

import uvloop

from aisle.gateway.buckets import Buckets
from aisle.httpd.server import Server
from aisle.node.boot import Boot
from aisle.node.child import settle_memory
from aisle.node.control import Control
from aisle.node.opening import open_engine, open_fetches, open_room, open_store
from aisle.node.preloading import preload
from aisle.node.priority import shorten_time_slices
from aisle.node.stall import watch_stalls
from aisle.node.wiring import build_handler
from aisle.target.room import keep_room
from aisle.telemetry import Telemetry


def run(boot: Boot, telemetry: Telemetry) -> None:
    """Serve until the supervisor ends it."""
    shorten_time_slices()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(boot, telemetry))


async def _serve(boot: Boot, telemetry: Telemetry) -> None:
    control = Control(boot.control_fd)
    store = open_store(boot, telemetry)
    engine = open_engine(boot, telemetry)
    keep_room(open_room(engine, store, telemetry))
    shared = await open_fetches(boot)
    handler = build_handler(boot, engine=engine, store=store, telemetry=telemetry, control=control)
    load = telemetry.load()
    server = Server(handler, boot.config.http, telemetry=telemetry, load=load)
    sockets = [socket.socket(fileno=fd) for fd in boot.listener_fds]
    await server.start(sockets, boot.config.tls if boot.config.tls.certificate else None)
    control.listen()
    watching = asyncio.create_task(watch_stalls(telemetry))
    settle_memory()
    control.say_ready()
    preloading = asyncio.create_task(preload(Buckets(store, engine).snapshot().values(), os.environ))
    await control.draining.wait()
    load.leave()
    await _drain(server, sockets, control, grace_s=boot.config.shutdown_grace_s)
    watching.cancel()
    await preloading
    shared.close()
    await engine.close()
    store.close()


async def _drain(
    server: Server, sockets: Sequence[socket.socket], control: Control, *, grace_s: float
) -> None:
    """Let requests end, but no longer than until the supervisor says stop."""
    draining = asyncio.create_task(server.drain(grace_s))
    stopping = asyncio.create_task(control.stopping.wait())
    await asyncio.sleep(0)
    # The server looks at them no more. When the last process has closed them, clients are refused at
    # once instead of waiting in a queue that nobody serves.
    for listener in sockets:
        listener.close()
    await asyncio.wait((draining, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, stopping):
        task.cancel()
    await asyncio.gather(draining, stopping, return_exceptions=True)
