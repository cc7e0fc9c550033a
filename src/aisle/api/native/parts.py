"""The parts of the native API that work through jobs, put together."""

from collections.abc import Callable
from typing import NamedTuple

from aisle.api.gate import Gate
from aisle.api.native.addresses import Variants
from aisle.api.native.archives import ArchiveVerbs
from aisle.api.native.batch import BatchVerbs
from aisle.api.native.blobs import BlobVerbs
from aisle.api.native.download import DownloadVerbs
from aisle.api.native.download_control import DownloadControl
from aisle.api.native.download_events import DownloadEvents
from aisle.api.native.jobs import JobVerbs
from aisle.api.native.multiobject import MultiObjectVerbs
from aisle.api.native.transfers import Destinations, TransferVerbs
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.jobs.batch_jobs import BatchJobs
from aisle.jobs.board import JobBoard
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_work import no_provider
from aisle.jobs.delayed_jobs import DelayedJobs
from aisle.jobs.overview import BulkJobs, DownloadJobs, JobsOverview
from aisle.rules.huggingface import ENDPOINT
from aisle.target.archives import Archives
from aisle.target.batches import Batches
from aisle.target.cold import ColdReads
from aisle.target.copying import Copier
from aisle.target.objects import TargetObjects
from aisle.target.relaying import Relay
from aisle.target.remote_objects import RemoteObjects
from aisle.telemetry import Telemetry

Verbs = (
    DownloadVerbs
    | DownloadControl
    | JobVerbs
    | TransferVerbs
    | MultiObjectVerbs
    | BlobVerbs
    | ArchiveVerbs
    | BatchVerbs
)


class Boards(NamedTuple):
    """Where jobs are asked for."""

    downloads: JobBoard
    bulk: BulkBoard
    is_ending: Callable[[], bool] = lambda: False
    """Whether the process wants to end, so that nothing should be followed any longer."""
    hub: str = ENDPOINT
    """Where the `hf://` addresses of downloads lead."""
    remote: RemoteBuckets | None = None
    """The remote buckets that downloads may fetch from."""
    delayed: DelayedJobs | None = None
    """What is on its way to the sources of remote buckets."""


class Inside(NamedTuple):
    """What works on objects inside this target."""

    objects: TargetObjects
    copier: Copier
    archives: Archives
    batches: Batches
    batch_jobs: BatchJobs
    telemetry: Telemetry
    cold: ColdReads | None = None
    """Fetches what is not here of remote buckets."""
    remote: RemoteObjects | None = None
    """The objects of remote buckets."""


class JobParts(NamedTuple):
    """Rows of the table, and what a parameter makes of the verbs on objects."""

    verbs: tuple[Verbs, ...]
    variants: Variants


def job_parts(
    boards: Boards, buckets: Buckets, *, inside: Inside, gate: Gate, identity: NodeIdentity
) -> JobParts:
    """Downloads, copies, renames, archives, work on many objects, and what is asked about all of these."""
    overview = JobsOverview(
        [
            DownloadJobs(boards.downloads),
            BulkJobs(boards.bulk),
            inside.batch_jobs,
            *([boards.delayed] if boards.delayed is not None else ()),
        ]
    )
    destinations = Destinations(buckets, gate.authorize)
    relay = Relay(inside.remote or RemoteObjects(inside.objects, no_provider))
    transfers = TransferVerbs(buckets, inside.copier, boards.bulk, destinations, relay=relay)
    archives = ArchiveVerbs(
        inside.archives,
        inside.objects,
        board=boards.bulk,
        buckets=buckets,
        destinations=destinations,
        counters=inside.telemetry,
    )
    return JobParts(
        (
            DownloadVerbs(
                boards.downloads,
                DownloadEvents(boards.downloads, is_ending=boards.is_ending),
                hub=boards.hub,
                remote=boards.remote,
            ),
            DownloadControl(boards.downloads, inside.objects.engine),
            JobVerbs(overview, boards.bulk, identity, buckets=buckets),
            transfers,
            MultiObjectVerbs(buckets, boards.bulk, destinations),
            BlobVerbs(buckets, boards.bulk),
            archives,
            BatchVerbs(
                inside.batches,
                destinations,
                jobs=inside.batch_jobs,
                counters=inside.telemetry,
                cold=inside.cold,
            ),
        ),
        {("PUT", "object_to"): transfers.copy_object, **archives.variants()},
    )
