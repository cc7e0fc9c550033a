"""What a writer says about an object beside its bytes, and how readers are told.

Kept as it came: the content type, the fields of `FIELDS`, and the user's own `x-amz-meta-*`. What
asks for a property that objects here do not have, such as encryption with a key of the client's, is
refused: to store the object without it would be worse.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import readable
from aisle.model.record import Attributes

DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"
"""What Amazon calls an object whose writer did not say."""
USER_BYTES_MAX: Final = 2048
"""All names and values of an object's user metadata together."""
TAGGING: Final = "x-amz-tagging"
STORAGE_CLASS: Final = "x-amz-storage-class"
FIELDS: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    STORAGE_CLASS,
    "x-amz-website-redirect-location",
    TAGGING,
)
"""Header fields that are kept with an object, in the order in which readers see them."""
_USER: Final = "x-amz-meta-"
_STORAGE_CLASSES: Final = frozenset(
    [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "SNOW",
        "EXPRESS_ONEZONE",
        "FSX_OPENZFS",
    ]
)
_CANNED_ACLS: Final = frozenset(
    [
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    ]
)
_REFUSED: Final = (
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-grant-",
    "x-amz-write-offset-bytes",
)
TAGS_MAX: Final = 10
_TAG_KEY_CHARS_MAX: Final = 128
_TAG_VALUE_CHARS_MAX: Final = 256


class Kept(NamedTuple):
    """What is kept of a write's headers."""

    content_type: str
    user: dict[str, str]
    fields: dict[str, str]


def kept_metadata(headers: Mapping[str, str]) -> Kept:
    """What a write's headers say about the object.

    Raises S3Error MetadataTooLarge, InvalidStorageClass, InvalidArgument, InvalidTag, NotImplemented.
    """
    user: dict[str, str] = {}
    fields: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_USER):
            user[name[len(_USER) :]] = value
        elif name in FIELDS:
            fields[name] = value
    if user:
        _check_user(user)
    if fields:
        _check_fields(fields)
    acl = headers.get("x-amz-acl")
    if acl is not None and acl not in _CANNED_ACLS:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=acl[:80])
    return Kept(headers.get("content-type", ""), user, fields)


def refuse_tags(fields: Mapping[str, str]) -> None:
    """Raise S3Error for a write into a remote bucket with tags, which its source would not get."""
    if fields.get(TAGGING):
        raise S3Error("NotImplemented", "Object tags are not implemented for remote buckets.")


def refuse_unbuilt(headers: Mapping[str, str]) -> None:
    """Raise S3Error NotImplemented for headers that ask for what objects here cannot have."""
    for name in headers:
        if name.startswith(_REFUSED):
            text = f"A header you provided implies functionality that is not implemented: {name}"
            raise S3Error("NotImplemented", text, Header=name)


def told_metadata(attributes: Attributes) -> list[tuple[str, str]]:
    """The header fields by which readers are told what the writer said."""
    told = [("Content-Type", attributes.content_type or DEFAULT_CONTENT_TYPE)]
    fields = attributes.fields
    for name in FIELDS if fields else ():
        value = fields.get(name)
        if value is None or name == TAGGING:
            continue
        told.append((name if name.startswith("x-") else name.title(), value))
    if TAGGING in fields:
        told.append(("x-amz-tagging-count", str(len(parse_tags(fields[TAGGING])))))
    told += [(_USER + name, value) for name, value in attributes.user.items()]
    return told


def parse_tags(text: str) -> list[tuple[str, str]]:
    """The tags of `key=value&…`. Raises S3Error InvalidTag for what no set of tags can be."""
    try:
        tags = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=TAGS_MAX)
    except ValueError as error:
        raise S3Error("InvalidTag", "The tagging is malformed, or has too many tags.") from error
    check_tags(tags)
    return tags


def check_tags(tags: list[tuple[str, str]]) -> None:
    """Raise S3Error InvalidTag for tags that are too many, too long, or have a key twice."""
    if len(tags) > TAGS_MAX:
        raise S3Error("InvalidTag", f"Object tags cannot be greater than {TAGS_MAX}")
    if len({key for key, _ in tags}) != len(tags):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    for key, value in tags:
        if not 0 < len(key) <= _TAG_KEY_CHARS_MAX or len(value) > _TAG_VALUE_CHARS_MAX:
            raise S3Error("InvalidTag", "A tag's key or value is empty or too long.")


def _check_user(user: Mapping[str, str]) -> None:
    # One character is one byte as it came: header fields are Latin-1.
    size = sum(len(name) + len(value) for name, value in user.items())
    if size > USER_BYTES_MAX:
        raise S3Error("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(USER_BYTES_MAX))


def _check_fields(fields: dict[str, str]) -> None:
    storage_class = fields.get(STORAGE_CLASS)
    if storage_class is not None:
        if storage_class not in _STORAGE_CLASSES:
            raise S3Error("InvalidStorageClass", StorageClassRequested=storage_class[:80])
        if storage_class == "STANDARD":
            del fields[STORAGE_CLASS]  # as if nothing had been said: readers are not told either
    if TAGGING in fields:
        tags = parse_tags(fields[TAGGING])
        _check_readable(tags)
        if not tags:
            del fields[TAGGING]
    if "content-encoding" in fields:
        coding = _own_coding(fields.pop("content-encoding"))
        if coding:
            fields["content-encoding"] = coding


def _check_readable(tags: list[tuple[str, str]]) -> None:
    """Raise S3Error InvalidTag for tags that a header can give and no document can tell again."""
    if any(readable(text) != text for tag in tags for text in tag):
        raise S3Error("InvalidTag", "A tag's key or value has a character that is not allowed.")


def _own_coding(encoding: str) -> str:
    """A Content-Encoding without `aws-chunked`, which is how the body travelled, not what the object is."""
    if "aws-chunked" not in encoding.lower():
        return encoding
    codings = [coding.strip() for coding in encoding.split(",")]
    return ",".join(coding for coding in codings if coding and coding.lower() != "aws-chunked")
