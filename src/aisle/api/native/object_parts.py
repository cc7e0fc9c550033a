"""The parts of the native API that write objects in other ways than by one PUT, put together."""

from typing import NamedTuple, Protocol

from aisle.api.native.addresses import Variants
from aisle.api.native.append import AppendVerbs
from aisle.api.native.multipart import MultipartVerbs
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity
from aisle.target.appends import TargetAppends
from aisle.target.native_uploads import NativeUploads
from aisle.target.objects import TargetEngine, TargetObjects
from aisle.target.uploads import TargetUploads, UploadEngine
from aisle.telemetry import Telemetry


class ObjectEngine(UploadEngine, TargetEngine, Protocol):
    """What these parts need of an engine."""


class ObjectParts(NamedTuple):
    """Rows of the table, and what a parameter makes of the verbs on objects."""

    verbs: tuple[MultipartVerbs, ...]
    variants: Variants


def object_parts(
    engine: ObjectEngine, buckets: Buckets, *, identity: NodeIdentity, telemetry: Telemetry
) -> ObjectParts:
    """Appending, and uploads in parts."""
    appends = AppendVerbs(TargetAppends(engine, TargetObjects(engine)), target_id=identity.target_id)
    uploads = NativeUploads(engine, TargetUploads(engine))
    multipart = MultipartVerbs(uploads, buckets, counters=telemetry)
    return ObjectParts((multipart,), {**appends.variants(), **multipart.variants()})
