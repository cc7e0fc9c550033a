"""Copies within the cluster: no byte passes the client."""

from typing import Final

import msgspec

from aisle.api.s3.call import S3Call
from aisle.api.s3.checksums import DIGEST_BYTES, MD5, checksum_elements, parse_algorithm
from aisle.api.s3.conditions import check_source, write_condition
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.api.s3.metadata import STORAGE_CLASS, TAGGING, kept_metadata, refuse_tags, refuse_unbuilt
from aisle.api.s3.patience import patiently
from aisle.api.s3.sources import CopySources
from aisle.api.s3.times import timestamp
from aisle.api.s3.xml import element, xml_answer
from aisle.httpd.response import Response
from aisle.model.record import Attributes, Record
from aisle.target.copying import Copier, CopyTerms, Place
from aisle.target.objects import TargetObjects
from aisle.target.remote_copying import RemoteCopier
from aisle.target.remote_objects import RemoteObjects

_REPLACE: Final = "REPLACE"
_DIRECTIVES: Final = ("COPY", _REPLACE)
_WEBSITE: Final = "x-amz-website-redirect-location"


class CopyingOperation:
    """Answers a PUT that names a source."""

    def __init__(
        self, copier: Copier, objects: TargetObjects, sources: CopySources, *, remote: RemoteObjects
    ) -> None:
        self._copier = copier
        self._objects = objects
        self._sources = sources
        self._remote = remote
        self._remote_copier = RemoteCopier(remote)

    async def copy(self, call: S3Call) -> Response:
        """Make the source also the object that the path names."""
        headers = call.headers
        refuse_unbuilt(headers)
        to = Place(call.bucket(), call.key)
        source = self._sources.find(call)
        replaces = _directive(call, "x-amz-metadata-directive") == _REPLACE
        replaces_tags = _directive(call, "x-amz-tagging-directive") == _REPLACE
        is_changed = replaces or replaces_tags or STORAGE_CLASS in headers or _WEBSITE in headers
        if not is_changed and source.name == to.name:
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without "
                "changing the object's metadata, storage class, website redirect location or encryption "
                "attributes.",
            )
        copying = self._copied(call, source, to, replaces=replaces, replaces_tags=replaces_tags)
        if source.bucket.remote is None and to.bucket.remote is None:
            return await copying
        # All of a large object may have to come from a slow source, or to reach one.
        return await patiently(call.request, copying)

    async def _copied(
        self, call: S3Call, source: Place, to: Place, *, replaces: bool, replaces_tags: bool
    ) -> Response:
        headers = call.headers
        if source.bucket.remote is not None:
            await self._remote.cold.fill(source.bucket, source.key)
        record = self._objects.look_up(source.bucket, source.key).record
        # Judged again below with what is then copied; here before anything is read.
        check_source(headers, record)
        if to.bucket.remote is not None:
            refuse_tags(headers if replaces_tags else record.attributes.fields)
        digests = _digests(record, parse_algorithm(headers.get("x-amz-checksum-algorithm", "")))
        terms = CopyTerms(
            attributes=lambda found: _copied(
                call, found, digests, replaces=replaces, replaces_tags=replaces_tags
            ),
            digests=digests,
            condition=write_condition(headers),
        )
        if to.bucket.remote is None:
            copy = await self._copier.copy(source, to, terms)
        else:
            copy = await self._remote_copier.copy(source, to, terms)
        return xml_answer("CopyObjectResult", _result(copy))


def _directive(call: S3Call, field: str) -> str:
    value = call.headers.get(field, "COPY")
    if value not in _DIRECTIVES:
        raise S3Error("InvalidArgument", "Unknown directive.", ArgumentName=field, ArgumentValue=value[:80])
    return value


def _digests(record: Record, algorithm: str) -> tuple[str, ...]:
    """The digests that the copy has to be given: those that the source's cannot be carried over for."""
    present = record.attributes.digests
    kinds = [kind for kind, value in present.items() if kind in DIGEST_BYTES and "-" in value]
    if algorithm:
        kinds = [] if _is_of_bytes(present.get(algorithm, "")) else [algorithm]
    if MD5 not in present:
        kinds.append(MD5)
    return tuple(kinds)


def _is_of_bytes(value: str) -> bool:
    return bool(value) and "-" not in value


def _copied(
    call: S3Call, source: Record, computed: tuple[str, ...], *, replaces: bool, replaces_tags: bool
) -> Attributes:
    """What is said about the copy, checksum and version aside.

    Raises S3Error for a source that is not as the request wants it.
    """
    check_source(call.headers, source)
    told_now, before = kept_metadata(call.headers), source.attributes
    fields = dict(told_now.fields if replaces else before.fields)
    # These follow rules of their own: the directive is about the other metadata.
    _carry(fields, TAGGING, told_now.fields if replaces_tags else before.fields)
    _carry(fields, STORAGE_CLASS, told_now.fields)
    _carry(fields, _WEBSITE, told_now.fields)
    # A digest that is computed anew must not be taken from a source that was written again meanwhile.
    digests = {
        kind: value
        for kind, value in before.digests.items()
        if kind not in computed and (kind == MD5 or _is_of_bytes(value))
    }
    algorithm = parse_algorithm(call.headers.get("x-amz-checksum-algorithm", ""))
    if algorithm:
        digests = {kind: value for kind, value in digests.items() if kind in (MD5, algorithm)}
    return msgspec.structs.replace(
        before,
        content_type=told_now.content_type if replaces else before.content_type,
        user=told_now.user if replaces else before.user,
        fields=fields,
        digests=digests,
        etag="",
        upload="",
    )


def _carry(fields: dict[str, str], name: str, origin: dict[str, str]) -> None:
    fields.pop(name, None)
    if name in origin:
        fields[name] = origin[name]


def _result(copy: Record) -> list[str]:
    children = [element("LastModified", timestamp(copy.written_ns)), element("ETag", s3_etag(copy))]
    return children + checksum_elements(copy.attributes)
