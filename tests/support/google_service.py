"""A stand-in for Google: gives tokens for signed assertions, and keeps objects for who shows one.

It is for what a storage emulator has not: tokens that end, uploads that are interrupted. Requests are
kept for the test to look at; `faults` says what becomes of the next chunks of uploads.
"""

import json
import threading
import time
from base64 import b64encode, urlsafe_b64decode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "reader@project-of-tests.example"


@cache
def key_of(_name: str) -> rsa.RSAPrivateKey:
    """A key; the same for the same name."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Upload:
    """A resumable upload: what it is to be, on which condition, and what has come."""

    told: dict[str, Any]
    condition: str = ""
    content: bytearray = field(default_factory=bytearray)


@dataclass
class GoogleService:
    """What it knows, and what it was asked."""

    url: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: key_of("the service account"))
    token_s: int = 3600
    """How long tokens live."""
    answer_of_tokens: tuple[int, dict[str, Any]] | None = None
    """What asking for tokens is answered with instead."""
    hold_tokens: threading.Event = field(default_factory=threading.Event)
    """Questions for tokens wait for it."""
    is_asked_for_token: threading.Event = field(default_factory=threading.Event)
    tokens: dict[str, float] = field(default_factory=dict)
    """Those given out, with their ends (Unix seconds)."""
    needs_tokens: bool = True
    buckets: set[str] = field(default_factory=set)
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    upload_host: str = "http://elsewhere.invalid"
    """Where uploads are said to go on: another host than the one that was asked, to which nothing may go."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    faults: deque[str] = field(default_factory=deque)
    """For one chunk each: `503` refuses it, `half` takes half of it, `lost` takes it and breaks off."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path with query, and header fields in lower case."""

    generation: int = 1_700_000_000_000_000
    """That of the last write."""

    def __post_init__(self) -> None:
        self.hold_tokens.set()

    def key_file(self, path: Path, **changes: str) -> Path:
        """Write the file of a service account that this service knows."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        told = {
            "type": "service_account",
            "project_id": "project-of-tests",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps({**told, **changes}))
        return path

    def times(self, method: str, path: str) -> int:
        """How many requests of this method there were whose path begins so."""
        return sum(each[0] == method and each[1].startswith(path) for each in self.asked)

    def keep(self, bucket: str, key: str, content: bytes, **told: Any) -> dict[str, Any]:
        """Let an object be there; its document."""
        self.buckets.add(bucket)
        generation = self.generation = self.generation + 1
        document = {
            **told,
            "name": key,
            "size": str(len(content)),
            "generation": str(generation),
            "etag": f"C{generation}E",
            "updated": "2026-11-20T16:13:27.123Z",
            "md5Hash": b64encode(md5(content).digest()).decode(),
        }
        self.objects[bucket, key], self.contents[bucket, key] = document, content
        return document

    def new_token(self) -> dict[str, Any]:
        """A token, as it is told."""
        token = f"token-{len(self.tokens) + 1}"
        self.tokens[token] = time.time() + self.token_s
        return {"access_token": token, "expires_in": self.token_s, "token_type": "Bearer"}

    def page(self, bucket: str, query: dict[str, str]) -> dict[str, Any]:
        """A page of a listing: names and folded names together, in byte order."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[bytes, dict[str, Any] | str] = {}
        for (name, key), document in self.objects.items():
            if name != bucket or not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            shown = f"{prefix}{head}{found}" if found else key
            entries[shown.encode()] = shown if found else document
        # A token, and an offset too, begins the page with its name.
        first = query.get("pageToken") or query.get("startOffset", "")
        names = sorted(name for name in entries if name >= first.encode())
        limit = int(query.get("maxResults", "1000"))
        told: dict[str, Any] = {"items": [], "prefixes": []}
        for name in names[:limit]:
            entry = entries[name]
            told["prefixes" if isinstance(entry, str) else "items"].append(entry)
        if len(names) > limit:
            told["nextPageToken"] = names[limit].decode()
        return told

    def check_assertion(self, assertion: str) -> str:
        """What is wrong with a signed assertion, empty if nothing is."""
        signed, _, signature = assertion.rpartition(".")
        try:
            self.key.public_key().verify(
                _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return "Invalid JWT Signature."
        claims = json.loads(_decoded(signed.partition(".")[2]))
        now = time.time()
        # Google's library names Google, whoever is asked.
        good = claims["iss"] == EMAIL and claims["aud"] == "https://oauth2.googleapis.com/token"
        good = good and "devstorage" in claims["scope"] and claims["iat"] - 60 <= now <= claims["exp"]
        return "" if good else "wrong claims"


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # else head and body go in two packets, the second of which waits
    service: GoogleService

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        service = self.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fields = {name.lower(): value for name, value in self.headers.items()}
        service.asked.append((self.command, self.path, fields))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/token":
            self._give_token(body)
            return
        if parts.path.startswith("/computeMetadata/v1/"):
            self._tell_machine(parts.path, fields)
            return
        shown = fields.get("authorization", "").removeprefix("Bearer ")
        if service.needs_tokens and service.tokens.get(shown, 0) < time.time():
            self._refuse(401, "authError", "Invalid Credentials")
        elif parts.path.startswith("/upload/"):
            self._take(parts.path.split("/")[5], query, body)
        else:
            self._tell(parts.path, query)

    def _give_token(self, body: bytes) -> None:
        service = self.service
        service.is_asked_for_token.set()
        service.hold_tokens.wait(60)
        form = parse_qs(body.decode())
        wrong = service.check_assertion(form["assertion"][0])
        if service.answer_of_tokens:
            self._say(*service.answer_of_tokens)
        elif wrong:
            self._say(400, {"error": "invalid_grant", "error_description": wrong})
        else:
            self._say(200, service.new_token())

    def _tell_machine(self, path: str, fields: dict[str, str]) -> None:
        """What the service of Google's machines tells those who are on them."""
        assert fields["metadata-flavor"] == "Google"
        told: dict[str, Any] = {"email": EMAIL, "scopes": [], "aliases": ["default"]}
        self._say(200, self.service.new_token() if path.endswith("/token") else told)

    def _tell(self, path: str, query: dict[str, str]) -> None:
        service = self.service
        bucket, is_inside, rest = path.partition("/b/")[2].partition("/o")
        if not bucket:
            self._say(200, {"items": [{"name": name} for name in service.buckets if query.get("project")]})
        elif bucket not in service.buckets:
            self._refuse(404, "notFound", "The specified bucket does not exist.")
        elif not is_inside:
            self._say(200, {"name": bucket, "location": "EU"})
        elif rest:
            self._tell_object((bucket, unquote(rest[1:])), query)
        else:
            self._say(200, service.page(bucket, query))

    def _tell_object(self, place: tuple[str, str], query: dict[str, str]) -> None:
        service = self.service
        document = service.objects.get(place)
        if document is None or query.get("generation", document["generation"]) != document["generation"]:
            self._refuse(404, "notFound", f"No such object: {place[0]}/{place[1]}")
        elif self.command == "DELETE":
            del service.objects[place], service.contents[place]
            self._say(204, None)
        elif query.get("alt") == "media":
            self._send(service.contents[place], document)
        else:
            self._say(200, document)

    def _send(self, content: bytes, document: dict[str, Any]) -> None:
        span, status = content, 200
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(content):
                self._refuse(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
                return
            span, status = content[int(first) : int(last) + 1 if last else None], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(span)))
        self.send_header("X-Goog-Generation", document["generation"])
        self.end_headers()
        self.wfile.write(span)

    def _take(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        """An upload at once, or a resumable one's beginning, chunk, question for its state, or end."""
        service = self.service
        upload_id = query.get("upload_id", "")
        condition = query.get("ifGenerationMatch", "")
        if bucket not in service.buckets:
            self._refuse(404, "notFound", "The specified bucket does not exist.")
        elif query.get("uploadType") == "multipart":
            boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
            _, described, media, end = body.split(b"--" + boundary)
            assert end.rstrip() == b"--"
            told = json.loads(described.partition(b"\r\n\r\n")[2])
            content = media.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            self._keep(bucket, Upload(told, condition, bytearray(content)))
        elif not upload_id:
            upload_id = f"upload-{len(service.asked)}"
            service.uploads[upload_id] = Upload(json.loads(body), condition)
            place = f"{service.upload_host}/upload/storage/v1/b/{bucket}/o?upload_id={upload_id}"
            self._say(200, {}, Location=place)
        elif self.command == "DELETE":
            del service.uploads[upload_id]
            self._say(499, {})
        else:
            self._take_chunk(bucket, service.uploads[upload_id], body)

    def _take_chunk(self, bucket: str, upload: Upload, body: bytes) -> None:
        service = self.service
        span, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        fault = service.faults.popleft() if service.faults and span != "*" else ""
        if fault == "503":
            self._refuse(503, "backendError", "try again")
            return
        if span != "*":
            assert int(span.partition("-")[0]) == len(upload.content), "a chunk that does not follow"
            upload.content += body[: len(body) // 2] if fault == "half" else body
        if fault == "lost":
            self.close_connection = True
        elif len(upload.content) == int(total):
            self._keep(bucket, upload)
        else:
            taken = {"Range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
            self._say(308, {}, **taken)

    def _keep(self, bucket: str, upload: Upload) -> None:
        told, content = dict(upload.told), bytes(upload.content)
        present = self.service.objects.get((bucket, told["name"]), {"generation": "0"})
        if upload.condition not in ("", present["generation"]):
            self._refuse(412, "conditionNotMet", "At least one of the pre-conditions did not hold.")
        elif told.pop("md5Hash", "") not in ("", b64encode(md5(content).digest()).decode()):
            self._refuse(400, "invalid", "Provided MD5 hash does not match calculated MD5 hash.")
        else:
            self._say(200, self.service.keep(bucket, told.pop("name"), content, **told))

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._say(status, {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}})

    def _say(self, status: int, told: dict[str, Any] | None, **fields: str) -> None:
        body = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...


@contextmanager
def running_google_service() -> Iterator[GoogleService]:
    """Listen on a free port of 127.0.0.1 until the block ends."""
    service = GoogleService()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        service.hold_tokens.set()
        server.shutdown()
        server.server_close()
