"""What an object remembers of where it came from: custom metadata, in AIStore's names.

`source` is the kind of place, `ETag`, `Last-Modified`, `version`, `md5`, `crc32c` what the source told
(ais-downloader-backends-s3.md §1.7 and §3.3), `orig_url` the link, without what is secret in it. A
job that was interrupted knows by the last one which objects it has already stored. `Content-Length` (or
`orig_size` where none was told) and further digests (`sha256`, …) are ours.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from aisle.model.digests import plain_kind
from aisle.model.record import CUSTOM_BYTES_MAX, Attributes
from aisle.rules.download_digests import KINDS, sized
from aisle.rules.download_names import public_link
from aisle.rules.download_reply import VERSIONS, Reply
from aisle.rules.download_unchanged import unquoted

ORIGIN = "orig_url"
LENGTH = "Content-Length"
SIZE = "orig_size"
"""The object's size where its source did not tell one."""
DOWNLOAD_JOB = "download_job"
"""What an upload in progress carries, with the job's id, when the job worker stores a download in parts."""
_ABOUT_BYTES = frozenset({LENGTH, SIZE, *KINDS})
_ORIGIN_CHARS_MAX = CUSTOM_BYTES_MAX // 2
_VALUE_CHARS_MAX = 256
_CONTENT_TYPE_CHARS_MAX = 256
_SCHEME_CHARS = len("https://")
_SHORT_CHARS, _SHORT_MAX = 64, 7


def origin(link: str) -> str:
    """What is remembered of a link."""
    public = public_link(link)
    return public if len(public) <= _ORIGIN_CHARS_MAX else public[:_ORIGIN_CHARS_MAX]


def source_of(link: str) -> str:
    """The kind of place that a link leads to, in AIStore's words: `gcp`, `aws`, `azure` or `web`."""
    end = link.find("/", _SCHEME_CHARS)
    kind = _source_of_server(link[:end] if end >= 0 else link)
    if kind != "gcp-api":
        return kind
    return "gcp" if "/storage/v1" in link else "web"


@lru_cache(maxsize=256)
def _source_of_server(server: str) -> str:
    host = (urlsplit(server).hostname or "").lower()
    if host == "storage.googleapis.com":
        return "gcp"
    if host == "www.googleapis.com":
        return "gcp-api"
    if host.endswith(".amazonaws.com"):
        return "aws"
    return "azure" if host.endswith(".blob.core.windows.net") else "web"


def custom_metadata(reply: Reply, link: str, digests: Mapping[str, str], *, size: int) -> dict[str, str]:
    """The custom metadata of an object of `size` bytes that this answer to this link became.

    `digests` were computed; what the source only announced is kept beside them.
    """
    custom = _told(reply, link, LENGTH if reply.told_size == size else SIZE, size)
    fields = reply.fields
    version = next((fields[name] for name in VERSIONS if name in fields), "")
    if version and version != "null":  # S3's name for the version of an unversioned object
        _keep(custom, "version", version)
    if "md5" in digests:
        custom["md5"] = digests["md5"]
    for kind, digest in _digests(reply, digests, size):
        _keep(custom, plain_kind(kind), digest)
    return custom


def plain_metadata(reply: Reply, link: str, *, size: int) -> dict[str, str]:
    """The same of an answer that `is_plain_object`, with nothing computed that custom metadata shows."""
    return _told(reply, link, LENGTH, size)


def _told(reply: Reply, link: str, length: str, size: int) -> dict[str, str]:
    custom = {"source": source_of(link), ORIGIN: origin(link), length: str(size)}
    fields = reply.fields
    if etag := fields.get("ETag"):
        etag = unquoted(etag)
        # Short ones always fit.
        if 0 < len(etag) <= _SHORT_CHARS and etag.isprintable():
            custom["ETag"] = etag
        else:
            _keep(custom, "ETag", etag)
    if modified := fields.get("Last-Modified"):
        if len(modified) <= _SHORT_CHARS and modified.isprintable():
            custom["Last-Modified"] = modified
        else:
            _keep(custom, "Last-Modified", modified)
    return custom


def _digests(reply: Reply, computed: Mapping[str, str], size: int) -> Iterable[tuple[str, str]]:
    """What the source announced and what it was checked against, the second where they differ."""
    announced = reply.announced()
    if not announced and not reply.wanted.checksum:
        return ()
    checked = sized(reply.digests(), size).keys() & computed.keys()
    return {**announced, **{kind: computed[kind] for kind in checked}}.items()


def _keep(custom: dict[str, str], name: str, value: str) -> None:
    chars = len(value)
    if not chars or chars > _VALUE_CHARS_MAX or not value.isprintable():
        return
    # A few short ones fit beside the longest origin; counting would be half the cost of a small object's.
    if chars > _SHORT_CHARS or len(custom) >= _SHORT_MAX:
        held = sum(len(key) + len(kept.encode()) for key, kept in custom.items())
        if held + len(name) + len(value.encode()) > CUSTOM_BYTES_MAX:
            return
    custom[name] = value


def without_bytes(custom: Mapping[str, str]) -> dict[str, str]:
    """The same metadata for an object that was only a part of what came: without size and digests of that."""
    return {name: value for name, value in custom.items() if name not in _ABOUT_BYTES}


def content_type(reply: Reply) -> str:
    """The object's content type as the source tells it, if it can be kept."""
    told = reply.fields.get("Content-Type", "")
    return told if len(told) <= _CONTENT_TYPE_CHARS_MAX and told.isprintable() else ""


def is_from(attributes: Attributes, link: str) -> bool:
    """Whether an object with these attributes was made from this link."""
    return attributes.custom.get(ORIGIN) == origin(link)


def is_exactly_from(attributes: Attributes, link: str) -> bool:
    """The same, and nothing was left out of what is remembered of the link."""
    return attributes.custom.get(ORIGIN) == link
