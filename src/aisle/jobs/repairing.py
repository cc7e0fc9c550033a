"""Repairing a download: a new job that fetches some of another one's items again, and nothing else.

Each must become what it was, where the manifest tells: a source that has changed since is an error, and
not a silent mixture of two versions of a dataset.
"""

from collections.abc import Iterable, Iterator

from aisle.errors import AisleError, BadRequest
from aisle.jobs.list_files import ListStore, new_list_name, write_list
from aisle.jobs.manifest import OpenManifest
from aisle.model.job import DownloadSpec, JobRecord
from aisle.rules.download_list import ListedItem
from aisle.rules.download_plan import Item, Plan


def write_repair(
    record: JobRecord, plan: Plan, manifest: OpenManifest, *, items: Iterable[int], lists: ListStore
) -> DownloadSpec:
    """The specification of the job that repairs these items; its list is then durable in `lists`.

    For a thread. Raises BadRequest if the job has no such items, OutOfSpace.
    """
    wanted = set(items)
    if not wanted:
        raise BadRequest("no items to repair")
    if beyond := [number for number in wanted if not 0 <= number < plan.total]:
        raise BadRequest(f'job "{record.id}" has no item {min(beyond)}')
    known = {
        entry.item: (entry.expected or entry.checksum, entry.size)
        for entry in manifest.entries()
        # Of an archive that was unpacked the manifest tells its members.
        if entry.item in wanted and entry.result != "failed" and not record.download.extract
    }
    name = new_list_name()
    count = write_list(lists, name, _listed(plan, sorted(wanted), known))
    asked = record.download
    return DownloadSpec(
        kind="list",
        bucket=asked.bucket,
        description=f"repair of {record.id}: {asked.description}",
        list_file=name,
        list_items=count,
        timeout_s=asked.timeout_s,
        connections=asked.connections,
        bytes_per_hour=asked.bytes_per_hour,
        extract=asked.extract,
        refetch=True,
        fills=asked.fills,
        sources=asked.sources,
    )


def _listed(plan: Plan, numbers: Iterable[int], known: dict[int, tuple[str, int]]) -> Iterator[ListedItem]:
    for number in numbers:
        try:
            item = plan.item(number)
        except AisleError as error:
            yield ListedItem(plan.label(number).encode(), plan.label(number), error=str(error))
            continue
        checksum, size = known.get(number, ("", -1))
        yield _as_it_was(item, checksum, size)


def _as_it_was(item: Item, checksum: str, size: int) -> ListedItem:
    return ListedItem(item.key, item.link, item.checksum or checksum, size if item.size < 0 else item.size)
