"""Who asks, and what they may do: actions in AIStore's access bits, and S3's canned ACLs.

The same bits serve four purposes: what a route needs, what a principal may do everywhere, what an
ACL grants on a bucket, and what a bucket's `access` property leaves open to anybody at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Final


class Action(IntFlag):
    """What a route does, in AIStore's access bits (ais-native-api.md §10.2)."""

    OPEN = 0
    """Tells nothing that needs a right: liveness, and which program answers."""
    GET = 1
    HEAD_OBJECT = 2
    PUT = 4
    APPEND = 8
    DELETE_OBJECT = 16
    MOVE_OBJECT = 32
    PROMOTE = 64
    UPDATE_OBJECT = 128
    HEAD_BUCKET = 256
    LIST_OBJECTS = 512
    PATCH = 1024
    SET_BUCKET_ACL = 2048
    LIST_BUCKETS = 4096
    SHOW_CLUSTER = 8192
    CREATE_BUCKET = 16_384
    DESTROY_BUCKET = 32_768
    MOVE_BUCKET = 65_536
    ADMIN = 131_072


ALL: Final = Action(2**18 - 1)
CLUSTER: Final = Action.LIST_BUCKETS | Action.SHOW_CLUSTER | Action.CREATE_BUCKET | Action.ADMIN
"""Actions that concern no bucket that exists; all others are done to one."""
USER: Final = Action.LIST_BUCKETS | Action.SHOW_CLUSTER | Action.CREATE_BUCKET
"""What every known user may do to the cluster; what it may do to a bucket is the bucket's matter."""
READ: Final = Action.GET | Action.HEAD_OBJECT | Action.HEAD_BUCKET | Action.LIST_OBJECTS
WRITE: Final = Action.PUT | Action.APPEND | Action.DELETE_OBJECT | Action.UPDATE_OBJECT
OWN: Final = ALL & ~CLUSTER & ~Action.PROMOTE
"""What owners may do to their buckets. Promoting reads the files of the machine, which are not theirs."""
SETTLE: Final = Action.PATCH | Action.SET_BUCKET_ACL
"""Changing what a bucket allows: the way back after all other rights were taken away."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str
    allowed: Action
    """What they may do to the cluster and to every bucket."""
    id: str = ""
    """The owner's id in the buckets that they create; empty for root, and while nobody has a name."""
    is_known: bool = True
    """Whether they have shown who they are."""


ANONYMOUS: Final = Principal("anonymous", ALL)
"""Whoever reaches a node that has no credentials."""
STRANGER: Final = Principal("anonymous", Action.OPEN, is_known=False)
"""Whoever shows no credentials to a node that asks for them."""
PASS_THROUGH: Final = Principal("pass-through", Action.OPEN, is_known=False)
"""Whoever shows credentials for the source of a bucket that passes them on; the source judges them."""
PASSED_ON: Final = Principal("pass-through", Action.OPEN)
"""The same, when the source has accepted the request."""
PASSED: Final = READ | WRITE
"""What may be asked of such a bucket."""


CANNED_ACLS: Final[Mapping[str, tuple[Action, Action]]] = {
    "private": (Action.OPEN, Action.OPEN),
    "public-read": (READ, READ),
    "public-read-write": (READ | WRITE, READ | WRITE),
    "authenticated-read": (Action.OPEN, READ),
}
"""S3's canned ACLs: what others than the owner may do, if they are strangers and if they are known."""


def granted(principal: Principal, *, owner: str, acl: str) -> Action:
    """What a principal may do to a bucket beyond what they may do everywhere."""
    if owner and owner == principal.id:
        return OWN
    to_all, to_known = CANNED_ACLS.get(acl, CANNED_ACLS["private"])
    return to_known if principal.is_known else to_all
