"""Listings of S3, read fast: a page has a thousand entries, and a client waits for each page."""

from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from aisle.backends.answer_fields import iso_time_ns, plain_etag
from aisle.backends.aws_protocol import checked_root
from aisle.backends.provider import RemoteObject, RemotePage
from aisle.errors import SourceFailed

_ROOT: Final = "ListBucketResult"
_MD5_CHARS: Final = 32

_time_ns = lru_cache(maxsize=8192)(iso_time_ns)


def parse_listing(body: bytes) -> RemotePage:
    """A page of version 2, whose names are percent-encoded. Raises SourceFailed for anything else."""
    root = checked_root(body, _ROOT)
    # All elements are in the namespace of the first one, or in none.
    space = root.tag.removesuffix(_ROOT)
    contents, prefix = f"{space}Contents", f"{space}Prefix"
    names = (f"{space}Key", f"{space}Size", f"{space}ETag", f"{space}LastModified")
    try:
        objects = [_object(entry, names) for entry in root.iterfind(contents)]
    except ValueError as error:
        raise SourceFailed(f"the source lists a size that is no number: {error}") from error
    found = root.iterfind(f"{space}CommonPrefixes")
    prefixes = [unquote_plus(entry.findtext(prefix) or "") for entry in found]
    is_last = root.findtext(f"{space}IsTruncated") != "true"
    token = "" if is_last else root.findtext(f"{space}NextContinuationToken") or ""
    return RemotePage(objects, prefixes, token)


def _object(entry: ElementTree.Element, names: tuple[str, str, str, str]) -> RemoteObject:
    find = entry.findtext
    name, size, tag, modified = names
    key = find(name) or ""
    if "%" in key or "+" in key:
        key = unquote_plus(key)
    etag = plain_etag(find(tag) or "")
    digests = {"md5": etag} if len(etag) == _MD5_CHARS and "-" not in etag else {}
    modified_ns = _time_ns(find(modified) or "")
    return RemoteObject(key, int(find(size) or 0), etag, etag, modified_ns, digests)
