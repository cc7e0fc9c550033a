"""The verbs of a node's native API, one method each.

Names go percent-encoded byte for byte: `a//b`, `/a` and `dir/` reach the node as they are.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

from aisle.client.answers import Asked, check
from aisle.client.bodies import Body
from aisle.client.checksums import Checksum, hasher
from aisle.client.connections import Answer, Call, Connections, Credentials, Origin, Requester
from aisle.errors import AisleError, BadRequest, ChecksumMismatch, NodeFailed
from aisle.model.names import Bucket, display, parse_bucket

if TYPE_CHECKING:
    from aisle.client.auth import Auth
    from aisle.client.downloads import DownloadJob, DownloadRequest
    from aisle.client.listing import ListedPage
    from aisle.client.summaries import BucketSummary

DEFAULT_ENDPOINT = "http://127.0.0.1:8080"
TIMEOUT_S = 120.0  # a node that syncs a large object to a slow disk is silent for a while
NOTHING = Asked()
T = TypeVar("T")


class Inside(NamedTuple):
    """What of an archive is meant (ais-native-api.md §6.2, §6.8); nothing where the object is meant."""

    member: str = ""
    """The name of one file."""
    pattern: str = ""
    mode: str = ""
    """How `pattern` selects files: `prefix`, `suffix`, `substr`, `regexp` or `wdskey`."""
    format: str = ""
    """The archive's extension, where its name does not tell."""
    appends: str = ""
    """For writing: `1` an archive that is there grows, `2` the same or a new one is made; else it is new."""

    @property
    def query(self) -> dict[str, str]:
        """As parameters of a request."""
        told = {"archpath": self.member, "archregx": self.pattern, "archmode": self.mode}
        return {name: value for name, value in (told | {"archmime": self.format}).items() if value}

    @property
    def headers(self) -> dict[str, str]:
        """As headers of a request."""
        return {"Ais-Pine": self.appends} if self.appends else {}


WHOLE = Inside()


class Reading:
    """An object being read. Close it; `size` is in bytes, of the range if one was asked for."""

    def __init__(self, answer: Answer, *, name: str) -> None:
        self._answer = answer
        self._name = name
        self.size = int(answer.headers.get("content-length") or 0)
        self.content_type = answer.headers.get("content-type") or ""
        self.is_partial = answer.status == 206
        self.checksum = _checksum(answer.headers)

    def blocks(self) -> Iterator[memoryview]:
        """The bytes, each block valid until the next; a whole object is checked at its end.

        Raises ChecksumMismatch, or NodeUnreachable when the connection breaks.
        """
        digest = hasher(self.checksum.kind) if self.checksum and not self.is_partial else None
        if digest is None or self.checksum is None:
            yield from self._answer.blocks()
            return
        for block in self._answer.blocks():
            digest.update(block)
            yield block
        kind, announced = self.checksum
        if digest.hexdigest() != announced.lower():
            raise ChecksumMismatch(kind, announced=announced, received=digest.hexdigest(), name=self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()


class Client:
    """A node, or any gateway of a cluster, at `endpoint`. Threads may share it.

    Every method raises NodeUnreachable, NodeFailed, Denied or Unavailable, and what its own text says.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        timeout_s: float = TIMEOUT_S,
        credentials: Credentials | None = None,
        connections: Requester | None = None,
    ) -> None:
        """`credentials` show who asks, where a node wants to know; see `aisle.client.credentials`."""
        if "/" in endpoint.partition("://")[2].rstrip("/"):
            raise BadRequest(f'"{endpoint}" has a path: a node is named by scheme, host and port')
        self._connections = connections or Connections(endpoint, timeout_s=timeout_s, credentials=credentials)
        self.endpoint = str(Origin.of(endpoint))

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def api_version(self) -> str:
        """The version of AIStore's API that the node speaks, such as `5.0`."""
        call = Call(method="GET", target="/v1/daemon?what=software_version")
        with closing(self._ask(call, NOTHING)) as answer:
            return answer.read().decode("utf-8", "replace").strip().rstrip(".")

    # Buckets

    def buckets(self, *, provider: str = "", namespace: str = "", everything: bool = False) -> list[Bucket]:
        """The buckets that the cluster knows, of one provider if given; or `everything` that this has."""
        query = _query(Bucket("", provider, namespace)) | {"presence": "0" if everything else "2"}
        return self.exchange("GET", "/v1/buckets", _buckets, query=query, message=_action("list"))

    def create_bucket(self, bucket: Bucket, properties: Mapping[str, object] | None = None) -> None:
        """Create it, with properties that differ from a new bucket's, as a partial tree.

        Raises BucketExists, InvalidName, BadRequest, Unsupported.
        """
        self._change("POST", bucket, "create-bck", properties)

    def destroy_bucket(self, bucket: Bucket) -> None:
        """Remove it with all that it holds. Raises BucketNotFound."""
        self._change("DELETE", bucket, "destroy-bck")

    def bucket_properties(self, bucket: Bucket) -> Mapping[str, object]:
        """Its properties as AIStore shapes them. Raises BucketNotFound."""
        call = Call(method="HEAD", target=_target(f"/v1/buckets/{bucket.name}", _query(bucket)))
        with closing(self._ask(call, Asked(bucket=bucket.cname))) as answer:
            properties = json.loads(answer.headers.get("ais-bucket-props") or "{}")
            return properties if isinstance(properties, dict) else {}

    def summaries(
        self, bucket: Bucket | None, *, provider: str = "", prefix: str = "", cached: bool = True
    ) -> "list[BucketSummary]":
        """The summary of a bucket, or those of all of a provider; `cached` leaves their sources alone.

        Raises BucketNotFound.
        """
        from aisle.client.summaries import poll

        path = f"/v1/buckets/{bucket.name}" if bucket else "/v1/buckets"
        query = _query(bucket) if bucket else ({"provider": provider} if provider else {})
        asked = Asked(bucket=bucket.cname) if bucket else NOTHING

        def ask(job: str) -> tuple[int, bytes]:
            message = _action(
                "summary-bck", {"uuid": job, "prefix": prefix, "cached": cached, "present": True}
            )
            call = Call(
                method="GET",
                target=_target(path, query),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                body=Body(json.dumps(message).encode()),
            )
            with closing(self._ask(call, asked)) as answer:
                return answer.status, answer.read()

        try:
            return poll(ask)
        except ValueError as error:
            raise NodeFailed(f"what answers at {self.endpoint} is not a node", status=200) from error

    def set_bucket_properties(self, bucket: Bucket, changes: Mapping[str, object]) -> None:
        """Change some, as a partial tree. Raises BucketNotFound, BadRequest, Unsupported."""
        self._change("PATCH", bucket, "set-bprops", changes)

    def reset_bucket_properties(self, bucket: Bucket) -> None:
        """Give it a new bucket's properties. Raises BucketNotFound."""
        self._change("PATCH", bucket, "reset-bprops")

    # The cluster

    def configuration(self) -> Mapping[str, object]:
        """The cluster's configuration as AIStore shapes it."""
        call = Call(method="GET", target="/v1/cluster?what=cluster_config")
        with closing(self._ask(call, NOTHING)) as answer:
            data = answer.read()
        try:
            told = json.loads(data)
        except ValueError as error:
            raise NodeFailed(f"what answers at {self.endpoint} is not a node", status=200) from error
        return told if isinstance(told, dict) else {}

    def set_configuration(self, changes: Mapping[str, object]) -> None:
        """Change some of it, as a partial tree. Raises BadRequest, Unsupported."""
        self._done("PUT", "/v1/cluster", message=_action("set-config", changes))

    def reset_configuration(self) -> None:
        """Bring back the defaults."""
        self._done("PUT", "/v1/cluster", message=_action("reset-config"))

    # Listing

    def list_page(
        self,
        bucket: Bucket,
        *,
        prefix: str = "",
        after: str = "",
        token: str = "",
        page_id: str = "",
        limit: int = 0,
        properties: str = "name,size,cached",
        flags: int = 0,
    ) -> "ListedPage":
        """One page of names in byte order, `limit` at most (0: as many as the node likes).

        `token` and `page_id` are those of the page before. Raises BucketNotFound.
        """
        from aisle.client.listing import decode_page

        value = {
            "uuid": page_id,
            "props": properties,
            "prefix": prefix,
            "start_after": "" if token else after,
            "continuation_token": token,
            "flags": str(flags),
            "pagesize": limit,
        }
        return self.exchange(
            "GET",
            f"/v1/buckets/{bucket.name}",
            decode_page,
            query=_query(bucket),
            message=_action("list", value),
            asked=Asked(bucket=bucket.cname),
            accept="application/msgpack",
        )

    def pages(
        self,
        bucket: Bucket,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 0,
        page_size: int = 0,
        properties: str = "name,size,cached",
        flags: int = 0,
    ) -> "Iterator[ListedPage]":
        """Pages until the end, or until `limit` names (0: no limit). Raises BucketNotFound.

        A page has at most `page_size` names; 0 lets the node choose.
        """
        token, page_id, left = "", "", limit
        while True:
            page = self.list_page(
                bucket,
                prefix=prefix,
                after=after,
                token=token,
                page_id=page_id,
                limit=min(filter(None, (left, page_size)), default=0),
                properties=properties,
                flags=flags,
            )
            yield page
            left -= len(page.entries or ()) if limit else 0
            if not page.token or (limit and left <= 0):
                return
            if page.token == token:
                raise NodeFailed(f"{self.endpoint} lists the same page again", status=200)
            token, page_id = page.token, page.id

    # Objects

    def put(
        self,
        bucket: Bucket,
        key: bytes,
        body: Body,
        *,
        checksum: Checksum | None = None,
        content_type: str = "",
        inside: Inside = WHOLE,
    ) -> Checksum | None:
        """Write an object, or a file into one that is an archive.

        The node refuses an object unless `checksum` fits what it received. Returns the checksum that the
        node computed, if it tells. Raises BucketNotFound, InvalidName, ChecksumMismatch, OutOfSpace,
        and ObjectNotFound where an archive is to grow that is not there.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        headers |= inside.headers
        if checksum:
            headers |= {"Ais-Checksum-Type": checksum.kind, "Ais-Checksum-Value": checksum.value}
        call = Call(method="PUT", target=_object_target(bucket, key, inside), headers=headers, body=body)
        with closing(self._ask(call, _asked(bucket, key))) as answer:
            return _checksum(answer.headers)

    def get(
        self,
        bucket: Bucket,
        key: bytes,
        *,
        offset: int = 0,
        length: int | None = None,
        inside: Inside = WHOLE,
    ) -> Reading:
        """Open an object, a range of it in bytes, or what is in it if it is an archive.

        Raises BucketNotFound, ObjectNotFound, RangeNotSatisfiable, CorruptObject, BadRequest.
        """
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        call = Call(method="GET", target=_object_target(bucket, key, inside), headers=headers)
        name = display(bucket, key)
        if inside.member:
            name = f"{inside.member} in {name}"
        return Reading(self._ask(call, Asked(bucket=bucket.cname, name=name)), name=name)

    def remove(self, bucket: Bucket, key: bytes) -> None:
        """Remove an object. Raises BucketNotFound, ObjectNotFound."""
        call = Call(method="DELETE", target=_object_target(bucket, key))
        answer = self._connections.request(call)
        # When the request was repeated, the first may have removed it.
        if answer.repeated and answer.status == 404:
            answer.close()
            return
        check(answer, _asked(bucket, key))
        answer.close()

    # Downloads

    def start_download(self, bucket: Bucket, request: "DownloadRequest") -> str:
        """Start a download job in the node; its id. Raises BadRequest, BucketNotFound, EgressDenied."""
        message = request.message() | {"bucket": _bucket_json(bucket)}
        return self.exchange(
            "POST", "/v1/download", _job_id, message=message, asked=Asked(bucket=bucket.cname)
        )

    def download(self, job_id: str, *, only_active: bool = False) -> "DownloadJob":
        """A job's status; with `only_active` without its finished tasks. Raises JobNotFound."""
        from aisle.client.downloads import decode_job

        return self.exchange(
            "GET", "/v1/download", decode_job, message=_job(job_id, only_active), asked=Asked(job=job_id)
        )

    def downloads(self, *, regex: str = "", only_active: bool = False) -> "list[DownloadJob]":
        """Jobs whose description matches `regex`; with `only_active` those that run."""
        from aisle.client.downloads import decode_jobs

        message = _job("", only_active) | {"regex": regex}
        return self.exchange("GET", "/v1/download", decode_jobs, message=message)

    def abort_download(self, job_id: str) -> None:
        """Stop a job; what it has downloaded stays. Raises JobNotFound."""
        self._done("DELETE", "/v1/download/abort", message=_job(job_id), asked=Asked(job=job_id))

    def remove_download(self, job_id: str) -> None:
        """Forget a finished job. Raises JobNotFound, JobRunning."""
        self._done("DELETE", "/v1/download/remove", message=_job(job_id), asked=Asked(job=job_id))

    # Users

    @property
    def auth(self) -> "Auth":
        """The verbs on users, access keys and tokens."""
        from aisle.client.auth import Auth

        return Auth(self._json)

    def _json(self, method: str, path: str, message: Mapping[str, object] | None) -> object:
        return self.exchange(method, path, _maybe_json, message=message or {})

    # How all of them ask

    def open(self, call: Call, asked: Asked = NOTHING) -> Answer:
        """Make a request of one's own; the answer is to be closed. Raises what a refusal says."""
        return self._ask(call, asked)

    def _ask(self, call: Call, asked: Asked) -> Answer:
        answer = self._connections.request(call)
        check(answer, asked)
        return answer

    def _change(self, method: str, bucket: Bucket, action: str, value: object = None) -> None:
        path, asked = f"/v1/buckets/{bucket.name}", Asked(bucket=bucket.cname)
        self._done(method, path, message=_action(action, value), query=_query(bucket), asked=asked)

    def _done(
        self,
        method: str,
        path: str,
        *,
        message: Mapping[str, object],
        query: Mapping[str, str] | None = None,
        asked: Asked = NOTHING,
    ) -> None:
        """Ask for something whose answer is only that it was done."""
        self.exchange(method, path, bytes, message=message, query=query, asked=asked)

    def exchange(
        self,
        method: str,
        path: str,
        decode: Callable[[bytes], T],
        *,
        message: Mapping[str, object] | None,
        query: Mapping[str, str] | None = None,
        asked: Asked = NOTHING,
        accept: str = "application/json",
    ) -> T:
        """Send a message and decode the answer. Raises NodeFailed if it cannot be decoded."""
        call = Call(
            method=method,
            target=_target(path, query or {}),
            headers={"Content-Type": "application/json", "Accept": accept},
            body=Body(json.dumps(message).encode()),
        )
        with closing(self._ask(call, asked)) as answer:
            data = answer.read()
        try:
            return decode(data)
        except (ValueError, TypeError, KeyError, AisleError) as error:
            # msgspec's errors are ValueErrors.
            raise NodeFailed(f"what answers at {self.endpoint} is not a node", status=200) from error


def _query(bucket: Bucket) -> dict[str, str]:
    query = {"provider": bucket.provider} if bucket.provider else {}
    return query | {"namespace": bucket.namespace} if bucket.namespace else query


def _target(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _object_target(bucket: Bucket, key: bytes, inside: Inside = WHOLE) -> str:
    return _target(f"/v1/objects/{bucket.name}/{quote(key, safe='/')}", _query(bucket) | inside.query)


def _asked(bucket: Bucket, key: bytes) -> Asked:
    return Asked(bucket=bucket.cname, name=display(bucket, key))


def _action(action: str, value: object = None) -> dict[str, object]:
    return {"action": action, "name": "", "value": value}


def _job(job_id: str, only_active: bool = False) -> dict[str, object]:
    return {"id": job_id, "regex": "", "only_active_tasks": only_active}


def _bucket_json(bucket: Bucket) -> dict[str, object]:
    uuid, _, name = bucket.namespace.removeprefix("@").partition("#")
    return {"name": bucket.name, "provider": bucket.provider, "namespace": {"uuid": uuid, "name": name}}


def _buckets(data: bytes) -> list[Bucket]:
    return [_bucket(item) for item in json.loads(data)]


def _bucket(told: Mapping[str, object]) -> Bucket:
    bucket = str(told["name"])
    space = told.get("namespace")
    uuid, name = (space.get("uuid"), space.get("name")) if isinstance(space, dict) else ("", "")
    namespace = (f"@{uuid}" if uuid else "") + (f"#{name}" if name else "")
    return parse_bucket(bucket, str(told.get("provider") or ""), namespace)


def _maybe_json(data: bytes) -> object:
    return json.loads(data) if data else None


def _job_id(data: bytes) -> str:
    return str(json.loads(data)["id"])


def _checksum(headers: Mapping[str, str]) -> Checksum | None:
    kind, value = headers.get("ais-checksum-type"), headers.get("ais-checksum-value")
    return Checksum(kind, value) if kind and value and kind != "none" else None
