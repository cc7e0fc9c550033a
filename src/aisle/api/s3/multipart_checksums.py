"""Checksums of multipart uploads: what was asked for at the start, what each part has, what the whole gets.

An upload may name an algorithm, and a type: COMPOSITE is a digest of the parts' digests, FULL_OBJECT that
of all bytes, which only cyclic checksums can tell without reading them again. The wish is kept with the
upload; the parts keep their digests in hexadecimal, and S3 shows them in base64.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from aisle.api.s3.checksums import DIGEST_BYTES, parse_algorithm, read_digest, told
from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import Element, MalformedXML
from aisle.storage.engine import Part, Upload
from aisle.target.part_digests import COMBINABLE, Span, combined, composite
from aisle.target.uploads import ListedPart

COMPOSITE: Final = "COMPOSITE"
FULL_OBJECT: Final = "FULL_OBJECT"

PARTS_XML_BYTES_MAX: Final = 8 * 1024 * 1024
"""10,000 parts with all that can be said of each."""

INITIATOR: Final = "upload-initiator"
"""Among an upload's fields: the id of who began it, as S3 shows it."""
_DECLARED: Final = "upload-checksum"
_NO_PARTS: Final = "You must specify at least one part"


def declare(headers: Mapping[str, str]) -> dict[str, str]:
    """What an upload keeps of the checksum that its headers ask for; empty without one.

    Raises S3Error InvalidRequest for an algorithm or a type that does not exist or fit.
    """
    kind = parse_algorithm(headers.get("x-amz-checksum-algorithm", ""))
    type_ = headers.get("x-amz-checksum-type", "").upper()
    if not kind:
        if type_:
            raise S3Error("InvalidRequest", "The x-amz-checksum-type header needs x-amz-checksum-algorithm.")
        return {}
    # Amazon's defaults; it has no composite CRC64NVME, and nobody can combine secure hashes.
    type_ = type_ or (FULL_OBJECT if kind == "crc64nvme" else COMPOSITE)
    fits = {COMPOSITE: kind != "crc64nvme", FULL_OBJECT: kind in COMBINABLE}
    if not fits.get(type_, False):
        raise S3Error(
            "InvalidRequest",
            f"The {type_[:20]} checksum type cannot be used with the {kind} checksum algorithm.",
        )
    return {_DECLARED: f"{kind}/{type_}"}


def declared_checksum(upload: Upload) -> tuple[str, str]:
    """Algorithm and type that an upload was begun with; both empty without."""
    kind, _, type_ = upload.attributes.fields.get(_DECLARED, "").partition("/")
    return kind, type_


def object_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """An upload's fields as its object keeps them."""
    return {name: value for name, value in fields.items() if name not in (_DECLARED, INITIATOR)}


def checksum_of(upload: Upload, parts: Sequence[Part]) -> dict[str, str]:
    """The object's checksum by its kind, as records keep it: hexadecimal, with `-N` if it is composite.

    Empty where none was asked for, or a part without one is among them.
    """
    kind, type_ = declared_checksum(upload)
    spans = [Span(part.attributes.digests.get(kind, ""), part.size) for part in parts]
    if not kind or not all(span.digest for span in spans):
        return {}
    if type_ == FULL_OBJECT:
        return {kind: combined(kind, spans)}
    return {kind: composite(kind, [span.digest for span in spans])}


def listed_parts(root: Element) -> list[ListedPart]:
    """The parts that a CompleteMultipartUpload document names. Raises MalformedXML, S3Error InvalidPart."""
    listed = []
    for part in root.every("Part"):
        number, etag = part.value("PartNumber").strip(), part.value("ETag").strip()
        if not (number.isascii() and number.isdecimal()) or len(number) > 9 or not etag:
            raise MalformedXML("each Part has a PartNumber and an ETag")
        md5 = etag.removeprefix("W/").strip('"').lower()
        if not md5:
            raise S3Error("InvalidPart", f"Part {number} is listed with an empty ETag.")
        digests = {}
        for kind in DIGEST_BYTES:
            text = part.value(f"Checksum{kind.upper()}").strip()
            if text:
                digests[kind] = _digest(kind, text)
        listed.append(ListedPart(int(number), md5, digests))
    if not listed:
        raise MalformedXML(_NO_PARTS)
    return listed


def _digest(kind: str, text: str) -> str:
    """A digest in base64 as parts keep it. Raises MalformedXML."""
    digest = read_digest(kind, text)
    if digest is None:
        raise MalformedXML(f"{text[:100]} is no {kind}")
    return digest


def check_whole(headers: Mapping[str, str], checksum: Mapping[str, str], size: int, *, type_: str) -> None:
    """Compare what a completion announces of the whole object with what it would be.

    `type_` is that of the checksum which the upload was begun with. Raises S3Error InvalidRequest for another
    size and for a checksum that cannot be compared, BadDigest for another checksum or type of it.
    """
    told_type = headers.get("x-amz-checksum-type", "").upper()
    if told_type and type_ and told_type != type_:
        raise S3Error("BadDigest", f"The upload was begun with the checksum type {type_}.")
    announced = headers.get("x-amz-mp-object-size", "")
    if announced and announced != str(size):
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {announced[:20]} does not match what was"
            f" uploaded: {size}",
        )
    for kind in DIGEST_BYTES:
        wanted, digest = headers.get(f"x-amz-checksum-{kind}", ""), checksum.get(kind, "")
        if wanted and not digest:
            raise S3Error("InvalidRequest", f"The upload was not begun with {kind}, or a part has none.")
        # A composite one may be told with or without the number of parts.
        if wanted and wanted not in (told(digest), told(digest.partition("-")[0])):
            raise S3Error("BadDigest", f"The {kind} you specified did not match the calculated checksum.")
