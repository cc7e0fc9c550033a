"""What is known of an object that a download is to put in the bucket, and that is there already.

An object that was downloaded remembers what its source said about it. The next job that is to put the
same link under the same name asks whether that is still so, and fetches the object only if it is not.
In doubt it is fetched: nothing here relies on a size, on a date that may stand for two versions, or on
what somebody may have made of the object since.
"""

from email.utils import parsedate_to_datetime

from aisle.model.digests import plain_kind
from aisle.model.record import Attributes, Record
from aisle.rules.download_metadata import LENGTH, SIZE, is_exactly_from, is_from
from aisle.rules.download_unchanged import Known


def known_object(record: Record, link: str) -> Known | None:
    """What to ask the link about an object; None if it has to be fetched in any case."""
    attributes = record.attributes
    if not is_from(attributes, link) or not _is_as_it_came(record):
        return None
    condition = _condition(record, is_exact=is_exactly_from(attributes, link))
    if condition is None:
        return None
    etag = condition[1] if condition[0] == "If-None-Match" else ""
    return Known(record.generation, record.size, attributes.content_type, etag, condition)


def has_checksum(attributes: Attributes, checksum: str) -> bool:
    """Whether an object has the checksum `KIND:HEX`, as far as it was computed from its bytes."""
    kind, _, digest = checksum.partition(":")
    if attributes.checksum_type == kind:
        return attributes.checksum_value == digest.lower()
    kept = attributes.digests.items()
    return any(plain_kind(name) == kind and value == digest.lower() for name, value in kept)


def _condition(record: Record, *, is_exact: bool) -> tuple[str, str] | None:
    custom = record.attributes.custom
    etag = _quoted(custom.get("ETag", ""))
    # What is remembered of a link leaves secrets out. Two links that differ there only are hardly ever two
    # files; if they are, strong tags tell them apart, dates may not.
    if etag:
        return ("If-None-Match", etag) if is_exact or not etag.startswith("W/") else None
    modified = custom.get("Last-Modified", "")
    return ("If-Modified-Since", modified) if is_exact and _is_past(modified, record.written_ns) else None


def _is_as_it_came(record: Record) -> bool:
    """Whether the object has the size that it came with: what is appended to keeps its metadata."""
    custom, size = record.attributes.custom, str(record.size)
    return custom.get(LENGTH, custom.get(SIZE)) == size


def _quoted(kept: str) -> str:
    """The entity tag whose kept form this is; empty for one that no request can carry."""
    if not kept or not kept.isascii():
        return ""
    return kept if kept.startswith("W/") else f'"{kept}"'


def _is_past(modified: str, written_ns: int) -> bool:
    """Whether a date was over when the object was stored, so that no later version can have the same."""
    try:
        return modified.isascii() and parsedate_to_datetime(modified).timestamp() + 1 < written_ns / 1e9
    except (ValueError, OverflowError):
        return False
