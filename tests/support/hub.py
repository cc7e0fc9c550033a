"""A stand-in for the Hugging Face hub and its CDN: the API's real shapes, on two ports of 127.0.0.1.

What `huggingface_hub` and a download use is served: repositories at revisions, trees in pages, paths,
access checks, Parquet conversions, and files, which a 302 sends to the CDN if they are large (LFS) and a 307
to the hub's own cache if not. Requests are kept for the test to look at, with the server they came to.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

CONVERSION = "refs/convert/parquet"
_API = re.compile(r"/api/(datasets|models)/(.+)")
_VERBS = re.compile(r"(?P<name>.+?)/(?P<verb>revision|tree|paths-info|parquet|auth-check)(?:/(?P<rest>.*))?")
_RESOLVE = re.compile(r"/(?:(datasets)/)?(.+?)/resolve/([^/]+)/(.+)")


def git_blob(data: bytes) -> str:
    """The id that git gives these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class HubAsked:
    """A request as it came to `hub` or to `cdn`."""

    server: str
    method: str
    target: str
    headers: dict[str, str]
    status: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class HubRepository:
    """A repository: files by commit, commits by revision."""

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    lfs_bytes_min: int = 1000
    """Files of at least this size lie in LFS."""
    parquet: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """The Parquet conversion: paths below its revision, by config and split."""

    def commit(self, files: Mapping[str, bytes], revision: str = "main") -> str:
        """Set what a revision holds; its commit."""
        told = repr(sorted((path, git_blob(data)) for path, data in files.items()))
        sha = hashlib.sha1(f"{self.id} {revision} {told}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.revisions[revision] = sha
        return sha

    def convert(self, splits: Mapping[str, Mapping[str, list[bytes]]], *, partial: bool = False) -> str:
        """Add a Parquet conversion: the bytes of its files by config and split; its commit."""
        files: dict[str, bytes] = {}
        self.parquet = {}
        for config, found in splits.items():
            for split, shards in found.items():
                folder = f"{config}/{'partial-' if partial else ''}{split}"
                paths = [f"{folder}/{number:04}.parquet" for number in range(len(shards))]
                files |= dict(zip(paths, shards, strict=True))
                self.parquet.setdefault(config, {})[split] = paths
        return self.commit(files, CONVERSION)

    def found(self, revision: str) -> str | None:
        """The commit of a revision, or of a commit."""
        return revision if revision in self.commits else self.revisions.get(revision)

    def is_lfs(self, data: bytes) -> bool:
        return len(data) >= self.lfs_bytes_min


@dataclass
class Hub:
    """The hub's content, and what it was asked."""

    repositories: dict[tuple[str, str], HubRepository] = field(default_factory=dict)
    renamed: dict[tuple[str, str], str] = field(default_factory=dict)
    """Old ids by kind and id: they lead to the present one by a redirect."""
    tokens: dict[str, set[str]] = field(default_factory=dict)
    """Tokens, and the private and gated repositories that each gives access to."""
    page_size: int = 1000
    asked: list[HubAsked] = field(default_factory=list)
    refusals: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """What to answer instead, once each: to the first target that holds a text, a status and headers."""
    damaged: set[str] = field(default_factory=set)
    """SHA-256 of files that the CDN sends with a wrong byte."""
    url: str = ""
    cdn_url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, name: str, files: Mapping[str, bytes], **settings: Any) -> HubRepository:
        """A new repository (`datasets` or `models`) with a main branch."""
        repository = HubRepository(kind, name, **settings)
        repository.commit(files)
        self.repositories[kind, name] = repository
        return repository

    def refuse(self, part: str, status: int, times: int = 1, **headers: str) -> None:
        """Answer so the next times that a target holds this text. Underscores in names stand for hyphens."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.refusals.extend([(part, status, fields)] * times)

    def times(self, part: str, *, server: str = "hub", status: int = 0) -> int:
        """How often something was asked for, and answered so."""
        return sum(
            part in asked.target and asked.server == server and status in (0, asked.status)
            for asked in self.asked
        )

    def blob(self, sha256: str) -> bytes | None:
        """The bytes in LFS that have this hash."""
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if hashlib.sha256(data).hexdigest() == sha256:
                        return data
        return None


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub and its CDN until the block ends."""
    hub = Hub()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type(kind.__name__, (kind,), {"hub": hub}))
        for kind in (_HubHandler, _CdnHandler)
    ]
    hub.url, hub.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = []
    for server in servers:
        server.daemon_threads = True
        threads.append(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}))
        threads[-1].start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """What both servers have in common."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_name = ""
    hub: Hub

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        told = {name.lower(): value for name, value in self.headers.items()}
        self.asked = HubAsked(self.server_name, self.command, self.path, told)
        with self.hub.lock:
            self.hub.asked.append(self.asked)
            refusal = next((one for one in self.hub.refusals if one[0] in self.path), None)
            if refusal is not None:
                self.hub.refusals.remove(refusal)
        if refusal is not None:
            self.answer(refusal[1], b'{"error":"refused"}', refusal[2])
            return
        self.serve()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def serve(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def answer_json(self, told: object, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        fields = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        self.answer(status, json.dumps(told).encode(), fields)

    def answer_file(self, body: bytes, headers: Mapping[str, str]) -> None:
        """A file with its validator: whole, in part, or not because it is unchanged."""
        fields = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
        etag = fields["ETag"]
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, headers={"ETag": etag})
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", etag) == etag and int(wanted[1]) < len(body):
            first = int(wanted[1])
            last = min(int(wanted[2] or len(body)), len(body) - 1)
            fields["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            self.answer(206, body[first : last + 1], fields)
            return
        self.answer(200, body, fields)

    def log_message(self, *args: object) -> None:
        pass


class _CdnHandler(_Handler):
    """Sends what lies in LFS to whoever has a signed link, and knows no tokens."""

    server_name = "cdn"

    def serve(self) -> None:
        parts = urlsplit(self.path)
        sha256 = parts.path.rpartition("/")[2]
        data = self.hub.blob(sha256)
        if data is None or "X-Amz-Signature" not in parts.query or self.asked.token:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
            return
        if sha256 in self.hub.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        self.answer_file(data, {"ETag": f'"{sha256}"', "x-amz-version-id": "null.of.the.store"})


class _HubHandler(_Handler):
    """The API, and the files or where they are."""

    server_name = "hub"

    def serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/api/resolve-cache/"):
            self._cached(parts.path.removeprefix("/api/resolve-cache/"))
        elif found := _API.fullmatch(parts.path):
            self._api(found[1], found[2], query)
        elif found := _RESOLVE.fullmatch(parts.path):
            self._resolve(found[1] or "models", found[2], unquote(found[3]), unquote(found[4]))
        else:
            self._refuse(404, "", "Sorry, we can't find the page you are looking for.")

    # Who may see what.

    def _repository(self, kind: str, name: str) -> HubRepository | None:
        """The repository if it may be known of; else the answer is given."""
        present = self.hub.renamed.get((kind, name))
        if present is not None:
            self.answer(307, headers={"Location": self.path.replace(name, present, 1)})
            return None
        token = self.asked.token
        if token and token not in self.hub.tokens:
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return None
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and not self._has_access(repository)):
            # Strangers are not told which of the two it is.
            if token:
                self._refuse(404, "RepoNotFound", "Repository not found")
            else:
                self._refuse(401, "", "Invalid username or password.")
            return None
        return repository

    def _has_access(self, repository: HubRepository) -> bool:
        return repository.id in self.hub.tokens.get(self.asked.token, ())

    def _may_read(self, repository: HubRepository) -> bool:
        """Whether the files may be had; else the answer is given."""
        if not repository.gated or self._has_access(repository):
            return True
        status = 403 if self.asked.token else 401
        self._refuse(status, "GatedRepo", f"Access to {repository.kind[:-1]} {repository.id} is restricted.")
        return False

    def _commit(self, repository: HubRepository, revision: str) -> str | None:
        commit = repository.found(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer_json({"error": message}, headers, status)

    # The API.

    def _api(self, kind: str, rest: str, query: dict[str, str]) -> None:
        found = _VERBS.fullmatch(rest)
        name, verb, further = (found["name"], found["verb"], found["rest"] or "") if found else (rest, "", "")
        repository = self._repository(kind, name)
        if repository is None:
            return
        if verb in ("", "revision"):
            self._info(repository, unquote(further) or "main")
        elif verb == "tree":
            self._tree(repository, further, query)
        elif verb == "paths-info":
            self._paths(repository, unquote(further))
        elif verb == "auth-check":
            if self._may_read(repository):
                self.answer(200, b"OK")
        elif further:
            self._parquet_file(repository, further)
        else:
            self._parquet(repository)

    def _info(self, repository: HubRepository, revision: str) -> None:
        commit = self._commit(repository, revision)
        if commit is None:
            return
        told: dict[str, object] = {
            "_id": "621ffdd236468d709f181f00",
            "id": repository.id,
            "author": repository.id.partition("/")[0],
            "sha": commit,
            "lastModified": "2024-03-04T13:54:37.000Z",
            "private": repository.private,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 1,
            "likes": 1,
            "siblings": [{"rfilename": path} for path in repository.commits[commit]],
            "createdAt": "2022-03-02T23:29:22.000Z",
        }
        if repository.kind == "models":
            told["modelId"] = repository.id
        self.answer_json(told)

    def _tree(self, repository: HubRepository, further: str, query: dict[str, str]) -> None:
        revision, _, folder = further.partition("/")
        commit = self._commit(repository, unquote(revision))
        if commit is None:
            return
        prefix = f"{unquote(folder)}/" if folder else ""
        entries = _entries(repository, repository.commits[commit], prefix)
        if not entries:
            self._refuse(404, "EntryNotFound", f"{unquote(folder)} does not exist")
            return
        start = int(query.get("cursor", "0"))
        headers = {}
        if start + self.hub.page_size < len(entries):
            more = urlencode(query | {"cursor": start + self.hub.page_size})
            headers["Link"] = f'<{self.hub.url}{urlsplit(self.path).path}?{more}>; rel="next"'
        self.answer_json(entries[start : start + self.hub.page_size], headers)

    def _paths(self, repository: HubRepository, revision: str) -> None:
        commit = self._commit(repository, revision)
        if commit is None:
            return
        body = self.body.decode()
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        files = repository.commits[commit]
        known = {entry["path"]: entry for entry in _entries(repository, files, "")}
        self.answer_json([known[path] for path in wanted if path in known])

    def _parquet(self, repository: HubRepository) -> None:
        if not repository.parquet:
            self._refuse(404, "", "The dataset is not converted")
            return
        base = f"{self.hub.url}/api/datasets/{repository.id}/parquet"
        self.answer_json(
            {
                config: {
                    split: [f"{base}/{config}/{split}/{number}.parquet" for number in range(len(paths))]
                    for split, paths in splits.items()
                }
                for config, splits in repository.parquet.items()
            }
        )

    def _parquet_file(self, repository: HubRepository, further: str) -> None:
        config, split, file = unquote(further).split("/")
        path = repository.parquet[config][split][int(file.removesuffix(".parquet"))]
        revision = quote(CONVERSION, safe="")
        self.answer(302, headers={"Location": f"/datasets/{repository.id}/resolve/{revision}/{path}"})

    # Files.

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self._repository(kind, name)
        if repository is None or not self._may_read(repository):
            return
        commit = self._commit(repository, revision)
        if commit is None:
            return
        data = repository.commits[commit].get(path)
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if repository.is_lfs(data):
            sha256 = hashlib.sha256(data).hexdigest()
            signed = urlencode({"X-Amz-Signature": "0" * 64, "X-Amz-Expires": "3600"})
            headers |= {
                "X-Linked-Size": str(len(data)),
                "X-Linked-ETag": f'"{sha256}"',
                "Location": f"{self.hub.cdn_url}/repos/{sha256[:2]}/{sha256[2:4]}/{sha256}?{signed}",
            }
            self.answer(302, b"Found. Redirecting", headers)
            return
        place = f"/api/resolve-cache/{kind}/{name}/{commit}/{quote(path)}"
        headers |= {
            "X-Linked-Size": str(len(data)),
            "X-Linked-ETag": f'"{git_blob(data)}"',
            "Location": place,
        }
        self.answer(307, b"Temporary Redirect. Redirecting", headers)

    def _cached(self, rest: str) -> None:
        kind, _, rest = rest.partition("/")
        for repository in self.hub.repositories.values():
            head = f"{repository.id}/"
            if repository.kind == kind and rest.startswith(head):
                commit, _, path = rest.removeprefix(head).partition("/")
                if repository.private and not self._has_access(repository):
                    break
                if not self._may_read(repository):
                    return
                data = repository.commits[commit][unquote(path)]
                self.answer_file(data, {"ETag": f'"{git_blob(data)}"', "X-Repo-Commit": commit})
                return
        self._refuse(401, "", "Invalid username or password.")


def _entries(repository: HubRepository, files: Mapping[str, bytes], prefix: str) -> list[dict[str, Any]]:
    """Files and folders below a prefix as a recursive tree lists them, in order of their paths."""
    found: dict[str, dict[str, Any]] = {}
    for path, data in files.items():
        if not path.startswith(prefix):
            continue
        folder = path.rpartition("/")[0]
        while len(folder) >= len(prefix) and folder:
            oid = hashlib.sha1(folder.encode()).hexdigest()
            found[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
            folder = folder.rpartition("/")[0]
        entry: dict[str, Any] = {"type": "file", "oid": git_blob(data), "size": len(data), "path": path}
        if repository.is_lfs(data):
            sha256 = hashlib.sha256(data).hexdigest()
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n"
            entry["oid"] = git_blob(pointer.encode())
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
        found[path] = entry
    return [found[path] for path in sorted(found)]
