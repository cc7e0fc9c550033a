"""What can be done with download jobs beside starting and watching them: Aisle's own verbs.

A node of AIStore does not know them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Final
from urllib.parse import urlencode

import msgspec

from aisle.client.answers import Asked
from aisle.client.connections import Answer, Call
from aisle.client.downloads import DownloadJob, decode_job
from aisle.client.node import Client
from aisle.errors import NodeFailed

_LINE_BYTES_MAX: Final = 16 * 1024 * 1024


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a job whose object is not what it was."""

    item: int
    object: str
    problem: str
    """`missing`, `size`, `checksum`, `damaged`, or `failed` for one that never came."""
    detail: str = ""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How far a verification is."""

    checked: int
    """Items so far."""
    bytes: int = 0
    bad: int = 0
    done: bool = False


class _Told(msgspec.Struct, frozen=True):
    """A line of a verification, either kind."""

    item: int = -1
    object: str = ""
    problem: str = ""
    detail: str = ""
    checked: int = 0
    bytes: int = 0
    bad: int = 0
    done: bool = False


class DownloadJobs:
    """The download jobs of a node. Methods raise JobNotFound, and what those of `Client` do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def pause(self, job_id: str) -> None:
        """Let a job rest until it is resumed. Raises Conflict when it has ended."""
        self._change(job_id, "pause")

    def resume(self, job_id: str) -> None:
        """Let a job go on. Raises Conflict when it has ended."""
        self._change(job_id, "resume")

    def prioritize(self, job_id: str, priority: int) -> None:
        """Change a job's priority. Raises BadRequest for one that is out of bounds."""
        self._change(job_id, "priority", priority=priority)

    def repair(self, job_id: str, items: Iterable[int]) -> str:
        """Start a job that fetches items of a job again; its id. Raises BadRequest."""
        message = {"id": job_id, "items": list(items)}
        return self._client.exchange(
            "POST",
            "/v1/download/repair",
            lambda data: str(msgspec.json.decode(data)["id"]),
            message=message,
            asked=Asked(job=job_id),
        )

    def manifest(self, job_id: str, *, missing: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
        """The lines of a job's manifest, JSON each, without their breaks.

        `missing` is told how many lines there are not, because a disk was full, if it is so.
        """
        with closing(self._open("/v1/download/manifest", job_id)) as answer:
            if lost := answer.headers.get("manifest-missing"):
                missing(int(lost))
            yield from _lines(answer)

    def verify(self, job_id: str) -> Iterator[Finding | Verified]:
        """Have the node read all objects of a job again: what is wrong, and how far that is.

        Raises NodeFailed if the answer ends before the verification does.
        """
        is_done = False
        with closing(self._open("/v1/download/verify", job_id)) as answer:
            for line in _lines(answer):
                told = msgspec.json.decode(line, type=_Told)
                if told.problem:
                    yield Finding(
                        item=told.item, object=told.object, problem=told.problem, detail=told.detail
                    )
                else:
                    is_done = told.done
                    yield Verified(checked=told.checked, bytes=told.bytes, bad=told.bad, done=told.done)
        if not is_done:
            raise NodeFailed("the node broke the verification off", status=200)

    def follow(self, job_id: str) -> Iterator[DownloadJob]:
        """The job whenever something about it has changed, at last as it ended.

        The failures of each but the last are those that are new. Ends early when the job is removed.
        """
        event = ""
        with closing(self._open("/v1/download", job_id, follow="1")) as answer:
            for line in _lines(answer):
                if line.startswith(b"event: "):
                    event = line[7:].decode()
                elif line.startswith(b"data: ") and event in ("status", "end"):
                    yield decode_job(line[6:])

    def _open(self, path: str, job_id: str, **query: str) -> Answer:
        target = f"{path}?{urlencode({'id': job_id, **query})}"
        return self._client.open(Call(method="GET", target=target), Asked(job=job_id))

    def _change(self, job_id: str, verb: str, **more: object) -> None:
        self._client.exchange(
            "PUT", f"/v1/download/{verb}", bytes, message={"id": job_id, **more}, asked=Asked(job=job_id)
        )


def _lines(answer: Answer) -> Iterator[bytes]:
    """The lines of a body as they come. Raises NodeFailed for one that never ends."""
    rest = b""
    for block in answer.blocks():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > _LINE_BYTES_MAX:
            raise NodeFailed("the node sends a line without an end", status=200)
    if rest:
        yield rest
