"""What a copy copies from: the header `x-amz-copy-source`, and the object that it means."""

from typing import Final

from aisle.api.gate import Action
from aisle.api.s3.acls import check_owner
from aisle.api.s3.call import S3Call, parse_s3_key
from aisle.api.s3.errors import S3Error
from aisle.api.s3.names import S3Names
from aisle.api.urls import decode_path
from aisle.errors import BadRequest
from aisle.target.copying import Place

COPY_SOURCE: Final = "x-amz-copy-source"
_CURRENT_VERSION: Final = b"null"


class CopySources:
    """Finds the objects that copies name as their sources."""

    def __init__(self, names: S3Names) -> None:
        self._names = names

    def find(self, call: S3Call) -> Place:
        """The bucket and key that a call's header names, if the caller may read there.

        Raises S3Error InvalidArgument, NoSuchBucket, NoSuchVersion, and Denied. Whether there is such an
        object is not looked up.
        """
        name, key = parse_copy_source(call.headers[COPY_SOURCE])
        try:
            bucket = self._names.called(name)
            if bucket is None:
                raise S3Error("NoSuchBucket", BucketName=name)
        except S3Error:
            if not call.principal.is_known:
                # Strangers learn nothing of which buckets there are.
                call.check(Action.GET, None)
            raise
        call.check(Action.GET, bucket)
        check_owner(bucket, call.headers, "x-amz-source-expected-bucket-owner")
        return Place(bucket, key)


def parse_copy_source(text: str) -> tuple[str, bytes]:
    """The bucket's name and the key of `/BUCKET/KEY` or `BUCKET/KEY`, percent-encoded as in a path.

    One slash in front is not part of the name. Raises S3Error InvalidArgument for what names no object,
    and NoSuchVersion for any version but the current one.
    """
    path, mark, version = text.encode("latin-1").partition(b"?")
    if mark and version != b"versionId=" + _CURRENT_VERSION:
        if not version.startswith(b"versionId="):
            raise _invalid(text)
        raise S3Error("NoSuchVersion")
    # As at Amazon: s5cmd writes a space as in a query, and whoever means a plus sign encodes it.
    path = path.replace(b"+", b"%20")
    # Some clients encode all of it, the slashes too.
    if b"/" not in path.removeprefix(b"/"):
        path = path.replace(b"%2F", b"/").replace(b"%2f", b"/")
    raw_bucket, _, raw_key = path.removeprefix(b"/").partition(b"/")
    if not raw_bucket or not raw_key:
        raise _invalid(text)
    try:
        name = decode_path(raw_bucket).decode("utf-8")
    except (BadRequest, UnicodeDecodeError) as error:
        raise _invalid(text) from error
    return name, parse_s3_key(raw_key)


def _invalid(text: str) -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        ArgumentName=COPY_SOURCE,
        ArgumentValue=text[:200].encode("latin-1").decode("utf-8", "replace"),
    )
