"""All parts of the S3 dialect, and what they call."""

from dataclasses import dataclass
from functools import partial

from aisle.api.s3.buckets import BucketOperations
from aisle.api.s3.dispatch import Dispatch, Passing, Permits, S3Part
from aisle.api.s3.listing import ListOperations
from aisle.api.s3.multipart import MultipartOperations
from aisle.api.s3.names import S3Names
from aisle.api.s3.objects import object_parts
from aisle.api.s3.origins import OriginOf
from aisle.api.s3.reading import ReadingOperations
from aisle.api.s3.remote import RemoteOperations
from aisle.api.s3.service import ServiceOperations
from aisle.api.s3.sources import CopySources
from aisle.api.s3.unset import UnsetSettings
from aisle.gateway.buckets import Buckets
from aisle.gateway.listing import Listing
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.target.copying import Copier
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.uploads import TargetUploads
from aisle.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Services:
    """What the handlers call; the application has them at hand."""

    buckets: Buckets
    objects: TargetObjects
    uploads: TargetUploads
    listing: Listing
    telemetry: Telemetry
    permits: Permits
    names: S3Names
    remote: RemoteBuckets
    remote_objects: RemoteObjects
    origin_of: OriginOf | None = None
    """Where signed requests about a bucket are passed on to; None where they never are."""
    cluster_id: str = ""


def s3_parts(services: S3Services) -> list[S3Part]:
    """Every part; a new one is added here."""
    objects = services.objects
    sources = CopySources(services.names)
    return [
        ServiceOperations(services.buckets, services.names),
        BucketOperations(services.buckets),
        ListOperations(services.listing),
        MultipartOperations(
            services.uploads,
            objects,
            sources,
            remote=services.remote_objects,
            counters=services.telemetry,
        ),
        UnsetSettings(),
        *object_parts(
            objects, Copier(objects.engine), sources, services.telemetry, remote=services.remote_objects
        ),
    ]


def _passing(services: S3Services, origin_of: OriginOf, reading: ReadingOperations) -> Passing:
    """What passes signed requests on; loaded when the first one comes."""
    from aisle.api.s3.pass_through import PassThrough
    from aisle.api.s3.signed_requests import SignedRequests

    signed = SignedRequests(origin_of, cluster_id=services.cluster_id)
    return PassThrough(signed, services.remote_objects, reading, counters=services.telemetry)


def build_dispatch(services: S3Services) -> Dispatch:
    """The dialect, ready to answer."""
    reading = ReadingOperations(services.objects, services.telemetry)
    return Dispatch(
        s3_parts(services),
        names=services.names,
        permits=services.permits,
        telemetry=services.telemetry,
        remote=RemoteOperations(reading, services.remote_objects, counters=services.telemetry),
        buckets=services.remote,
        passing=partial(_passing, services, services.origin_of, reading) if services.origin_of else None,
    )
