"""What an object remembers of where it came from: custom metadata, in AIStore's names.

`source` is the kind of place, `ETag`, `Last-Modified`, `version`, `md5` what the source told
(ais-downloader-backends-s3.md §1.7 and §3.3), `orig_url` the link, without what is secret in it. A
job that was interrupted knows by the last one which objects it has already stored.
"""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from aisle.model.record import Attributes
from aisle.rules.download_names import authority_of, public_link
from aisle.rules.download_reply import Reply

ORIGIN = "orig_url"
DOWNLOAD_JOB = "download_job"
"""What an upload in progress carries, with the job's id, when the job worker stores a download in parts."""
_ORIGIN_CHARS_MAX = 1024  # all custom metadata of an object together has at most 2,048 bytes
_VALUE_CHARS_MAX = 256
_CONTENT_TYPE_CHARS_MAX = 256


def origin(link: str) -> str:
    """What is remembered of a link."""
    return public_link(link)[:_ORIGIN_CHARS_MAX]


def source_of(link: str) -> str:
    """The kind of place that a link leads to, in AIStore's words: `gcp`, `aws`, `azure` or `web`."""
    kind = _source_of_server(authority_of(link))
    return "web" if kind == "gcp-api" and "/storage/v1" not in link else kind.removesuffix("-api")


@lru_cache(maxsize=256)
def _source_of_server(authority: str) -> str:
    host = (urlsplit(f"//{authority}").hostname or "").lower()
    if host == "storage.googleapis.com":
        return "gcp"
    if host == "www.googleapis.com":
        return "gcp-api"
    if host.endswith(".amazonaws.com"):
        return "aws"
    return "azure" if host.endswith(".blob.core.windows.net") else "web"


def custom_metadata(reply: Reply, link: str, digests: Mapping[str, str]) -> dict[str, str]:
    """The custom metadata of an object that this answer to this link became."""
    fields = reply.fields
    custom = {"source": source_of(link), ORIGIN: origin(link)}
    if etag := fields.get("ETag"):
        _keep(custom, "ETag", _unquoted(etag))
    if modified := fields.get("Last-Modified"):
        _keep(custom, "Last-Modified", modified)
    version = fields.get("x-goog-generation") or fields.get("x-amz-version-id")
    if version and version != "null":  # S3's name for the version of an unversioned object
        _keep(custom, "version", version)
    if "md5" in digests:
        custom["md5"] = digests["md5"]
    return custom


def _keep(custom: dict[str, str], name: str, value: str) -> None:
    if value and len(value) <= _VALUE_CHARS_MAX and value.isprintable():
        custom[name] = value


def content_type(reply: Reply) -> str:
    """The object's content type as the source tells it, if it can be kept."""
    told = reply.fields.get("Content-Type", "")
    return told if len(told) <= _CONTENT_TYPE_CHARS_MAX and told.isprintable() else ""


def is_from(attributes: Attributes, link: str) -> bool:
    """Whether an object with these attributes was made from this link."""
    return attributes.custom.get(ORIGIN) == origin(link)


def _unquoted(etag: str) -> str:
    # AIStore keeps strong tags without their quotes; a weak one stays recognisable as such.
    return etag[1:-1] if len(etag) > 1 and etag[0] == etag[-1] == '"' else etag
