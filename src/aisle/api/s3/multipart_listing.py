"""What is shown of uploads in progress: the uploads of a bucket, and the parts of one.

Both listings come in pages that hold no state between them; a marker is the last name (and upload), or
the last part number, of the page before.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from aisle.api.s3.acls import owner_element, owner_id
from aisle.api.s3.call import S3Call, S3Query
from aisle.api.s3.checksums import digest_elements
from aisle.api.s3.errors import S3Error
from aisle.api.s3.listing_entries import DEFAULT_STORAGE_CLASS
from aisle.api.s3.metadata import STORAGE_CLASS
from aisle.api.s3.multipart_checksums import INITIATOR, declared_checksum
from aisle.api.s3.times import timestamp
from aisle.api.s3.xml import element, group, xml_answer
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo
from aisle.storage.engine import Part, Upload
from aisle.target.uploads import PART_NUMBER_MAX, TargetUploads

PAGE_MAX: Final = 1000
"""Entries of a page: the default, and what larger wishes are cut to."""
_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class UploadPage(NamedTuple):
    """A page of uploads in order, and what the next one continues behind."""

    uploads: list[Upload]
    prefixes: list[bytes]
    more: bool
    key_marker: bytes = b""
    id_marker: str = ""


def upload_page(uploads: Sequence[Upload], wanted: "UploadQuery") -> UploadPage:
    """The uploads that a query asks for; `uploads` are in order of (key, id).

    Names that hold the delimiter behind the prefix collapse to their common prefix, which counts as one
    entry.
    """
    shown: list[Upload] = []
    prefixes: list[bytes] = []
    last: tuple[bytes, str] = (b"", "")
    for upload in uploads:
        if not upload.key.startswith(wanted.prefix):
            continue
        end = upload.key.find(wanted.delimiter, len(wanted.prefix)) if wanted.delimiter else -1
        folded = upload.key if end < 0 else upload.key[: end + len(wanted.delimiter)]
        if folded < wanted.key_marker or (prefixes and folded == prefixes[-1] and end >= 0):
            continue
        # Without an upload's id the marker stands for all uploads of that name, as for a prefix.
        is_behind = end < 0 and wanted.id_marker and upload.id > wanted.id_marker
        if wanted.key_marker and folded == wanted.key_marker and not is_behind:
            continue
        if len(shown) + len(prefixes) == wanted.count_max:
            return UploadPage(shown, prefixes, wanted.count_max > 0, *last)
        if end >= 0:
            prefixes.append(folded)
            last = (folded, "")
        else:
            shown.append(upload)
            last = (upload.key, upload.id)
    return UploadPage(shown, prefixes, False)


class UploadQuery(NamedTuple):
    """Which uploads are asked for."""

    prefix: bytes = b""
    delimiter: bytes = b""
    key_marker: bytes = b""
    id_marker: str = ""
    count_max: int = PAGE_MAX
    is_encoded: bool = False
    """Names are shown percent-encoded."""


def parse_upload_query(query: S3Query) -> UploadQuery:
    """What the parameters of a listing of uploads ask for. Raises S3Error InvalidArgument."""
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise _invalid("encoding-type", encoding, "Invalid Encoding Method specified in Request")
    return UploadQuery(
        query.get("prefix", "").encode(),
        query.get("delimiter", "").encode(),
        query.get("key-marker", "").encode(),
        # As Amazon has it: an upload alone, without a name, is no place in the order.
        query.get("upload-id-marker", "") if query.get("key-marker") else "",
        _count(query, "max-uploads", PAGE_MAX),
        bool(encoding),
    )


def list_uploads(call: S3Call, uploads: TargetUploads) -> Response:
    """The uploads in progress in a bucket."""
    wanted = parse_upload_query(call.query)
    page = upload_page(uploads.in_bucket(call.bucket()), wanted)

    def name(raw: bytes) -> str:
        return quote(raw, safe="/") if wanted.is_encoded else shown_key(raw)

    told = [
        element("Bucket", call.name),
        element("KeyMarker", name(wanted.key_marker)),
        element("UploadIdMarker", wanted.id_marker),
    ]
    if page.more:
        told.append(element("NextKeyMarker", name(page.key_marker)))
        told.append(element("NextUploadIdMarker", page.id_marker))
    if wanted.delimiter:
        told.append(element("Delimiter", name(wanted.delimiter)))
    told += [element("Prefix", name(wanted.prefix)), element("MaxUploads", str(wanted.count_max))]
    if wanted.is_encoded:
        told.append(element("EncodingType", "url"))
    told.append(element("IsTruncated", "true" if page.more else "false"))
    for upload in page.uploads:
        kind, type_ = declared_checksum(upload)
        inner = [
            element("Key", name(upload.key)),
            element("UploadId", upload.id),
            *_persons(call.bucket(), upload),
            element("StorageClass", storage_class(upload)),
            element("Initiated", timestamp(upload.started_ns)),
        ]
        if kind:
            inner += [element("ChecksumAlgorithm", kind.upper()), element("ChecksumType", type_)]
        told.append(group("Upload", inner))
    told += [group("CommonPrefixes", [element("Prefix", name(prefix))]) for prefix in page.prefixes]
    return xml_answer("ListMultipartUploadsResult", told)


def list_parts(call: S3Call, uploads: TargetUploads) -> Response:
    """The parts of an upload that are there."""
    upload = uploads.find(call.bucket(), call.key, call.query.get("uploadId", ""))
    count_max = _count(call.query, "max-parts", PAGE_MAX)
    after = _count(call.query, "part-number-marker", PART_NUMBER_MAX, default=0)
    behind = [part for part in uploads.parts(upload) if part.number > after]
    page, more = behind[:count_max], len(behind) > count_max
    kind, type_ = declared_checksum(upload)
    told = [
        element("Bucket", call.name),
        element("Key", shown_key(upload.key)),
        element("UploadId", upload.id),
        element("PartNumberMarker", str(after)),
        element("NextPartNumberMarker", str(page[-1].number if page else 0)),
        element("MaxParts", str(count_max)),
        element("IsTruncated", "true" if more else "false"),
        *(_part(part, kind) for part in page),
        *_persons(call.bucket(), upload),
        element("StorageClass", storage_class(upload)),
    ]
    if kind:
        told += [element("ChecksumAlgorithm", kind.upper()), element("ChecksumType", type_)]
    return xml_answer("ListPartsResult", told)


def storage_class(upload: Upload) -> str:
    """The class that the object will be shown with."""
    return upload.attributes.fields.get(STORAGE_CLASS, DEFAULT_STORAGE_CLASS)


def shown_key(key: bytes) -> str:
    """A key in documents that cannot encode it, with a replacement for characters that XML does not have.

    Clients know the key, they named it; but one that cannot read the document never learns the upload's id.
    """
    return _NOT_IN_XML.sub("\ufffd", key.decode())


def _part(part: Part, kind: str) -> str:
    digests = part.attributes.digests
    inner = [
        element("PartNumber", str(part.number)),
        element("LastModified", timestamp(part.written_ns)),
        element("ETag", f'"{digests.get("md5", "")}"'),
        element("Size", str(part.size)),
    ]
    return group("Part", [*inner, *digest_elements(digests, (kind,))])


def _persons(info: BucketInfo, upload: Upload) -> list[str]:
    """Who began the upload, and whose the object will be: the bucket's owner's."""
    owner = owner_id(info)
    initiator = upload.attributes.fields.get(INITIATOR, owner)
    shown = [element("ID", initiator), element("DisplayName", initiator)]
    return [group("Initiator", shown), owner_element(owner)]


def _count(query: S3Query, name: str, most: int, *, default: int | None = None) -> int:
    """A number of the query, cut to `most`. Raises S3Error InvalidArgument."""
    text = query.get(name, "")
    if not text:
        return most if default is None else default
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise _invalid(name, text, f"Provided {name} not an integer or within integer range")
    return min(int(text), most)


def _invalid(name: str, value: str, text: str) -> S3Error:
    return S3Error("InvalidArgument", text, ArgumentName=name, ArgumentValue=value[:80])
