"""What a node holds before its first child starts: sockets, locked mountpaths, ids.

Everything that can make a start fail is tried here, in one process, so that the message is one.
"""

import logging
import os
import secrets
import socket
import string
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import lmdb
import msgspec

from aisle.cluster.embedded import EmbeddedStore
from aisle.cluster.reconcile import reconcile
from aisle.config import NodeConfig, TlsConfig
from aisle.errors import ConfigError, MountpathLocked, StaleVersion, StartError
from aisle.gateway.users import MasterKey
from aisle.node.boot import COMMITTER, WORKER, Boot
from aisle.node.credentials import check_stored_users, master_keys
from aisle.node.listen import (
    is_loopback,
    open_listeners,
    parse_address,
    refuse_strangers,
    shown_address,
)
from aisle.storage.filesystem import lock_mountpath
from aisle.storage.layout import Incarnations, holds_buckets, prepare
from aisle.storage.sweep import sweep_all
from aisle.target.claims import create_shared

_log = logging.getLogger(__name__)

_RUNTIME = ".run"
_COMMITTER_SOCKET = "committer"
# The size of sun_path on macOS, which is smaller than that of Linux.
_SOCKET_PATH_BYTES_MAX = 104
_CLUSTER_KEY = "cluster/identity"
# Children of a killed node end within a second; a restart right after it need not fail for that.
_LOCK_PATIENCE_S = 3.0
_ORPHANS_PATIENCE_S = 30.0  # children of a killed node end by themselves, but a busy machine lets them wait
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
    try:
        return _open(config, stack)
    except (OSError, lmdb.Error) as error:
        raise StartError(str(error)) from error


def _open(config: NodeConfig, stack: ExitStack) -> Site:
    addresses = [parse_address(text) for text in config.listen]
    if not (config.insecure or config.asks_for_credentials):
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
    cluster = _join_cluster(folders, may_be_new=not holds_buckets(folders))
    masters = _open_credentials(config, cluster, folders)
    dropped = sweep_all(prepared.mountpaths)
    if dropped:
        _log.info("dropped %d payloads that an earlier run had not finished", dropped)
    runtime, runtime_fd = _open_runtime_folder(folders[0])
    stack.callback(os.close, runtime_fd)
    stack.callback(_leave, runtime)
    fetches_fd = create_shared()
    stack.callback(os.close, fetches_fd)
    committer_path = _socket_path(runtime, runtime_fd)
    committer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    committer.bind(committer_path)
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
        committer_path=committer_path,
        control_fd=-1,
        lifeline_fd=-1,
        telemetry_fd=-1,
        fetches_fd=fetches_fd,
        held_fds=(*lock_fds, runtime_fd, fetches_fd),
        master_keys=masters,
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
    began_s = seen_s = time.monotonic()
    for path in paths:
        while True:
            try:
                fds.append(lock_mountpath(path))
                stack.callback(os.close, fds[-1])
                break
            except MountpathLocked as locked:
                now_s = time.monotonic()
                if _is_orphan(locked.pid):
                    seen_s, limit_s = now_s, began_s + _ORPHANS_PATIENCE_S
                else:
                    # One that dies just now is seen no more, and its lock is not free yet.
                    limit_s = seen_s + _LOCK_PATIENCE_S
                if now_s >= limit_s:
                    raise
            time.sleep(_LOCK_RETRY_S)
    return tuple(fds)


def _is_orphan(pid: int) -> bool:
    """Whether a process is a child of a node whose supervisor is gone, or has just ended itself."""
    if not pid:
        return False  # nobody knows who it is
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        own, above = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (pid, parent)]
    except (OSError, ValueError):
        return True
    is_child = b"aisle.node.child" in own
    return not own or (is_child and b"aisle.node" not in above and b"aisnode" not in above)


def _open_runtime_folder(mountpath: Path) -> tuple[Path, int]:
    """The folder for sockets and for what the job worker shows, emptied, and its descriptor.

    It lies in the mountpath, where the next start finds what a killed node left, and is never
    removed: a full disk has no room for a new one.
    """
    folder = mountpath / _RUNTIME
    folder.mkdir(mode=0o700, exist_ok=True)
    _empty(folder)
    return folder, os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        entry.unlink()


def _leave(runtime: Path) -> None:
    """Empty the runtime folder of a node that ends: programs that copy folders fail on its socket."""
    with suppress(OSError):  # a disk that failed must not keep the node from ending
        _empty(runtime)


def _socket_path(folder: Path, folder_fd: int) -> str:
    """The path of the committer's socket; raises StartError if no system call would take it."""
    path = str(folder / _COMMITTER_SOCKET)
    if len(os.fsencode(path)) < _SOCKET_PATH_BYTES_MAX:
        return path
    if not Path(f"/proc/self/fd/{folder_fd}").exists():
        raise StartError(f"{path} is too long for a socket: choose a data folder with a shorter path")
    # All processes inherit the descriptor under the same number.
    return f"/proc/self/fd/{folder_fd}/{_COMMITTER_SOCKET}"


def _join_cluster(folders: Sequence[Path], *, may_be_new: bool) -> ClusterIdentity:
    """Make the metadata copies equal; the cluster they belong to, a new one if they are empty and may be."""
    report = reconcile(folders, may_be_new=may_be_new)
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


def _open_credentials(
    config: NodeConfig, cluster: ClusterIdentity, folders: Sequence[Path]
) -> tuple[MasterKey, ...]:
    masters = master_keys(config, cluster_id=cluster.id, folders=folders)
    store = EmbeddedStore(folders)
    try:
        check_stored_users(store, config, masters)
    finally:
        store.close()
    return masters


def _urls(config: NodeConfig, listeners: Sequence[socket.socket]) -> tuple[str, ...]:
    scheme = "https" if config.tls.certificate else "http"
    return tuple(f"{scheme}://{shown_address(*s.getsockname()[:2])}" for s in listeners)


def _new_id() -> str:
    # AIStore's ids look like this, and its clients print them in narrow columns.
    return "".join(secrets.choice(string.ascii_letters) for _ in range(9))
