"""The supervisor: starts the children, replaces the dead, and ends them in order.

It serves nobody and opens no index, so that hardly anything can go wrong in it. What to do is
decided by `family`; here it is done: wait for signals, doorbells and time, feed, perform.
"""

import logging
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from aisle import telemetry
from aisle.config import NodeConfig
from aisle.errors import AisleError
from aisle.node.boot import COMMITTER, JOBS, JOBS_CHANGED, READY, START_FAILED_STATUS, WORKER
from aisle.node.children import Child, start_child
from aisle.node.family import Action, Announce, Family, Finish, Kill, Phase, Spawn, Tell
from aisle.node.site import Site
from aisle.telemetry import PROCESS_STARTS, ROLES, Telemetry

_log = logging.getLogger(__name__)

# Settings that only a restart changes: sockets, folders and processes exist once.
_FIXED = ("listen", "data", "workers", "insecure", "tls", "root", "auth")


class Supervisor:
    """The parent of all processes of a node."""

    def __init__(
        self,
        config: NodeConfig,
        site: Site,
        *,
        announce: Callable[[], None],
        reload: Callable[[], NodeConfig],
    ) -> None:
        """`announce` is called once, when every child is ready; `reload` reads the settings again."""
        self._config = config
        self._site = site
        self._announce = announce
        self._reload = reload
        self._roles = (COMMITTER, JOBS, *([WORKER] * config.workers))
        self._family = Family(self._roles, config.shutdown_grace_s)
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._status: int | None = None
        self._telemetry_fd = telemetry.create_shared(len(self._roles) + 1)
        # The supervisor's own page is the last one.
        self._telemetry = Telemetry.attach(self._telemetry_fd, len(self._roles))
        # Nobody writes to it: the children read its end when this process is gone.
        self._lifeline_read, self._lifeline_write = os.pipe()

    def run(self) -> int:
        """Serve until a signal ends it; the exit status. Releases what it opened."""
        with ExitStack() as stack:
            stack.callback(self._close)
            woken = _wake_on_signals(stack)
            self._selector.register(woken, selectors.EVENT_READ, None)
            self._perform(self._family.on_start())
            while self._status is None:
                self._turn(woken)
        return self._status

    def _turn(self, woken: int) -> None:
        due_s = self._family.next_tick_s()
        timeout_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                for number in set(os.read(woken, 4096)):
                    self._on_signal(signal.Signals(number))
                continue
            child: Child = key.data
            # One buried in this very turn has a successor in its slot, who has not rung.
            if self._children.get(child.boot.slot) is child:
                self._on_rung(child)
        self._perform(self._family.on_tick(time.monotonic()))

    def _on_signal(self, number: signal.Signals) -> None:
        now_s = time.monotonic()
        if number == signal.SIGCHLD:
            for slot in list(self._children):
                self._bury(slot)
        elif number == signal.SIGHUP:
            self._on_reload(now_s)
        else:
            _log.info("%s: ending (%s)", number.name, self._family.phase.value)
            self._site.stop_listening()
            self._perform(self._family.on_terminate(now_s))

    def _on_rung(self, child: Child) -> None:
        try:
            rung = child.heard()
        except EOFError:
            # The child is dying, and SIGCHLD tells when it is dead.
            self._selector.unregister(child.control)
            self._bury(child.boot.slot)
            return
        if READY in rung:
            self._perform(self._family.on_ready(child.boot.slot, time.monotonic()))
        if JOBS_CHANGED in rung:
            self._tell_jobs()

    def _on_reload(self, now_s: float) -> None:
        try:
            config = self._with_fixed(self._reload())
        except AisleError as error:
            _log.error("settings not reloaded:\n%s", error)
            return
        self._config = config
        self._family.grace_s = self._config.shutdown_grace_s
        _log.info("settings read again: replacing the processes one by one")
        self._perform(self._family.on_reload(now_s))

    def _with_fixed(self, config: NodeConfig) -> NodeConfig:
        """New settings, but for those that only a restart changes. Raises ConfigError."""
        kept = {name: getattr(self._config, name) for name in _FIXED}
        for name, value in kept.items():
            if getattr(config, name) != value:
                _log.warning("%s has changed: that needs a restart", name)
        config = replace(config, **kept)
        if config.asks_for_credentials == self._config.asks_for_credentials:
            return config
        # What credentials follow from is made at the start; half of it would leave the node open.
        _log.warning("users has changed: switching credentials on or off needs a restart")
        return replace(config, users=self._config.users)

    def _perform(self, actions: Iterable[Action]) -> None:
        waiting = list(actions)
        while waiting:
            match waiting.pop(0):
                case Spawn(slot):
                    waiting += self._spawn(slot)
                case Tell(slot, what):
                    self._children[slot].tell(what)
                case Kill(slot):
                    _log.warning("%s did not end in time: killed", self._name(slot))
                    self._children[slot].kill()
                case Announce():
                    self._announce()
                case Finish(status):
                    self._status = status

    def _spawn(self, slot: int) -> Sequence[Action]:
        role = self._roles[slot]
        boot = self._site.boot(
            config=self._config,
            role=role,
            index=self._roles[:slot].count(role),
            slot=slot,
            lifeline_fd=self._lifeline_read,
            telemetry_fd=self._telemetry_fd,
        )
        inherited = (*boot.listener_fds, *boot.held_fds, boot.lifeline_fd, boot.telemetry_fd)
        if boot.committer_fd >= 0:
            inherited += (boot.committer_fd,)
        try:
            # Those who are waited for are ready first; a successor is waited for itself.
            gives_way = role == JOBS and self._family.phase is Phase.STARTING
            child = start_child(boot, inherited=inherited, gives_way=gives_way)
        except OSError as error:
            _log.error("%s cannot be started: %s", self._name(slot), error)
            return self._family.on_exit(slot, time.monotonic())
        self._children[slot] = child
        self._selector.register(child.control, selectors.EVENT_READ, child)
        self._telemetry.slots[PROCESS_STARTS + ROLES.index(role)] += 1
        _log.debug("%s started as process %d", self._name(slot), child.pid)
        return ()

    def _bury(self, slot: int) -> None:
        """Do what is due if the child is dead."""
        child = self._children[slot]
        status = child.exit_status()
        if status is None:
            return
        if child.control.fileno() in self._selector.get_map():
            self._on_last_words(slot)
        del self._children[slot]
        child.close()
        self._telemetry.retire(slot)
        actions = self._family.on_exit(slot, time.monotonic())
        if status != 0:
            self._log_death(slot, child.pid, status)
        self._perform(actions)

    def _on_last_words(self, slot: int) -> None:
        """Pass on what a dead child rang before it died."""
        child = self._children[slot]
        self._selector.unregister(child.control)
        with suppress(EOFError):
            if JOBS_CHANGED in child.heard():
                self._tell_jobs()

    def _tell_jobs(self) -> None:
        for child in self._children.values():
            if child.boot.role == JOBS:
                child.tell(JOBS_CHANGED)

    def _log_death(self, slot: int, pid: int, status: int) -> None:
        if status == START_FAILED_STATUS:
            return  # It said why.
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        pause_s = self._family.pause_s(slot)
        then = f"; the next one starts in {pause_s:.1f} s" if pause_s else ""
        _log.warning("%s (process %d) ended %s%s", self._name(slot), pid, how, then)

    def _name(self, slot: int) -> str:
        role = self._roles[slot]
        return f"{role}-{self._roles[:slot].count(role)}"

    def _close(self) -> None:
        for child in self._children.values():
            child.close()
        self._selector.close()
        for fd in (self._lifeline_read, self._lifeline_write, self._telemetry_fd):
            os.close(fd)


def _wake_on_signals(stack: ExitStack) -> int:
    """A descriptor from which the numbers of arriving signals are read."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_blocking(fd, False)
        stack.callback(os.close, fd)
    stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(write, warn_on_full_buffer=False))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        stack.callback(signal.signal, number, signal.signal(number, _do_nothing))
    return read


def _do_nothing(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told; a handler must exist, or the default would end the process."""


def print_ready(urls: Sequence[str]) -> None:
    """The one line on standard output: harnesses wait for it."""
    try:
        sys.stdout.write(f"aisle ready {' '.join(urls)}\n")
        sys.stdout.flush()
    except OSError as error:
        _log.warning("the ready line could not be printed: %s", error)
