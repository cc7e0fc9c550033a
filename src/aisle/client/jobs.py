"""Jobs of a node other than downloads, and the copies, renames and deletions that start them.

As the wire tells them: ais-native-api.md §4.6, §4.7, §6.9, §6.10 and §7.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from aisle.client.answers import Asked
from aisle.client.node import Client
from aisle.errors import BucketNotFound, JobNotFound, NotFound
from aisle.model.names import Bucket, display

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_FRACTION: Final = re.compile(r"\.(\d{6})\d*Z$")


class JobCounts(msgspec.Struct, frozen=True):
    """What a job has done."""

    objects: int = msgspec.field(name="loc-objs", default=0)
    bytes: int = msgspec.field(name="loc-bytes", default=0)


class NodeJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a target tells it."""

    id: str
    kind: str
    started: str = msgspec.field(name="start-time", default=ZERO_TIME)
    ended: str = msgspec.field(name="end-time", default=ZERO_TIME)
    """The first day of year 1 while it runs."""
    message: str = msgspec.field(name="ctlmsg", default="")
    """What it does, in the node's words."""
    abort_error: str = msgspec.field(name="abort-err", default="")
    error: str = msgspec.field(name="err", default="")
    counts: JobCounts = msgspec.field(name="stats", default_factory=JobCounts)
    aborted: bool = False
    is_idle: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it has work left; a kind that idles for a while before it ends has none."""
        return self.ended == ZERO_TIME and not self.is_idle

    @property
    def state(self) -> str:
        """`running`, `finished` or `aborted`."""
        return "aborted" if self.aborted else "running" if self.is_running else "finished"

    @property
    def failure(self) -> str:
        """What went wrong, empty if nothing did."""
        return self.abort_error or self.error

    @property
    def started_at(self) -> datetime.datetime:
        """When it began."""
        return parse_time(self.started)


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects of a bucket: names, or a template or prefix; all of them if neither is given."""

    names: Sequence[str] = ()
    template: str = ""

    def message(self) -> dict[str, object]:
        """As the wire says it."""
        return {"objnames": list(self.names)} if self.names else {"template": self.template}


class Copying(msgspec.Struct, frozen=True, kw_only=True):
    """How objects are copied."""

    prepend: str = ""
    dry_run: bool = False
    workers: int = 0
    continues_on_error: bool = False
    synchronize: bool = False
    """Also remove from the destination what the source has not."""
    latest: bool = False
    """Of a remote bucket: what its source has now, whatever is kept of it."""
    only_kept: bool = False
    """Of a remote bucket: only what is kept of it."""

    @property
    def query(self) -> dict[str, str]:
        """What is said beside the message."""
        return {"presence": "2"} if self.only_kept else {}

    def message(self) -> dict[str, object]:
        """As the wire says it."""
        return {
            "synchronize": self.synchronize,
            "latest-ver": self.latest,
            "prepend": self.prepend,
            "dry_run": self.dry_run,
            "num-workers": self.workers,
            "coer": self.continues_on_error,
        }


class Promoting(msgspec.Struct, frozen=True, kw_only=True):
    """How files of a node's machine become objects."""

    recursive: bool = False
    overwrites: bool = False
    deletes_sources: bool = False


class Ranges(msgspec.Struct, frozen=True, kw_only=True):
    """How a large object is read in parallel ranges; 0 leaves it to the node."""

    chunk_bytes: int = 0
    workers: int = 0


AS_USUAL: Final = Ranges()


class Prefetching(msgspec.Struct, frozen=True, kw_only=True):
    """How objects of a remote bucket are fetched ahead of their use."""

    latest: bool = False
    """Again where the source has another version."""
    non_recursive: bool = False
    workers: int = 0
    """Objects fetched at a time; 0 for as many as the node likes, -1 for one after the other."""
    blob_bytes: int = 0
    """Objects from this size on are read in parallel ranges; 0 for none."""
    ranges: Ranges = AS_USUAL

    def message(self) -> dict[str, object]:
        """As the wire says it."""
        told: dict[str, object] = {
            "latest-ver": self.latest,
            "non-recurs": self.non_recursive,
            "num-workers": self.workers,
            "blob-threshold": self.blob_bytes,
            "coer": False,
        }
        if self.ranges.chunk_bytes:
            told["blob-chunk-size"] = self.ranges.chunk_bytes
        if self.ranges.workers:
            told["blob-num-workers"] = self.ranges.workers
        return told


AS_IT_IS: Final = Copying()


def bucket_shape(bucket: Bucket) -> dict[str, object]:
    """A bucket as JSON names it."""
    uuid, _, name = bucket.namespace.removeprefix("@").partition("#")
    space = {"uuid": uuid, "name": name} if bucket.namespace else None
    return {"name": bucket.name, "provider": bucket.provider, "namespace": space}


class Jobs:
    """Starts and follows jobs of a node. Methods raise what those of `Client` do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def copy_object(
        self, bucket: Bucket, key: bytes, to: Bucket, name: bytes, *, latest: bool = False
    ) -> None:
        """Copy one object; with `latest` as its source has it now. Raises ObjectNotFound, BucketNotFound."""
        target = f"/v1/objects/{bucket.name}/{quote(key, safe='/')}"
        query = _query(bucket) | {"object_to": to.uname + name.decode("utf-8", "surrogateescape")}
        if latest:
            query["latest-ver"] = "true"
        try:
            self._client.exchange("PUT", target, bytes, message=None, query=query, asked=_asked(bucket, key))
        except BucketNotFound as error:
            # The answer does not tell which of the two.
            self._client.bucket_properties(bucket)
            raise BucketNotFound(to.cname) from error

    def rename_object(self, bucket: Bucket, key: bytes, name: bytes) -> None:
        """Give an object another name in its bucket. Raises ObjectNotFound, BucketNotFound."""
        target = f"/v1/objects/{bucket.name}/{quote(key, safe='/')}"
        message = {"action": "rename-obj", "name": name.decode("utf-8", "surrogateescape")}
        self._client.exchange(
            "POST", target, bytes, message=message, query=_query(bucket), asked=_asked(bucket, key)
        )

    def delete_object(self, bucket: Bucket, key: bytes) -> None:
        """Delete one object. Raises ObjectNotFound, BucketNotFound."""
        self._client.remove(bucket, key)

    def copy_bucket(self, bucket: Bucket, to: Bucket, *, prefix: str = "", how: Copying = AS_IT_IS) -> str:
        """Start copying a bucket, or what begins with a prefix; the job's id. Raises BucketNotFound."""
        value = how.message() | {"prefix": prefix}
        return self._submit("POST", bucket, "copy-bck", value, query=how.query | {"bck_to": to.uname})

    def copy_selected(
        self, bucket: Bucket, to: Bucket, selected: Selected, *, how: Copying = AS_IT_IS
    ) -> str:
        """Start copying some objects; the job's id. Raises BucketNotFound, BadRequest."""
        value = how.message() | selected.message() | {"tobck": bucket_shape(to)}
        return self._submit("POST", bucket, "copy-listrange", value, query=how.query)

    def rename_bucket(self, bucket: Bucket, to: Bucket) -> str:
        """Start renaming a bucket; the job's id. Raises BucketNotFound, BadRequest."""
        return self._submit("POST", bucket, "move-bck", None, query={"bck_to": to.uname})

    def delete_selected(self, bucket: Bucket, selected: Selected) -> str:
        """Start deleting some objects; the job's id. Raises BucketNotFound, BadRequest."""
        return self._submit("DELETE", bucket, "delete-listrange", selected.message())

    def prefetch(self, bucket: Bucket, selected: Selected, *, how: Prefetching) -> str:
        """Start fetching objects of a remote bucket that are not there yet; the job's id.

        Raises BucketNotFound, BadRequest, also for a bucket that nothing is behind.
        """
        return self._submit("POST", bucket, "prefetch-listrange", selected.message() | how.message())

    def download_blob(self, bucket: Bucket, name: str, *, latest: bool = False, ranges: Ranges) -> str:
        """Start fetching a large object of a remote bucket in parallel ranges; the job's id.

        Raises BucketNotFound, BadRequest, also for a bucket that nothing is behind.
        """
        value: dict[str, object] = {"latest-ver": latest}
        if ranges.chunk_bytes:
            value["chunk-size"] = ranges.chunk_bytes
        if ranges.workers:
            value["num-workers"] = ranges.workers
        return self._client.exchange(
            "POST",
            f"/v1/objects/{bucket.name}",
            bytes.decode,
            message={"action": "blob-download", "name": name, "value": value},
            query=_query(bucket),
        )

    def archive_selected(
        self, bucket: Bucket, selected: Selected, to: Bucket, name: str, *, packing: Mapping[str, object]
    ) -> str:
        """Start packing some objects into an archive; the job's id.

        `packing` holds AIStore's switches: `isbn`, `aate`, `bnonly`, `coer`, `mime`. Raises
        BucketNotFound, BadRequest.
        """
        value = selected.message() | dict(packing) | {"archname": name, "tobck": bucket_shape(to)}
        return self._submit("PUT", bucket, "archive", value)

    def promote(self, source: str, to: Bucket, name: str, *, how: Promoting) -> str:
        """Make a file of the node's machine an object, or a folder's files by a job.

        `name` is the object's, or what the names of a folder's files begin with. The job's id; empty
        where the file is an object already. Raises BucketNotFound, BadRequest, Denied, NotFound.
        """
        value = {
            "src": source,
            "obj": name,
            "rcr": how.recursive,
            "ovw": how.overwrites,
            "dls": how.deletes_sources,
        }
        return self._client.exchange(
            "POST",
            f"/v1/objects/{to.name}",
            bytes.decode,
            message={"action": "promote", "name": source, "value": value},
            query=_query(to),
        )

    def find(self, job_id: str) -> NodeJob:
        """A job. Raises JobNotFound."""
        try:
            found = self._snapshots({"id": job_id})
        except NotFound as error:
            raise JobNotFound(job_id) from error
        if not found:
            raise JobNotFound(job_id)
        return found[0]

    def all(self, *, running_only: bool = False) -> list[NodeJob]:
        """All jobs that the node remembers, or those that run; downloads are told elsewhere."""
        jobs = self._snapshots({"show_active": running_only})
        return [job for job in jobs if job.kind != "download" and not (running_only and not job.is_running)]

    def start(self, kind: str, bucket: Bucket | None = None) -> str:
        """Start a job of the node's own, for one bucket or all; its id.

        Raises BadRequest for a kind that begins otherwise, Unsupported.
        """
        value: dict[str, object] = {"kind": kind}
        if bucket is not None:
            value["bck"] = {"name": bucket.name, "provider": bucket.provider}
        message = {"action": "start", "name": "", "value": value}
        return self._client.exchange("PUT", "/v1/cluster", bytes.decode, message=message)

    def stop(self, job_id: str) -> None:
        """Stop a job; no harm if it has ended."""
        message = {"action": "stop", "value": {"id": job_id}}
        self._client.exchange("PUT", "/v1/cluster", bytes, message=message)

    def _snapshots(self, question: Mapping[str, object]) -> list[NodeJob]:
        return self._client.exchange(
            "GET", "/v1/cluster", _jobs, message=question, query={"what": "qryxstats"}
        )

    def _submit(
        self,
        method: str,
        bucket: Bucket,
        action: str,
        value: object,
        *,
        query: Mapping[str, str] | None = None,
    ) -> str:
        return self._client.exchange(
            method,
            f"/v1/buckets/{bucket.name}",
            bytes.decode,
            message={"action": action, "name": "", "value": value},
            query=_query(bucket) | dict(query or {}),
            asked=Asked(bucket=bucket.cname),
        )


def parse_time(text: str) -> datetime.datetime:
    """A time with nanoseconds, as far as Python counts."""
    return datetime.datetime.fromisoformat(_FRACTION.sub(r".\1Z", text))


def _jobs(data: bytes) -> list[NodeJob]:
    told = json.loads(data)
    jobs = [job for target in told.values() for job in target or ()]
    return msgspec.convert(jobs, list[NodeJob], strict=False)


def _query(bucket: Bucket) -> dict[str, str]:
    query = {"provider": bucket.provider}
    return query | {"namespace": bucket.namespace} if bucket.namespace else query


def _asked(bucket: Bucket, key: bytes) -> Asked:
    return Asked(bucket=bucket.cname, name=display(bucket, key))
