"""The parts of the native API that write objects in other ways than by one PUT, put together."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aisle.api.native.addresses import Variants
from aisle.api.native.append import AppendVerbs
from aisle.api.native.multipart import MultipartVerbs
from aisle.api.native.promote import PromoteVerbs
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity
from aisle.jobs.bulk_board import BulkBoard
from aisle.target.appends import TargetAppends
from aisle.target.native_uploads import NativeUploads
from aisle.target.objects import TargetEngine, TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.uploads import TargetUploads, UploadEngine
from aisle.telemetry import Telemetry


class ObjectEngine(UploadEngine, TargetEngine, Protocol):
    """What these parts need of an engine."""


class ObjectParts(NamedTuple):
    """Rows of the table, and what a parameter makes of the verbs on objects."""

    verbs: tuple[MultipartVerbs | PromoteVerbs, ...]
    variants: Variants


def object_parts(
    engine: ObjectEngine,
    buckets: Buckets,
    *,
    board: BulkBoard,
    identity: NodeIdentity,
    telemetry: Telemetry,
    remote: RemoteObjects,
    uploads: TargetUploads,
    promote_roots: Sequence[str] = (),
) -> ObjectParts:
    """Appending, uploads in parts, and promoting files that lie under `promote_roots`.

    `remote` and `uploads` are those of the other dialect, too.
    """
    objects = TargetObjects(engine)
    appends = AppendVerbs(TargetAppends(engine, objects, remote=remote), target_id=identity.target_id)
    multipart = MultipartVerbs(NativeUploads(engine, uploads), buckets, counters=telemetry)
    promoting = PromoteVerbs(objects, buckets, board, roots=promote_roots, target_id=identity.target_id)
    return ObjectParts((multipart, promoting), {**appends.variants(), **multipart.variants()})
