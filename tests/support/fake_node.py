"""A node for unit tests of clients: it speaks the wire's JSON and MessagePack, without a socket.

It stands where the client makes requests (`aisle.client.connections.Requester`), so that everything
above the connection is the real thing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
import xxhash

from aisle.client.connections import Call, Origin
from aisle.errors import BadRequest
from aisle.model.bucket import BucketProperties, changed
from aisle.model.configuration import ClusterConfiguration, configured

PAGE_MAX = 10_000
_JOBS = ("copy-bck", "copy-listrange", "move-bck", "delete-listrange", "prefetch-listrange")


class FakeAnswer:
    """What the client reads of an answer."""

    def __init__(
        self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.reason = "reason"
        told = {"Content-Length": str(len(body)), **(headers or {})}
        self.headers = {name.lower(): value for name, value in told.items()}
        self.origin = Origin(False, "fake", 80)
        self.is_bodiless = False
        self.repeated = False
        self._body = body

    def read(self) -> bytes:
        return self._body

    def blocks(self) -> Iterator[memoryview]:
        if self._body:
            yield memoryview(self._body)

    def close(self) -> None:
        pass


@dataclass
class FakeObject:
    data: bytes
    content_type: str = ""

    @property
    def checksum(self) -> str:
        return xxhash.xxh64_hexdigest(self.data)


@dataclass
class FakeNode:
    """Buckets and objects in dicts; download jobs are given as lists of states, one for each poll."""

    buckets: dict[str, dict[bytes, FakeObject]] = field(default_factory=dict)
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    properties: dict[str, BucketProperties] = field(default_factory=dict)
    """Of the buckets that have others than the usual."""
    configuration: ClusterConfiguration = field(default_factory=ClusterConfiguration)
    others: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Jobs other than downloads: states, one for each poll."""
    calls: list[Call] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    answers: list[FakeAnswer | Exception] = field(default_factory=list)
    """Answers to give before any of its own."""

    def request(self, call: Call) -> FakeAnswer:
        self.calls.append(call)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        path, _, query = call.target.partition("?")
        _, _, kind, *rest = path.split("/", 4)
        if kind == "objects":
            return self._object(call, rest[0], unquote_to_bytes(rest[1]))
        message = json.loads(b"".join(call.body.blocks()) or b"null")
        self.messages.append(message)
        match kind:
            case "buckets":
                return self._bucket(call, rest[0] if rest else "", parse_qs(query), message)
            case "download":
                return self._download(call, rest[0] if rest else "", message)
            case "cluster":
                return self._cluster(call, message)
        return FakeAnswer(200, b"5.0.")

    def close(self) -> None:
        pass

    def _cluster(self, call: Call, message: Any) -> FakeAnswer:
        if "what=qryxstats" in call.target:
            return self._snapshots(message)
        if call.method == "GET":
            return _json(msgspec.to_builtins(self.configuration))
        if message["action"] == "stop":
            return FakeAnswer()
        try:
            self.configuration = configured(message["value"] or {})
        except BadRequest as mistake:
            return error(400, str(mistake))
        return FakeAnswer()

    def _snapshots(self, message: Any) -> FakeAnswer:
        job_id = message.get("id")
        if not job_id:
            return _json({"target": [states[0] for states in self.others.values()]})
        states = self.others.get(job_id)
        if states is None:
            return error(404, f'"x-[{job_id}]" not found')
        return _json({"target": [states.pop(0) if len(states) > 1 else states[0]]})

    def _bucket(self, call: Call, name: str, query: Mapping[str, list[str]], message: Any) -> FakeAnswer:
        if call.method == "GET" and not name:
            return _json([_bucket(bucket) for bucket in sorted(self.buckets)])
        if message and message["action"] in _JOBS:
            if name not in self.buckets:
                return error(404, f'bucket "ais://{name}" does not exist', code="ErrBckNotFound")
            self.others.setdefault("new-job", [snapshot("new-job", message["action"], objects=3)])
            return FakeAnswer(200, b"new-job")
        if call.method == "POST":
            if name in self.buckets:
                return error(409, f'bucket "ais://{name}" already exists', code="ErrBucketAlreadyExists")
            self.buckets[name] = {}
            self.properties[name] = changed(BucketProperties(), message["value"] or {})
            return FakeAnswer()
        if name not in self.buckets:
            answer = error(404, f'bucket "ais://{name}" does not exist', code="ErrBckNotFound")
            answer.is_bodiless = call.method == "HEAD"
            return answer
        if call.method == "DELETE":
            del self.buckets[name]
            return FakeAnswer()
        properties = self.properties.get(name, BucketProperties())
        if call.method == "PATCH":
            try:
                base = BucketProperties() if message["action"] == "reset-bprops" else properties
                self.properties[name] = changed(base, message["value"] or {})
            except BadRequest as mistake:
                return error(400, str(mistake))
            return FakeAnswer()
        if call.method == "HEAD":
            return FakeAnswer(headers={"Ais-Bucket-Props": msgspec.json.encode(properties).decode()})
        return self._list(self.buckets[name], message["value"])

    def _list(self, objects: Mapping[bytes, FakeObject], value: Mapping[str, Any]) -> FakeAnswer:
        prefix, flags = value["prefix"].encode(), int(value["flags"])
        after = (value["continuation_token"] or value["start_after"]).encode()
        entries: dict[bytes, dict[str, Any]] = {}
        for key, stored in sorted(objects.items()):
            if not key.startswith(prefix):
                continue
            slash = key.find(b"/", len(prefix)) if flags & 2048 else -1
            name = key if slash < 0 else key[: slash + 1]
            entry: dict[str, Any] = {"n": name.decode(), "f": 64 if slash < 0 else 256}
            if slash < 0 and not flags & 16:
                entry["s"] = len(stored.data)
            if slash < 0 and "checksum" in value["props"]:
                entry["cs"] = stored.checksum
            if name > after:
                entries[name] = entry
        limit = value["pagesize"] or PAGE_MAX
        page = list(entries.values())[:limit]
        token = page[-1]["n"] if len(page) == limit else ""
        body = msgspec.msgpack.encode(
            {"UUID": "page-id", "ContinuationToken": token, "Flags": 0, "Entries": page}
        )
        return FakeAnswer(200, body)

    def _object(self, call: Call, bucket: str, key: bytes) -> FakeAnswer:
        uri = f"ais://{bucket}/{key.decode()}"
        if bucket not in self.buckets:
            return error(404, f'bucket "ais://{bucket}" does not exist', code="ErrBckNotFound")
        objects = self.buckets[bucket]
        if "object_to=" in call.target or call.method == "POST":
            return self._transfer(call, objects, key, uri)
        if call.method == "PUT":
            stored = FakeObject(b"".join(call.body.blocks()), call.headers.get("Content-Type", ""))
            announced = call.headers.get("Ais-Checksum-Value")
            if announced and announced != stored.checksum:
                text = f"BAD DATA CHECKSUM: xxhash2({announced} != {stored.checksum}) (context: {uri})"
                return error(500, text, code="ErrBadCksum")
            objects[key] = stored
            return FakeAnswer(headers=_checksum(stored))
        if key not in objects:
            return error(404, f"t[id]: {uri} does not exist", code="ErrNotFound")
        if call.method == "DELETE":
            del objects[key]
            return FakeAnswer()
        stored = objects[key]
        span = call.headers.get("Range")
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = stored.data[int(first) : int(last) + 1 if last else None]
            return FakeAnswer(206, part, _checksum(stored))
        return FakeAnswer(200, stored.data, _checksum(stored))

    def _transfer(self, call: Call, objects: dict[bytes, FakeObject], key: bytes, uri: str) -> FakeAnswer:
        """A server-side copy, or a rename."""
        if key not in objects:
            return error(404, f"t[id]: {uri} does not exist", code="ErrNotFound")
        if call.method == "POST":
            message = json.loads(b"".join(call.body.blocks()))
            objects[message["name"].encode()] = objects.pop(key)
            return FakeAnswer()
        [to] = parse_qs(call.target.partition("?")[2])["object_to"]
        _, _, bucket, name = to.split("/", 3)
        if bucket not in self.buckets:
            return error(404, f'bucket "ais://{bucket}" does not exist', code="ErrBckNotFound")
        self.buckets[bucket][name.encode()] = objects[key]
        return FakeAnswer()

    def _download(self, call: Call, action: str, message: Any) -> FakeAnswer:
        if call.method == "POST":
            self.jobs.setdefault("dnl-new", [job("dnl-new", done=1, total=1)])
            return _json({"id": "dnl-new"})
        if message is None:  # as AIStore answers, which sends no events
            return error(400, "no body")
        job_id = message["id"]
        if job_id and job_id not in self.jobs:
            return error(404, f"t[id]: download job {job_id} does not exist", code="ErrNotFound")
        if action:
            if action == "remove" and self.jobs[job_id][0]["finished_time"].startswith("1970"):
                return error(400, f'job "{job_id}" is still running')
            return FakeAnswer()
        if not job_id:
            states = [states[0] for states in self.jobs.values()]
            return _json([state for state in states if not (message["only_active_tasks"] and _ended(state))])
        states = self.jobs[job_id]
        return _json(states.pop(0) if len(states) > 1 else states[0])


def job(job_id: str, *, done: int, total: int, running: bool = False, **more: Any) -> dict[str, Any]:
    """A job's state as the wire tells it."""
    return {
        "id": job_id,
        "xaction_id": "x",
        "description": f"test {job_id}",
        "started_time": "2026-11-20T16:10:37.425971834Z",
        "finished_time": "1970-01-01T00:00:00Z" if running else "2026-11-20T16:10:38.426295754Z",
        "finished_cnt": done,
        "scheduled_cnt": total,
        "skipped_cnt": 0,
        "error_cnt": 0,
        "total": total,
        "all_dispatched": True,
        "aborted": False,
        **more,
    }


def snapshot(
    job_id: str, kind: str, *, objects: int = 0, running: bool = False, **more: Any
) -> dict[str, Any]:
    """A job other than a download, as the wire tells it."""
    return {
        "id": job_id,
        "kind": kind,
        "start-time": "2026-11-20T16:10:37.425971834Z",
        "end-time": "0001-01-01T00:00:00Z" if running else "2026-11-20T16:10:38.426295754Z",
        "ctlmsg": f"test {job_id}",
        "abort-err": "",
        "err": "",
        "stats": {"loc-objs": str(objects), "loc-bytes": str(objects * 1024)},
        "aborted": False,
        "is_idle": not running,
        **more,
    }


def error(status: int, message: str, *, code: str = "") -> FakeAnswer:
    """An error in AIStore's JSON."""
    told = {"tcode": code, "message": message, "method": "", "url_path": "", "status": status}
    return FakeAnswer(status, json.dumps(told).encode(), {"Content-Type": "application/json"})


def _ended(state: Mapping[str, Any]) -> bool:
    return not str(state["finished_time"]).startswith("1970")


def _json(value: Any) -> FakeAnswer:
    return FakeAnswer(200, json.dumps(value).encode())


def _bucket(name: str) -> dict[str, Any]:
    return {"name": name, "provider": "ais", "namespace": {"uuid": "", "name": ""}}


def _checksum(stored: FakeObject) -> dict[str, str]:
    return {"Ais-Checksum-Type": "xxhash2", "Ais-Checksum-Value": stored.checksum}
