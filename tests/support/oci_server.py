"""A stand-in for Oracle's Object Storage: its REST API on a free port of 127.0.0.1, signatures checked.

What is served: the namespace, buckets of a compartment, objects, listings, uploads in parts, and the
regions of the tenancy. A region is the first part of a path (`/eu-paris-1/n/…`); without one it is
`HOME`. Answers and errors are those of Oracle's API reference, version 20160918; that they are, Oracle's
own library shows in test_backend_oci. Requests are kept for the test to look at.
"""

import hashlib
import json
import re
import threading
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from awscrt.checksums import crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HOME = "us-ashburn-1"
NAMESPACE = "axexample"
TENANCY = "ocid1.tenancy.oc1..aaaatenancy"
USER = "ocid1.user.oc1..aaaauser"
COMPARTMENT = "ocid1.compartment.oc1..aaaacompartment"
FINGERPRINT = "20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"
KEY_ID = f"{TENANCY}/{USER}/{FINGERPRINT}"
SKEW_S_MAX = 300

_REGION = re.compile(r"/([a-z]{2}-[a-z]+-\d)(?=/)")
_SIGNATURE = re.compile(r'(\w+)="([^"]*)"')
_PLACE = re.compile(
    r"/n/(?P<namespace>[^/]+)/b(?:/(?P<bucket>[^/]+)(?:/(?P<kind>[ou])(?:/(?P<key>.+))?)?)?/?"
)


class Refusal(Exception):
    """An error as Oracle words it."""

    def __init__(self, status: int, code: str, message: str = "", **fields: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.fields = status, code, message or code, fields


DESCRIBING = {
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "contentLanguage": "content-language",
}
"""Members of documents, and the header fields that say the same."""


@dataclass
class Stored:
    """An object, or a part of one."""

    content: bytes
    fields: dict[str, str]
    etag: str = field(default_factory=lambda: str(uuid.uuid4()))
    modified_s: float = field(default_factory=time.time)


@dataclass
class Upload:
    """An upload in parts."""

    key: str
    fields: dict[str, str]
    parts: dict[int, Stored] = field(default_factory=dict)


@dataclass
class OciAsked:
    """A request as it came; `status` is what it was answered with."""

    method: str
    target: str
    headers: dict[str, str]
    region: str = HOME
    status: int = 0


@dataclass
class OciServer:
    """What it holds by region and bucket, and what it was asked."""

    url: str
    key: rsa.RSAPrivateKey
    """The private key of its one user."""
    regions: list[str] = field(default_factory=lambda: [HOME])
    buckets: dict[tuple[str, str], dict[str, Stored]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    asked: list[OciAsked] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """What the next requests are answered with, whatever they want."""
    wrong_sums: bool = False
    """Whether answers to writes, and objects, tell digests of other bytes."""
    cuts: int = 0
    """How many of the next contents are broken off in the middle."""
    sessions: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)
    """Keys of others than the user, by their ids."""
    unsigned: Callable[[str, bytes], bytes | None] | None = None
    """Answers, by path and body, what needs no signature; None for what does."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pem(self) -> str:
        """The user's key, as configuration files point to it."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def configure(self, folder: Path) -> dict[str, str]:
        """Write a configuration file and a key into a folder; the variables that lead to them and here."""
        (folder / "key.pem").write_text(self.pem)
        (folder / "config").write_text(
            f"[DEFAULT]\nuser={USER}\nfingerprint={FINGERPRINT}\ntenancy={TENANCY}\nregion={HOME}\n"
            f"key_file={folder / 'key.pem'}\n"
        )
        return {
            "OCI_CLI_CONFIG_FILE": str(folder / "config"),
            "OCI_CLI_ENDPOINT": f"{self.url}/{{region}}",
            "OCI_COMPARTMENT_OCID": COMPARTMENT,
        }

    def objects(self, bucket: str, region: str = HOME) -> dict[str, Stored]:
        """The objects of a bucket, which is made if there is none."""
        return self.buckets.setdefault((region, bucket), {})

    def store(self, bucket: str, key: str, content: bytes, **headers: str) -> Stored:
        """Put an object there behind everybody's back."""
        fields = {**headers, "opc-content-md5": _md5(content)}
        stored = self.objects(bucket)[key] = Stored(content, fields)
        return stored

    def count(self, method: str, ending: str) -> int:
        """How many requests there were of a method and to targets that end so."""
        return sum(each.method == method and each.target.endswith(ending) for each in self.asked)


@contextmanager
def running_oci_server() -> Iterator[OciServer]:
    """The stand-in, in threads of this process."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    listener = _Listener(("127.0.0.1", 0), _Handler)
    state = listener.state = OciServer(f"http://127.0.0.1:{listener.server_address[1]}", key)
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield state
    finally:
        listener.shutdown()
        listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    state: OciServer

    def handle_error(self, *_: Any) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    """One connection: each request is checked, then led to what answers it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 256 * 1024
    server: _Listener

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        state = self.server.state
        length = int(self.headers.get("Content-Length", "0"))
        self.body = self.rfile.read(length)
        if len(self.body) < length:
            self.close_connection = True  # its sender broke off
            return
        self.fields = {name.lower(): value for name, value in self.headers.items()}
        region = _REGION.match(self.path)
        self.region = region[1] if region else HOME
        asked = OciAsked(self.command, self.path, self.fields, self.region)
        state.asked.append(asked)
        try:
            if state.refusals:
                raise state.refusals.pop(0)
            told = state.unsigned(self.path, self.body) if state.unsigned else None
            if told is not None:
                status, fields, body = 200, {}, told
            else:
                _check_signature(state, self.command, self.path, self.fields, self.body)
                path = self.path[region.end() :] if region else self.path
                with state.lock:
                    status, fields, body = self._answer(path)
        except Refusal as refusal:
            status, fields = refusal.status, refusal.fields
            body = json.dumps({"code": refusal.code, "message": refusal.message}).encode()
        asked.status = status
        self._reply(status, fields, body)

    def _reply(self, status: int, fields: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if "content-length" not in fields:
            self.send_header("content-length", str(len(body)))
        self.send_header("opc-request-id", str(uuid.uuid4()))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.state.cuts and "etag" in fields:
            self.server.state.cuts -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def _answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query, True).items()}
        state = self.server.state
        if parts.path in ("/n", "/n/"):
            return 200, {}, json.dumps(NAMESPACE).encode()
        if parts.path == f"/20160918/tenancies/{TENANCY}/regionSubscriptions":
            told = [{"regionName": name, "status": "READY"} for name in state.regions]
            return 200, {}, json.dumps(told).encode()
        place = _PLACE.fullmatch(parts.path)
        if not place or place["namespace"] != NAMESPACE:
            raise Refusal(404, "NamespaceNotFound", "You are not authorized to access that namespace")
        bucket = place["bucket"] or ""
        if not bucket:
            return self._account()
        if (self.region, bucket) not in state.buckets:
            raise Refusal(
                404,
                "BucketNotFound",
                f"Either the bucket named '{bucket}' in the namespace '{NAMESPACE}'"
                " does not exist or you are not authorized to access it",
            )
        objects = state.buckets[self.region, bucket]
        key = unquote(place["key"] or "")
        if not place["kind"]:
            return self._bucket(bucket, objects)
        if place["kind"] == "u":
            return self._upload(objects, key)
        return self._object(objects, key) if key else self._list(objects)

    def _account(self) -> tuple[int, dict[str, str], bytes]:
        state = self.server.state
        if self.command == "POST":
            wanted = json.loads(self.body)
            if wanted["compartmentId"] != COMPARTMENT:
                raise Refusal(404, "NotAuthorizedOrNotFound")
            if (self.region, wanted["name"]) in state.buckets:
                raise Refusal(409, "BucketAlreadyExists")
            state.objects(wanted["name"], self.region)
            return 200, {"etag": str(uuid.uuid4())}, json.dumps({"name": wanted["name"]}).encode()
        if self.query.get("compartmentId") != COMPARTMENT:
            raise Refusal(404, "NotAuthorizedOrNotFound")
        names = sorted(name for region, name in state.buckets if region == self.region)
        start, limit = int(self.query.get("page", "0")), int(self.query.get("limit", "25"))
        fields = {"opc-next-page": str(start + limit)} if start + limit < len(names) else {}
        told = [{"name": name, "namespace": NAMESPACE} for name in names[start : start + limit]]
        return 200, fields, json.dumps(told).encode()

    def _bucket(self, bucket: str, objects: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        if self.command == "DELETE":
            if objects:
                raise Refusal(409, "BucketNotEmpty")
            del self.server.state.buckets[self.region, bucket]
            return 204, {}, b""
        told = {"name": bucket, "namespace": NAMESPACE, "versioning": "Disabled"}
        return 200, {"etag": "bucket"}, json.dumps(told).encode()

    def _list(self, objects: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        query = self.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if delimiter not in ("", "/"):
            raise Refusal(400, "InvalidParameter", "the delimiter must be '/'")
        limit = int(query.get("limit", "1000"))
        if not 1 <= limit <= 1000:
            raise Refusal(400, "InvalidParameter", "limit")
        wanted = query.get("fields", "name").split(",")
        names = [name for name in sorted(objects, key=str.encode) if name.startswith(prefix)]
        start, after = query.get("start", ""), query.get("startAfter", "")
        names = [name for name in names if name.encode() >= start.encode()]
        names = [name for name in names if not after or name.encode() > after.encode()]
        told: dict[str, Any] = {"objects": [], "prefixes": []}
        for name in names:
            folder = f"{prefix}{name[len(prefix) :].partition('/')[0]}/"
            is_folded = bool(delimiter) and "/" in name[len(prefix) :]
            if is_folded and told["prefixes"][-1:] == [folder]:
                continue
            if len(told["objects"]) + len(told["prefixes"]) == limit:
                told["nextStartWith"] = name
                break
            if is_folded:
                told["prefixes"].append(folder)
            else:
                told["objects"].append(_summary(name, objects[name], wanted))
        return 200, {}, json.dumps(told).encode()

    def _object(self, objects: dict[str, Stored], key: str) -> tuple[int, dict[str, str], bytes]:
        stored = objects.get(key)
        if self.command == "PUT":
            self._check_conditions(stored)
            written = self._received()
            objects[key] = written
            return 200, self._told_of_write(written), b""
        if stored is None:
            raise Refusal(404, "ObjectNotFound", f"The object '{key}' was not found")
        self._check_conditions(stored)
        if self.command == "DELETE":
            del objects[key]
            return 204, {}, b""
        return self._content(stored)

    def _content(self, stored: Stored) -> tuple[int, dict[str, str], bytes]:
        fields = {
            "etag": stored.etag,
            "last-modified": formatdate(stored.modified_s, usegmt=True),
            "content-type": stored.fields.get("content-type", "application/octet-stream"),
            "accept-ranges": "bytes",
        }
        sums = _wrong if self.server.state.wrong_sums else str
        for name, told in (("opc-content-md5", "content-md5"), ("opc-content-crc32c", "opc-content-crc32c")):
            if name in stored.fields:
                fields[told] = sums(stored.fields[name])
        fields |= {name: text for name, text in stored.fields.items() if name.startswith("opc-meta-")}
        fields |= {name: stored.fields[name] for name in DESCRIBING.values() if name in stored.fields}
        if "opc-multipart-md5" in stored.fields:
            fields["opc-multipart-md5"] = stored.fields["opc-multipart-md5"]
        size, span = len(stored.content), self.fields.get("range", "")
        if self.command == "HEAD" or not span:
            return 200, {**fields, "content-length": str(size)}, stored.content
        # Of a part Oracle tells no digests.
        fields = {
            name: text for name, text in fields.items() if not name.startswith(("content-md5", "opc-content"))
        }
        first, _, last = span.removeprefix("bytes=").partition("-")
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if start >= size:
            raise Refusal(416, "InvalidRange", "", content_range=f"bytes */{size}")
        return 206, {**fields, "content-range": f"bytes {start}-{end - 1}/{size}"}, stored.content[start:end]

    def _upload(self, objects: dict[str, Stored], key: str) -> tuple[int, dict[str, str], bytes]:
        uploads = self.server.state.uploads
        if not key:
            wanted = json.loads(self.body)
            self._check_conditions(objects.get(wanted["object"]))
            fields = {**wanted.get("metadata", {}), "content-type": wanted.get("contentType", "")}
            assert all(name.startswith("opc-meta-") or name == "content-type" for name in fields), fields
            fields |= {name: wanted[member] for member, name in DESCRIBING.items() if member in wanted}
            # A document has any characters, a header field their UTF-8.
            fields = {name: text.encode().decode("latin-1") for name, text in fields.items()}
            fields["algorithm"] = self.fields.get("opc-checksum-algorithm", "")
            upload_id = str(uuid.uuid4())
            uploads[upload_id] = Upload(
                wanted["object"], {name: text for name, text in fields.items() if text}
            )
            told = {"uploadId": upload_id, "object": wanted["object"], "namespace": NAMESPACE}
            return 200, {}, json.dumps(told).encode()
        upload = uploads.get(self.query["uploadId"])
        if upload is None or upload.key != key:
            raise Refusal(404, "NoSuchUpload")
        if self.command == "PUT":
            part = upload.parts[int(self.query["uploadPartNum"])] = self._received()
            return 200, self._told_of_write(part), b""
        if self.command == "DELETE":
            del uploads[self.query["uploadId"]]
            return 204, {}, b""
        self._check_conditions(objects.get(key))
        written = objects[key] = _committed(upload, json.loads(self.body)["partsToCommit"])
        del uploads[self.query["uploadId"]]
        return 200, self._told_of_write(written), b""

    def _received(self) -> Stored:
        """What the body makes, if it is what its sender says. Raises Refusal."""
        sums = {"Content-MD5": _md5(self.body), "opc-content-crc32c": _crc32c(self.body)}
        for name, found in sums.items():
            if self.fields.get(name.lower(), found) != found:
                raise Refusal(400, f"Unmatched{name}", f"The computed sum ({found}) does not match {name}")
        fields = {name: text for name, text in self.fields.items() if name.startswith("opc-meta-")}
        fields["opc-content-md5"] = sums["Content-MD5"]
        if self.fields.get("opc-checksum-algorithm") == "CRC32C":
            fields["opc-content-crc32c"] = sums["opc-content-crc32c"]
        names = ("content-type", *DESCRIBING.values())
        fields |= {name: self.fields[name] for name in names if name in self.fields}
        return Stored(self.body, fields)

    def _told_of_write(self, stored: Stored) -> dict[str, str]:
        names = ("opc-content-md5", "opc-content-crc32c", "opc-multipart-md5")
        told = {name: stored.fields[name] for name in names if name in stored.fields}
        if self.server.state.wrong_sums:
            told = {name: _wrong(text) for name, text in told.items()}
        return {**told, "etag": stored.etag, "last-modified": formatdate(stored.modified_s, usegmt=True)}

    def _check_conditions(self, stored: Stored | None) -> None:
        wanted, unwanted = self.fields.get("if-match"), self.fields.get("if-none-match")
        if wanted and (stored is None or wanted not in ("*", stored.etag)):
            raise Refusal(412, "IfMatchFailed", "The If-Match header does not match the object's entity tag")
        if unwanted == "*" and stored is not None:
            raise Refusal(412, "IfNoneMatchFailed", "The object already exists")


def _check_signature(
    state: OciServer, method: str, target: str, fields: Mapping[str, str], body: bytes
) -> None:
    """Raise Refusal unless the request is the user's, recent, and whole."""
    told = dict(_SIGNATURE.findall(fields.get("authorization", "")))
    names = told.get("headers", "").split()
    needed = {"date", "(request-target)", "host"}
    # Oracle makes one exception: bytes of objects and of their parts.
    is_streamed = method == "PUT" and bool(re.search(r"/[ou]/", target))
    if method in ("POST", "PUT") and not is_streamed:
        needed |= {"content-length", "content-type", "x-content-sha256"}
    known = {KEY_ID: state.key.public_key(), **state.sessions}.get(told.get("keyId", ""))
    if (
        known is None
        or told.get("version") != "1"
        or told.get("algorithm") != "rsa-sha256"
        or not needed <= set(names)
    ):
        raise Refusal(
            401,
            "NotAuthenticated",
            "The required information to complete authentication was not provided or was incorrect.",
        )
    values = {**fields, "(request-target)": f"{method.lower()} {target}"}
    text = "\n".join(f"{name}: {values.get(name, '')}" for name in names)
    try:
        known.verify(b64decode(told["signature"]), text.encode(), PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError) as error:
        raise Refusal(401, "NotAuthenticated", "Failed to verify the HTTP(S) Signature") from error
    signed_s = parsedate_to_datetime(fields["date"]).timestamp()
    if abs(time.time() - signed_s) > SKEW_S_MAX:
        raise Refusal(401, "NotAuthenticated", "Date is not within allowed clock skew")
    if "x-content-sha256" in names and fields["x-content-sha256"] != _sha256(body):
        raise Refusal(401, "NotAuthenticated", "the body is not what was signed")


def _committed(upload: Upload, wanted: list[dict[str, Any]]) -> Stored:
    """The object that parts make. Raises Refusal if they are not those that came."""
    parts = []
    for each in sorted(wanted, key=lambda part: part["partNum"]):
        part = upload.parts.get(each["partNum"])
        if part is None or part.etag != each["etag"]:
            raise Refusal(400, "InvalidUploadPart", f"part {each['partNum']}")
        parts.append(part)
    content = b"".join(part.content for part in parts)
    sums = b"".join(b64decode(part.fields["opc-content-md5"]) for part in parts)
    fields = {name: text for name, text in upload.fields.items() if name != "algorithm"}
    fields["opc-multipart-md5"] = f"{_md5(sums)}-{len(parts)}"
    if upload.fields.get("algorithm") == "CRC32C":
        fields["opc-content-crc32c"] = _crc32c(content)
    return Stored(content, fields)


def _summary(name: str, stored: Stored, wanted: list[str]) -> dict[str, Any]:
    modified = datetime.fromtimestamp(stored.modified_s, UTC).isoformat(timespec="milliseconds")
    told = {
        "name": name,
        "size": len(stored.content),
        "etag": stored.etag,
        "md5": stored.fields.get("opc-content-md5") or stored.fields.get("opc-multipart-md5"),
        "timeCreated": modified,
        "timeModified": modified,
    }
    return {member: value for member, value in told.items() if member in {"name", *wanted}}


def _md5(content: bytes) -> str:
    return b64encode(hashlib.md5(content).digest()).decode()


def _sha256(content: bytes) -> str:
    return b64encode(hashlib.sha256(content).digest()).decode()


def _crc32c(content: bytes) -> str:
    return b64encode(crc32c(content).to_bytes(4)).decode()


def _wrong(text: str) -> str:
    """Another digest of the same size."""
    raw, separator, rest = text.partition("-")
    return b64encode(bytes(byte ^ 1 for byte in b64decode(raw))).decode() + separator + rest
