"""Datasets on web servers as buckets: their addresses, the names derived from them, and manifests.

A dataset is a folder of a web server, named by its URL. What lies in it is told by the server's pages or
by a manifest: JSON, or text with one name a line.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

import msgspec

from aisle.errors import BadRequest, InvalidName, SourceFailed
from aisle.model.names import BUCKET_NAME_CHARS_MAX, parse_object_key
from aisle.rules.download_names import normal_link, public_link

MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024
_PLAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.IGNORECASE)
_OTHER: Final = re.compile(r"[^A-Za-z0-9-]+")
_HASH_CHARS: Final = 8
_NAMES: Final = ("name", "path", "key", "file")
_LISTS: Final = ("files", "objects", "entries")


class Listed(NamedTuple):
    """A file that a manifest names; its size is -1 where it does not tell."""

    key: str
    size: int = -1


def dataset_url(url: str) -> str:
    """The URL of a dataset's folder as it is kept: encoded, with a slash at its end.

    Raises BadRequest for what is no http or https URL of a folder, and for one that holds credentials.
    """
    parts = urlsplit(normal_link(url))
    if "://" not in url:
        raise BadRequest(f'"{public_link(url)}" is no URL: it begins with neither http:// nor https://')
    if "@" in parts.netloc:
        raise BadRequest(f'"{public_link(url)}": the URL of a dataset holds no user or password')
    if parts.query or parts.fragment:
        raise BadRequest(f'"{public_link(url)}": the URL of a dataset has neither a query nor a fragment')
    path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}"


def bucket_name(url: str) -> str:
    """The name of the bucket that a dataset becomes: its host and folders, joined by underscores.

    Another URL gives another name: `http_` stands before those without TLS, and what cannot be told from the
    name alone is told apart by a hash at its end. Raises BadRequest as `dataset_url` does.
    """
    url = dataset_url(url)
    parts = urlsplit(url)
    elements = [parts.netloc, *parts.path.strip("/").split("/")] if parts.path != "/" else [parts.netloc]
    is_plain = all(_PLAIN.fullmatch(element) for element in elements) and elements[0] != "http"
    if parts.scheme == "http":
        elements.insert(0, "http")
    name = "_".join(elements)
    if is_plain and len(name) <= BUCKET_NAME_CHARS_MAX and "--" not in name:
        return name
    words = (_OTHER.sub("-", unquote(element)).strip("-") for element in elements)
    shown = re.sub("-+", "-", "_".join(word for word in words if word))
    digest = sha256(url.encode()).hexdigest()[:_HASH_CHARS]
    return f"{shown[: BUCKET_NAME_CHARS_MAX - _HASH_CHARS - 1].rstrip('-_')}_{digest}"


def folder_of(url: str, key: str) -> str:
    """The URL of the dataset in which an object of that name is at `url`, or which `url` is itself.

    Raises BadRequest as `dataset_url` does, and for the address of another object.
    """
    parts = urlsplit(normal_link(url))
    path = unquote_to_bytes(parts.path)
    if not key or path.endswith(b"/"):
        return dataset_url(url)
    folder = path.removesuffix(key.encode())
    if folder == path or not folder.endswith(b"/"):
        raise BadRequest(f'"{public_link(url)}" is not the address of the object {key[:200]}')
    return dataset_url(parts._replace(path=quote(folder, safe="/%:@!$&'()*+,;=-._~")).geturl())


def object_link(url: str, key: str) -> str | None:
    """Where an object of the dataset at `url` is; None for a key that no file can have."""
    elements = key.split("/")
    # A server would take them as ways out of the folder, or as the folder itself.
    if any(element in ("", ".", "..") for element in elements) or "\\" in key or "\0" in key:
        return None
    return url + quote(key, safe="/-._~")


def parse_manifest(body: bytes, url: str, *, link: str) -> list[Listed]:
    """The files that a manifest names, each once, in byte order; `link` is its own address.

    Names are relative to the dataset at `url`, or whole URLs within it. JSON, told by its first character, is
    a list, or an object with such a list as `files`, `objects` or `entries`, of names or of objects with a
    `name` (or `path`, `key`, `file`) and perhaps a `size`. Of text, each line is a name; empty lines and
    those that begin with `#` are not. Raises SourceFailed.
    """
    try:
        entries = _entries(body)
        found = {entry.key: entry for entry in (_within(entry, url) for entry in entries)}
    except (ValueError, msgspec.MsgspecError, BadRequest, InvalidName) as error:
        raise SourceFailed(f"the manifest {public_link(link)} cannot be read: {error}") from error
    return sorted(found.values(), key=lambda entry: entry.key.encode())


def _entries(body: bytes) -> Iterator[Listed]:
    if body.lstrip()[:1] not in (b"[", b"{"):
        for line in body.decode().splitlines():
            if line.strip() and not line.startswith("#"):
                yield Listed(line.strip())
        return
    document = msgspec.json.decode(body)
    if isinstance(document, dict):
        document = next((document[name] for name in _LISTS if name in document), None)
    if not isinstance(document, list):
        raise ValueError(f"it is no list of files, and has none as {', '.join(_LISTS)}")
    for number, entry in enumerate(document, 1):
        name, size = entry, -1
        if isinstance(entry, dict):
            name = next((entry[member] for member in _NAMES if member in entry), None)
            told = entry.get("size", -1)
            size = told if isinstance(told, int) and told >= 0 else -1
        if not isinstance(name, str):
            raise ValueError(f"entry {number} has no name")
        yield Listed(name, size)


def _within(entry: Listed, url: str) -> Listed:
    key = entry.key
    if key.startswith(("http://", "https://")):
        link = normal_link(key)
        path = unquote_to_bytes(urlsplit(link).path)
        own = unquote_to_bytes(urlsplit(url).path)
        if urljoin(link, "/").lower() != urljoin(url, "/").lower() or not path.startswith(own):
            raise ValueError(f"{public_link(link)} is not within {url}")
        key = path[len(own) :].decode()
    key = key.removeprefix("./")
    parse_object_key(key.encode())
    if object_link(url, key) is None:
        raise ValueError(f'"{key[:200]}" is no name of a file')
    return entry._replace(key=key)
