"""Checksums on the wire: what a writer announces of its bytes, and what readers are told of them.

Five kinds travel as `x-amz-checksum-KIND`, in a header or behind the body; `Content-MD5` is a sixth
way to announce. The values are base64 of the digest. Digests are kept as lower-case hex by kind; one
that was computed over the digests of parts ends in `-N`, how many they are.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import element
from aisle.errors import ChecksumMismatch
from aisle.model.record import Attributes
from aisle.storage.hashing import hex_digest

MD5: Final = "md5"
DIGEST_BYTES: Final[Mapping[str, int]] = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""The kinds of S3 beside the MD5, and how long their digests are."""
_LENGTHS: Final = {**DIGEST_BYTES, MD5: 16}
_FIELD: Final = "x-amz-checksum-"
_FIELDS: Final = {f"{_FIELD}{kind}": kind for kind in DIGEST_BYTES}
_NO_KINDS: Final = frozenset({f"{_FIELD}algorithm", f"{_FIELD}mode", f"{_FIELD}type"})
"""Fields that begin like a checksum's and carry none."""


class Announced(NamedTuple):
    """What a request says about the digests of its body."""

    digests: Mapping[str, str]
    """Digests by kind, lower-case hex, that the headers give."""
    trailing: str = ""
    """The kind that follows behind the body; empty for none."""
    kept: tuple[str, ...] = (MD5,)
    """The kinds that are to be computed and kept, the MD5 first."""

    def expected(self, trailers: Mapping[str, str]) -> Mapping[str, str]:
        """All digests that the body must have, once it has ended; `trailers` came behind it.

        Raises S3Error for a trailer that was announced and did not come, or is no digest.
        """
        if not self.trailing:
            return self.digests
        value = trailers.get(_FIELD + self.trailing)
        if value is None:
            raise S3Error("InvalidRequest", f"The trailer {_FIELD}{self.trailing} did not come.")
        return {**self.digests, self.trailing: _parse(self.trailing, value)}


def parse_announced(headers: Mapping[str, str]) -> Announced:
    """What the headers of a request with a body announce.

    Raises S3Error InvalidDigest for a Content-MD5 that is none, InvalidRequest for what contradicts
    itself, names no known kind, or is no digest of its kind.
    """
    digests = {}
    content_md5 = headers.get("content-md5")
    if content_md5 is not None:
        digests[MD5] = parse_md5(content_md5)
    if "x-amz-sdk-checksum-algorithm" not in headers and not any(name.startswith(_FIELD) for name in headers):
        trailing = _trailing_kind(headers)
        return Announced(digests, trailing, (MD5, trailing) if trailing else (MD5,))
    given = [name for name in headers if name.startswith(_FIELD) and name not in _NO_KINDS]
    unknown = [name for name in given if name not in _FIELDS]
    trailing = _trailing_kind(headers)
    if unknown:
        raise S3Error("InvalidRequest", f"The checksum {unknown[0]} is not known.")
    if len(given) + bool(trailing) > 1:
        text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise S3Error("InvalidRequest", text)
    kind = trailing
    if given:
        kind = _FIELDS[given[0]]
        digests[kind] = _parse(kind, headers[given[0]])
    _check_algorithm(headers.get("x-amz-sdk-checksum-algorithm", ""), kind)
    return Announced(digests, trailing, (MD5, kind) if kind else (MD5,))


def parse_algorithm(name: str) -> str:
    """The kind that clients call `CRC32C`, `SHA256`, …; empty for no name. Raises S3Error."""
    kind = name.lower()
    if kind and kind not in DIGEST_BYTES:
        raise S3Error("InvalidRequest", f"The checksum algorithm {name[:40]} is not known.")
    return kind


def parse_md5(value: str) -> str:
    """The hex form of a Content-MD5. Raises S3Error InvalidDigest."""
    digest = read_digest(MD5, value)
    if digest is None:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.")
    return digest


def read_digest(kind: str, text: str) -> str | None:
    """The hexadecimal form of a digest of that kind in base64; None for what is none."""
    try:
        raw = b64decode(text.strip(), validate=True)
    except (NotBase64, ValueError):
        return None
    return raw.hex() if len(raw) == _LENGTHS[kind] else None


def verify(announced: Announced, body: bytes, trailers: Mapping[str, str]) -> None:
    """Check a body that was read whole. Raises ChecksumMismatch, and S3Error for a missing trailer."""
    for kind, wanted in announced.expected(trailers).items():
        found = hex_digest(kind, body)
        if found != wanted:
            raise ChecksumMismatch(kind, announced=wanted, received=found)


def checksum_fields(attributes: Attributes) -> list[tuple[str, str]]:
    """What a client that asks for checksums is told of an object, as header fields."""
    shown = [(f"{_FIELD}{kind}", told(value)) for kind, value in known(attributes)]
    if shown:
        shown.append((f"{_FIELD}type", checksum_type(attributes)))
    return shown


def checksum_elements(attributes: Attributes) -> list[str]:
    """An object's checksums and their type as elements of a document."""
    shown = digest_elements(attributes.digests, DIGEST_BYTES)
    if shown:
        shown.append(element("ChecksumType", checksum_type(attributes)))
    return shown


def digest_elements(digests: Mapping[str, str], kinds: Iterable[str]) -> list[str]:
    """An element for each of those kinds of which there is a digest."""
    return [element(f"Checksum{kind.upper()}", told(digests[kind])) for kind in kinds if digests.get(kind)]


def known(attributes: Attributes) -> Iterable[tuple[str, str]]:
    """The kinds of S3's checksums that an object has, with their kept digests."""
    return [(kind, value) for kind, value in attributes.digests.items() if kind in DIGEST_BYTES]


def checksum_type(attributes: Attributes) -> str:
    """Whether an object's checksums are of its bytes, or of its parts' checksums."""
    return "COMPOSITE" if any("-" in value for _, value in known(attributes)) else "FULL_OBJECT"


def told(value: str) -> str:
    """A kept digest as clients read it: base64, and the number of parts where it is of parts."""
    digest, dash, parts = value.partition("-")
    return f"{b64encode(bytes.fromhex(digest)).decode('ascii')}{dash}{parts}"


def _trailing_kind(headers: Mapping[str, str]) -> str:
    """The kind of checksum that `x-amz-trailer` promises; empty for none."""
    promised = [name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()]
    kinds = [name for name in promised if name.startswith(_FIELD)]
    if not kinds:
        return ""
    if len(kinds) > 1 or kinds[0] not in _FIELDS:
        raise S3Error("InvalidRequest", f"The trailer {kinds[-1][:60]} is not one that is expected.")
    return _FIELDS[kinds[0]]


def _check_algorithm(name: str, kind: str) -> None:
    """`x-amz-sdk-checksum-algorithm` names the checksum that must then be there."""
    if not name:
        return
    if parse_algorithm(name) != kind:
        text = (
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* "
            "or x-amz-trailer headers were found."
        )
        raise S3Error("InvalidRequest", text)


def _parse(kind: str, value: str) -> str:
    digest = read_digest(kind, value)
    if digest is None:
        raise S3Error("InvalidRequest", f"Value for {_FIELD}{kind} header is invalid.")
    return digest
