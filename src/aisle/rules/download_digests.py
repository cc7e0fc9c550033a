"""What a source's headers say about the digests of an object, and which of them is worth computing.

Servers have many ways to say it: RFC 1864 (`Content-MD5`), RFC 3230 (`Digest`), RFC 9530
(`Repr-Digest`, `Content-Digest`), Google's `x-goog-hash`, Amazon's `x-amz-checksum-*` and entity tags
that are MD5s, and the Hugging Face hub's `X-Linked-Etag`. All of it is kept; one digest is checked, the
cheapest, because each is as good against damage on the way and an MD5 alone halves the speed of a large
file.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping

from aisle.model.digests import GIT_BLOB, git_blob_kind, plain_kind

_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "crc32": 4, "crc32c": 4, "crc64nvme": 8}
# Names in `Digest`, `Repr-Digest`, `Content-Digest` and `x-goog-hash`.
_ALGORITHMS = {"md5": "md5", "sha": "sha1", "sha-256": "sha256", "sha-512": "sha512", "crc32c": "crc32c"}
_DICTIONARY_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?: *;.*)?")
_HEX = re.compile(r"[0-9a-fA-F]+")

# The cheapest first. (GB/s on one core: CRC-64 15, CRC-32C 3.6, CRC-32 1.9, SHA-1 1.1, SHA-256 1.0, SHA-512
# and MD5 0.5.)
KINDS = ("crc64nvme", "crc32c", "crc32", "sha1", GIT_BLOB, "sha256", "sha512", "md5")
"""The kinds of digests that are known, the cheapest first."""

TRIGGERS = frozenset(
    {
        "Content-MD5",
        "Digest",
        "Repr-Digest",
        "Content-Digest",
        "x-goog-hash",
        "x-amz-checksum-crc32",
        "x-amz-checksum-crc32c",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-sha1",
        "x-amz-checksum-sha256",
        "x-amz-request-id",
        "Server",
        "X-Repo-Commit",
    }
)
"""An answer with none of these fields announces nothing. (`Server` is only kept of Amazon's.)"""

FIELDS = (
    *sorted(TRIGGERS - {"Server"}),
    "x-amz-checksum-type",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-goog-stored-content-encoding",
    "X-Linked-Etag",
    "X-Linked-Size",
)
"""The fields that matter here, by their usual names."""

CARRIED = ("X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit")
"""What an answer that redirects says about the object to which it leads."""


def announced(fields: Mapping[str, str], *, status: int, size: int | None) -> dict[str, str]:
    """Digests of the whole object that these headers of an unencoded answer give: lower-case hex by kind.

    `size` is the object's, in bytes, if it is known: git's digest of a blob begins with it.
    """
    if fields.keys().isdisjoint(TRIGGERS):
        return {}
    found = _from_entity_tags(fields, size)
    for field, read in _ABOUT_OBJECT.items():
        if field in fields:
            found.update(read(fields[field]))
    if not _is_unpacked_on_the_way(fields) and "x-goog-hash" in fields:
        found.update(_pairs(fields["x-goog-hash"]))
    if status == 200:  # these are about the body, which is the object only then
        for field, read in _ABOUT_BODY.items():
            if field in fields:
                found.update(read(fields[field]))
        found.update(_amazon_checksums(fields))
    return found


def to_check(found: Mapping[str, str]) -> dict[str, str]:
    """The one of these digests that is checked, or none if there is none."""
    kinds = {plain_kind(kind): kind for kind in found}
    cheapest = next((kinds[kind] for kind in KINDS if kind in kinds), None)
    return {cheapest: found[cheapest]} if cheapest else {}


def wanted_digest(checksum: str, size: int | None) -> dict[str, str]:
    """A digest given as `KIND:HEX`, by its kind, for an object of `size` bytes if that is known."""
    kind, _, digest = checksum.partition(":")
    return sized({kind: digest.lower()}, size)


def sized(digests: Mapping[str, str], size: int | None) -> dict[str, str]:
    """The same digests, now that the object's size is known: git's blob id can be computed then."""
    if size is None or GIT_BLOB not in digests:
        return dict(digests)
    return {git_blob_kind(size) if kind == GIT_BLOB else kind: digest for kind, digest in digests.items()}


def linked_size(fields: Mapping[str, str]) -> int | None:
    """The object's size as the Hugging Face hub tells it beside its redirect."""
    text = fields.get("X-Linked-Size", "") if "X-Repo-Commit" in fields else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _digest(kind: str, text: str) -> dict[str, str]:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return {}
    return {kind: value.hex()} if len(value) == _BYTES[kind] else {}


def _content_md5(text: str) -> dict[str, str]:
    return _digest("md5", text)


def _pairs(text: str) -> dict[str, str]:
    """`NAME=BASE64,…`, names in any case (RFC 3230 and Google)."""
    found: dict[str, str] = {}
    for piece in text.split(","):
        name, _, value = piece.strip().partition("=")
        kind = _ALGORITHMS.get(name.strip().lower())
        if kind is not None:
            found.update(_digest(kind, value))
    return found


def _dictionary(text: str) -> dict[str, str]:
    """`name=:BASE64:;parameters,…`, a structured dictionary of byte sequences (RFC 9530, RFC 8941)."""
    found: dict[str, str] = {}
    for piece in text.split(","):
        member = _DICTIONARY_MEMBER.fullmatch(piece.strip())
        kind = _ALGORITHMS.get(member[1]) if member else None
        if member and kind is not None:
            found.update(_digest(kind, member[2]))
    return found


_ABOUT_OBJECT: dict[str, Callable[[str], dict[str, str]]] = {"Digest": _pairs, "Repr-Digest": _dictionary}
_ABOUT_BODY: dict[str, Callable[[str], dict[str, str]]] = {
    "Content-MD5": _content_md5,
    "Content-Digest": _dictionary,
}


def _is_unpacked_on_the_way(fields: Mapping[str, str]) -> bool:
    # Google tells the digests of what it stores, also when it unpacks that for whoever takes no gzip.
    return fields.get("x-goog-stored-content-encoding", "identity").lower() not in ("", "identity")


def _amazon_checksums(fields: Mapping[str, str]) -> dict[str, str]:
    # Of an object uploaded in parts it may be a checksum of checksums.
    if fields.get("x-amz-checksum-type", "").upper() == "COMPOSITE":
        return {}
    found: dict[str, str] = {}
    for kind in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"):
        field = f"x-amz-checksum-{kind}"
        if field in fields:
            found.update(_digest(kind, fields[field]))
    return found


def _from_entity_tags(fields: Mapping[str, str], size: int | None) -> dict[str, str]:
    """Entity tags that are digests: which they are depends on who sent them."""
    etag = _bare(fields.get("ETag", ""))
    if "X-Repo-Commit" in fields:
        linked = _bare(fields.get("X-Linked-Etag", "")) or etag
        if _is_hex(linked, 64) and "X-Linked-Etag" in fields:
            return {"sha256": linked.lower()}
        if _is_hex(linked, 40) and size is not None:
            return {git_blob_kind(size): linked.lower()}
        return {}
    is_amazon = "x-amz-request-id" in fields or "Server" in fields
    return {"md5": etag.lower()} if is_amazon and _is_hex(etag, 32) and _is_plain_storage(fields) else {}


def _is_plain_storage(fields: Mapping[str, str]) -> bool:
    """Whether S3's entity tag of an object that was uploaded at once is its MD5."""
    encryption = fields.get("x-amz-server-side-encryption", "").lower()
    return (
        not encryption.startswith("aws:")
        and "x-amz-server-side-encryption-customer-algorithm" not in fields
        and fields.get("x-amz-storage-class", "").upper() != "EXPRESS_ONEZONE"
    )


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX.fullmatch(text) is not None
