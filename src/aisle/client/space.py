"""How full the disks of a cluster are, and what of them copies of remote objects take."""

from contextlib import closing

import msgspec

from aisle.client.connections import Call
from aisle.client.node import Client
from aisle.errors import BadRequest, NodeFailed, NotFound


class Levels(msgspec.Struct, frozen=True):
    """Fill levels, percent."""

    low: int = msgspec.field(name="lowwm", default=0)
    """Down to which evictions go."""
    high: int = msgspec.field(name="highwm", default=0)
    """Above which they begin."""
    full: int = msgspec.field(name="out_of_space", default=0)
    """Above which nothing more is kept of remote buckets."""


class MountpathSpace(msgspec.Struct, frozen=True):
    """How a mountpath is filled; sizes in bytes."""

    total: int = 0
    used: int = 0
    percent_used: float = 0.0
    leaving: int = 0
    """Of what is used: files that nothing refers to and that are going to be unlinked."""
    reusable: int = 0
    """Of what is used: free pages of the index."""
    evictable_objects: int = 0
    evictable: int = 0
    """Copies of remote objects that may go when they were not used for long enough."""


class Eviction(msgspec.Struct, frozen=True):
    """A job that evicted objects; times are RFC 3339."""

    job: str
    started: str
    ended: str | None = None
    """None while it runs."""
    objects: int = 0
    bytes: int = 0
    aborted: bool = False


class TargetSpace(msgspec.Struct, frozen=True):
    """What a target tells of its space."""

    levels: Levels = Levels()
    mountpaths: dict[str, MountpathSpace] = {}
    last_eviction: Eviction | None = None

    @property
    def is_cache(self) -> bool:
        """Whether anything was ever to be evicted here."""
        return self.last_eviction is not None or any(
            each.evictable_objects for each in self.mountpaths.values()
        )


def target_spaces(client: Client) -> dict[str, TargetSpace]:
    """What all targets tell, by id; nothing where the cluster does not know the question, as AIStore."""
    call = Call(method="GET", target="/v1/cluster?what=space", headers={"Accept": "application/json"})
    try:
        with closing(client.open(call)) as answer:
            data = answer.read()
    except (BadRequest, NotFound):
        return {}
    try:
        return msgspec.json.decode(data, type=dict[str, TargetSpace])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NodeFailed(f"what answers at {client.endpoint} is not a node", status=200) from error
