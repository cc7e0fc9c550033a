"""What a node holds before its first child starts: sockets, locked mountpaths, ids.

Everything that can make a start fail is tried here, in one process, so that the message is one.
"""

import logging
import os
import secrets
import shutil
import socket
import string
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from aisle.cluster.embedded import EmbeddedStore
from aisle.cluster.reconcile import reconcile
from aisle.config import NodeConfig, TlsConfig
from aisle.errors import ConfigError, MountpathLocked, StaleVersion, StartError
from aisle.node.boot import COMMITTER, WORKER, Boot
from aisle.node.listen import (
    is_loopback,
    open_listeners,
    parse_address,
    refuse_strangers,
    shown_address,
)
from aisle.storage.filesystem import lock_mountpath
from aisle.storage.layout import Incarnations, prepare
from aisle.storage.sweep import sweep_all

_log = logging.getLogger(__name__)

_RUNTIME = ".run"
_COMMITTER_SOCKET = "committer"
# The size of sun_path on macOS, which is smaller than that of Linux.
_SOCKET_PATH_BYTES_MAX = 104
_CLUSTER_KEY = "cluster/identity"
# Children of a killed node end within a second; a restart right after it need not fail for that.
_LOCK_PATIENCE_S = 3.0
_LOCK_RETRY_S = 0.05


class ClusterIdentity(msgspec.Struct, frozen=True):
    """The document that tells one cluster from another, written once."""

    id: str
    created_ns: int


class Site:
    """The place where a node's processes live; makes the boot message of each."""

    def __init__(
        self,
        config: NodeConfig,
        template: Boot,
        *,
        listeners: Sequence[socket.socket],
        committer: socket.socket,
        incarnations: Incarnations,
    ) -> None:
        self.config = config
        self.urls = template.urls
        self.mountpaths = template.mountpaths
        self._template = template
        self._listeners = listeners
        self._committer = committer
        self._incarnations = incarnations

    def boot(
        self, *, config: NodeConfig, role: str, index: int, slot: int, lifeline_fd: int, telemetry_fd: int
    ) -> Boot:
        """The boot message of a new child; its control socket is added when it is started."""
        # Descriptors go only to those who use them: a committer that held the listening sockets would
        # keep the port open if it outlived the others.
        return msgspec.structs.replace(
            self._template,
            role=role,
            index=index,
            slot=slot,
            incarnation=self._incarnations.new(),
            config=config,
            lifeline_fd=lifeline_fd,
            telemetry_fd=telemetry_fd,
            listener_fds=tuple(s.fileno() for s in self._listeners) if role == WORKER else (),
            committer_fd=self._committer.fileno() if role == COMMITTER else -1,
        )

    def stop_listening(self) -> None:
        """Refuse new connections, as far as this process is concerned; workers do so by themselves."""
        for listener in self._listeners:
            listener.close()


def open_site(config: NodeConfig, stack: ExitStack) -> Site:
    """Open and lock everything; `stack` closes it. Raises StartError."""
    addresses = [parse_address(text) for text in config.listen]
    if not config.insecure:
        refuse_strangers(addresses)
    _check_readable(config.tls)
    paths = [Path(text).resolve() for text in config.data]
    # Locks come first: children of a killed node hold the port too, and let go of both together.
    lock_fds = _lock(paths, stack)
    listeners = [
        stack.enter_context(listener) for address in addresses for listener in open_listeners(address)
    ]
    prepared = prepare(paths, new_node_id=_new_id, accept_missing=config.accept_missing)
    folders = [mountpath.path for mountpath in prepared.mountpaths]
    cluster = _join_cluster(folders)
    dropped = sweep_all(prepared.mountpaths)
    if dropped:
        _log.info("dropped %d payloads that an earlier run had not finished", dropped)
    runtime = _runtime_folder(folders[0], stack)
    committer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    committer.bind(str(runtime / _COMMITTER_SOCKET))
    committer.listen(512)
    template = Boot(
        role="",
        index=0,
        slot=0,
        incarnation=b"",
        config=config,
        mountpaths=tuple(map(str, folders)),
        node_id=prepared.node,
        cluster_id=cluster.id,
        created_ns=cluster.created_ns,
        started_ns=time.time_ns(),
        urls=_urls(config, listeners),
        is_loopback_only=all(map(is_loopback, addresses)),
        runtime_folder=str(runtime),
        committer_path=str(runtime / _COMMITTER_SOCKET),
        control_fd=-1,
        lifeline_fd=-1,
        telemetry_fd=-1,
        lock_fds=lock_fds,
    )
    return Site(
        config,
        template,
        listeners=listeners,
        committer=committer,
        incarnations=Incarnations(prepared.mountpaths),
    )


def _check_readable(tls: TlsConfig) -> None:
    mistakes = []
    for key, path in (("tls.certificate", tls.certificate), ("tls.key", tls.key)):
        try:
            if path:
                Path(path).read_bytes()
        except OSError as error:
            mistakes.append(f"{key}: {path}: {error.strerror}")
    if mistakes:
        raise ConfigError(mistakes)


def _lock(paths: Sequence[Path], stack: ExitStack) -> tuple[int, ...]:
    if len(set(paths)) != len(paths):
        raise StartError("data: a folder is named twice")
    fds = []
    give_up_s = time.monotonic() + _LOCK_PATIENCE_S
    for path in paths:
        while True:
            try:
                fds.append(lock_mountpath(path))
                stack.callback(os.close, fds[-1])
                break
            except MountpathLocked:
                if time.monotonic() >= give_up_s:
                    raise
            time.sleep(_LOCK_RETRY_S)
    return tuple(fds)


def _runtime_folder(mountpath: Path, stack: ExitStack) -> Path:
    """An empty folder of this run, for nobody else: sockets, and what the job worker shows."""
    folder = mountpath / _RUNTIME
    # A node that was killed as a whole leaves its folder. Within the mountpath it is found again.
    shutil.rmtree(folder, ignore_errors=True)
    if len(os.fsencode(folder / _COMMITTER_SOCKET)) < _SOCKET_PATH_BYTES_MAX:
        folder.mkdir(mode=0o700)
    else:
        folder = Path(tempfile.mkdtemp(prefix="aisle-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _join_cluster(folders: Sequence[Path]) -> ClusterIdentity:
    """Make the metadata copies equal; the cluster they belong to, a new one if they are empty."""
    report = reconcile(folders)
    for folder in report.rewritten:
        _log.info("cluster metadata in %s was behind and is now at change %d", folder, report.sequence)
    for folder in report.set_aside:
        _log.warning("unreadable cluster metadata was replaced by another copy and kept as %s", folder)
    for key in report.restored:
        _log.warning("damaged cluster metadata %s was taken from another copy", key)
    store = EmbeddedStore(folders)
    try:
        new = ClusterIdentity(_new_id(), time.time_ns())
        try:
            store.swap(_CLUSTER_KEY, msgspec.json.encode(new), expected_version=0)
        except StaleVersion:
            document = store.load(_CLUSTER_KEY)
            assert document is not None
            return msgspec.json.decode(document.value, type=ClusterIdentity)
        return new
    finally:
        store.close()


def _urls(config: NodeConfig, listeners: Sequence[socket.socket]) -> tuple[str, ...]:
    scheme = "https" if config.tls.certificate else "http"
    return tuple(f"{scheme}://{shown_address(*s.getsockname()[:2])}" for s in listeners)


def _new_id() -> str:
    # AIStore's ids look like this, and its clients print them in narrow columns.
    return "".join(secrets.choice(string.ascii_letters) for _ in range(9))
