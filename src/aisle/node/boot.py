"""What the supervisor tells a child at its start, and the bytes they exchange afterwards.

The boot message travels through an inherited descriptor, so that neither the command line nor the
environment shows it; the roles stay visible in the command line. Afterwards one socket pair per
child carries doorbells only, one byte each: all state lives in the stores.
"""

import os

import msgspec

from aisle.config import NodeConfig
from aisle.gateway.users import MasterKey

COMMITTER, JOBS, WORKER = "committer", "jobs", "worker"

# From a child to the supervisor.
READY = b"R"
JOBS_CHANGED = b"J"  # also from the supervisor to the jobs process
# From the supervisor to a child.
DRAIN = b"D"  # finish what is under way, at most `shutdown_grace_s`, then exit
STOP = b"S"  # exit now, giving up what is under way

START_FAILED_STATUS = 78
"""Exit status of a child that reported why it cannot start (`EX_CONFIG` of sysexits.h)."""


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a child has to know. Descriptors keep their numbers."""

    role: str
    index: int
    """The number among the children of its role."""
    slot: int
    """The child's page in the shared telemetry file."""
    incarnation: bytes
    """Four bytes that no other process of these data folders has had or will have."""
    config: NodeConfig
    mountpaths: tuple[str, ...]
    """Absolute, in the same order in every process."""
    node_id: str
    cluster_id: str
    urls: tuple[str, ...]
    """Where the node listens, as announced."""
    is_loopback_only: bool
    """Whether only the node's own machine can reach it."""
    created_ns: int
    """When the cluster was made, Unix nanoseconds."""
    started_ns: int
    runtime_folder: str
    committer_path: str
    control_fd: int
    """This child's end of the socket pair."""
    lifeline_fd: int
    """Reads end-of-file when the supervisor is gone."""
    telemetry_fd: int
    fetches_fd: int
    """The file with which processes agree on who fetches a remote object."""
    master_keys: tuple[MasterKey, ...] = ()
    """What the credentials follow from, the present key first; none while there are no credentials."""
    listener_fds: tuple[int, ...] = ()
    committer_fd: int = -1
    held_fds: tuple[int, ...] = ()
    """Kept open only: the mountpaths' locks, and the runtime folder."""


def send_boot(fd: int, boot: Boot) -> None:
    """Write the message and close `fd`; a child that is dead already is found out elsewhere."""
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(boot))
    except BrokenPipeError:
        pass


def receive_boot(fd: int) -> Boot | None:
    """Read the message that the supervisor wrote, and close `fd`; None if it died before writing."""
    with os.fdopen(fd, "rb") as file:
        raw = file.read()
    return msgspec.msgpack.decode(raw, type=Boot) if raw else None
