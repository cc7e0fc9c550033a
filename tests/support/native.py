"""A plain client of the native API over http.client: no retries, no pooling, nothing hidden.

One `NativeClient` is one connection, used by one thread at a time.
"""

import http.client
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

CONNECTION_ERRORS = (OSError, http.client.HTTPException)
"""What a request raises when the peer died: the outcome of a change is then not known."""


class Answer(NamedTuple):
    """Status, header fields (lower-case names) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class UnexpectedStatus(AssertionError):
    """An answer of another status than the request should have."""

    def __init__(self, what: str, answer: Answer) -> None:
        super().__init__(f"{what}: {answer.status} {answer.body[:500]!r}")
        self.status = answer.status


class Listed(NamedTuple):
    """One entry of a listing; `size` in bytes, 0 where the listing gives none."""

    name: str
    size: int


class _Connection(http.client.HTTPConnection):
    """Remembers its own port, which http.client forgets when the peer breaks off."""

    local_port = 0

    def connect(self) -> None:
        self.local_port = 0
        super().connect()
        self.local_port = self.sock.getsockname()[1]


class NativeClient:
    """One keep-alive connection to `host:port`, opened by the first request and after each error."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 60.0) -> None:
        self._connection = _Connection(host, port, timeout=timeout_s)
        self.failed_port = 0
        """This end's port of the connection that failed last; 0 if it was never connected."""

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
        chunked: bool = False,
    ) -> Answer:
        """Send one request and read the whole answer. Raises CONNECTION_ERRORS."""
        try:
            self._connection.request(method, target, body=body, headers=headers or {}, encode_chunked=chunked)
            response = self._connection.getresponse()
            content = response.read()
        except CONNECTION_ERRORS:
            self.failed_port = self._connection.local_port
            self._connection.close()
            raise
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, content)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def create_bucket(self, bucket: str) -> Answer:
        """Create `ais://bucket`."""
        return self.action("POST", f"/v1/buckets/{bucket}", "create-bck")

    def destroy_bucket(self, bucket: str) -> Answer:
        """Destroy `ais://bucket` with all it holds."""
        return self.action("DELETE", f"/v1/buckets/{bucket}", "destroy-bck")

    def buckets(self) -> set[str]:
        """The names of all `ais` buckets."""
        answer = self.action("GET", "/v1/buckets", "list")
        if answer.status != 200:
            raise UnexpectedStatus("listing buckets", answer)
        return {bucket["name"] for bucket in json.loads(answer.body)}

    def action(self, method: str, path: str, name: str, value: object = None) -> Answer:
        """Send an action message."""
        body = json.dumps({"action": name, "name": "", "value": value}).encode()
        return self.request(
            method, f"{path}?provider=ais", body=body, headers={"Content-Type": "application/json"}
        )

    def put(self, bucket: str, name: str, body: bytes, *, chunk_bytes: int = 0) -> Answer:
        """Store an object; with `chunk_bytes` as a chunked body of unknown length."""
        if chunk_bytes:
            return self.request(
                "PUT",
                object_target(bucket, name),
                body=_chunks(body, chunk_bytes),
                headers={"Transfer-Encoding": "chunked"},
                chunked=True,
            )
        return self.request("PUT", object_target(bucket, name), body=body)

    def get(self, bucket: str, name: str, *, span: str = "") -> Answer:
        """Read an object, or the byte range `span` such as `0-99`."""
        headers = {"Range": f"bytes={span}"} if span else {}
        return self.request("GET", object_target(bucket, name), headers=headers)

    def delete(self, bucket: str, name: str) -> Answer:
        """Delete an object."""
        return self.request("DELETE", object_target(bucket, name))

    def list_page(self, bucket: str, **message: object) -> tuple[list[Listed], str]:
        """One page of a listing (JSON) and the token of the next one; `message` is the LsoMsg."""
        body = json.dumps({"action": "list", "name": "", "value": message}).encode()
        answer = self.request(
            "GET",
            f"/v1/buckets/{bucket}?provider=ais",
            body=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if answer.status != 200:
            raise UnexpectedStatus(f"listing {bucket}", answer)
        page = json.loads(answer.body)
        entries = [Listed(entry["name"], int(entry.get("size", 0))) for entry in page["entries"] or ()]
        return entries, page["continuation_token"]

    def list_all(self, bucket: str, *, page_entries: int = 1000, prefix: str = "") -> Iterator[Listed]:
        """Every entry in the order in which the pages bring them."""
        token = ""
        while True:
            entries, token = self.list_page(
                bucket, pagesize=page_entries, prefix=prefix, continuation_token=token, props="name,size"
            )
            yield from entries
            if not token:
                return


def object_target(bucket: str, name: str) -> str:
    """The request target of an object; the name's bytes are percent-encoded, slashes stay."""
    return f"/v1/objects/{bucket}/{quote(name, safe='/')}?{urlencode({'provider': 'ais'})}"


def _chunks(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
