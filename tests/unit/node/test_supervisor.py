"""The supervisor, without any children."""

import os
import selectors
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from aisle.config import NodeConfig
from aisle.node import supervisor as supervisor_module
from aisle.node.boot import READY, Boot
from aisle.node.children import Child
from aisle.node.family import Phase
from aisle.node.site import Site
from aisle.node.supervisor import Supervisor

CONFIG = NodeConfig(workers=2)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(CONFIG, cast("Site", None), announce=lambda: None, reload=lambda: CONFIG)
    yield made
    made._close()


@pytest.mark.parametrize("change", [{"workers": 3}, {"insecure": True}, {"listen": ("127.0.0.1:1",)}])
def test_what_only_a_restart_changes_is_kept_and_told(
    supervisor: Supervisor, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assert supervisor._with_fixed(replace(CONFIG, **change)) == CONFIG
    assert f"{next(iter(change))} has changed: that needs a restart" in caplog.text


def test_settings_that_are_the_same_are_not_told_of(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    changed = replace(CONFIG, log_level="debug")
    assert supervisor._with_fixed(changed) == changed
    assert caplog.text == ""


class MadeUpChild(Child):
    """Lives until its other end is closed."""

    def __init__(self, boot: Boot) -> None:
        ours, self.other_end = socket.socketpair()
        ours.setblocking(False)
        self.boot, self.control = boot, ours

    @property
    def pid(self) -> int:
        return 0

    def exit_status(self) -> int | None:
        return None if self.other_end.fileno() >= 0 else 0


class WakeupsFirst(selectors.DefaultSelector):
    """Tells of signals before it tells of children, as epoll may."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return sorted(super().select(timeout), key=lambda event: event[0].data is not None)


@pytest.fixture
def children(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MadeUpChild]]:
    started: list[MadeUpChild] = []

    def start_child(boot: Boot, **_more: object) -> MadeUpChild:
        started.append(MadeUpChild(boot))
        return started[-1]

    def boot(**known: object) -> SimpleNamespace:
        return SimpleNamespace(listener_fds=(), held_fds=(), committer_fd=-1, fetches_fd=-1, **known)

    monkeypatch.setattr(supervisor_module, "start_child", start_child)
    supervisor._site = cast("Site", SimpleNamespace(boot=boot, stop_listening=lambda: None))
    supervisor._selector.close()
    supervisor._selector = WakeupsFirst()
    yield started
    for child in started:
        child.other_end.close()


def test_a_successor_started_in_the_turn_of_a_death_is_heard(
    supervisor: Supervisor, children: list[MadeUpChild]
) -> None:
    woken, wake = os.pipe()
    supervisor._selector.register(woken, selectors.EVENT_READ, None)
    supervisor._perform(supervisor._family.on_start())
    for child in children:
        child.other_end.send(READY)
    supervisor._turn(woken)
    assert supervisor._family.phase is Phase.SERVING
    supervisor._perform(supervisor._family.on_reload(0))
    for position in range(4):
        [leaving] = [
            child for child in children if child.boot.slot == position and child.exit_status() is None
        ]
        leaving.other_end.close()
        os.write(wake, bytes([signal.SIGCHLD]))
        supervisor._turn(woken)
        assert len(children) == 5 + position, "the successor is started"
        children[-1].other_end.send(READY)
        supervisor._turn(woken)
    assert supervisor._family._replacing is None
    os.close(wake)
    os.close(woken)
