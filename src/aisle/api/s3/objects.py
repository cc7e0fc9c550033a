"""Objects over S3: all operations on them but uploads in parts; and their attributes, tags and ACLs.

Tags are kept with the object as one field. Access is granted by buckets here, never by single objects:
an object's ACL is shown as its bucket has it, and cannot be changed.
"""

from typing import Final
from urllib.parse import urlencode

import msgspec

from aisle import telemetry
from aisle.api.gate import Action
from aisle.api.s3.acls import acl_document, acl_of_document, acl_of_headers, owner_id
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.checksums import checksum_elements
from aisle.api.s3.copying import CopyingOperation
from aisle.api.s3.dispatch import Operation, S3Part
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import bare_etag
from aisle.api.s3.metadata import STORAGE_CLASS, TAGGING, check_tags, parse_tags
from aisle.api.s3.multidelete import MultiDeleteOperation
from aisle.api.s3.reading import ReadingOperations, check_version, http_date, part_spans
from aisle.api.s3.sources import CopySources
from aisle.api.s3.writing import WritingOperations
from aisle.api.s3.xml import element, group, xml_answer
from aisle.httpd.response import Response
from aisle.model.record import Attributes, Record
from aisle.target.copying import Copier
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects

_WISHES: Final = frozenset({"etag", "checksum", "objectparts", "storageclass", "objectsize"})


def object_parts(
    objects: TargetObjects,
    copier: Copier,
    sources: CopySources,
    counters: telemetry.Telemetry,
    *,
    remote: RemoteObjects,
) -> list[S3Part]:
    """All operations on objects but uploads in parts."""
    copying = CopyingOperation(copier, objects, sources, remote=remote)
    return [
        ReadingOperations(objects, counters),
        WritingOperations(objects, counters, copy=copying.copy),
        MultiDeleteOperation(objects, remote),
        ObjectOperations(objects),
    ]


class ObjectOperations:
    """Handlers of an object's attributes, tags and ACL."""

    def __init__(self, objects: TargetObjects) -> None:
        self._objects = objects

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        return [
            Operation("GET", Level.OBJECT, "attributes", Action.HEAD_OBJECT, self.attributes),
            Operation("GET", Level.OBJECT, "acl", Action.HEAD_OBJECT, self.acl),
            Operation("PUT", Level.OBJECT, "acl", Action.SET_BUCKET_ACL, self.set_acl),
            Operation("GET", Level.OBJECT, "tagging", Action.HEAD_OBJECT, self.tags),
            Operation("PUT", Level.OBJECT, "tagging", Action.UPDATE_OBJECT, self.set_tags),
            Operation("DELETE", Level.OBJECT, "tagging", Action.UPDATE_OBJECT, self.remove_tags),
        ]

    def attributes(self, call: S3Call) -> Response:
        """Those of the object's attributes that a header lists."""
        check_version(call.query)
        listed = call.headers.get("x-amz-object-attributes", "")
        wishes = {wish.strip().lower() for wish in listed.split(",") if wish.strip()}
        if not wishes or wishes - _WISHES:
            text = "Invalid attribute name specified."
            raise S3Error(
                "InvalidArgument", text, ArgumentName="x-amz-object-attributes", ArgumentValue=listed[:80]
            )
        record = self._objects.look_up(call.bucket(), call.key).record
        headers = [("Last-Modified", http_date(record.written_ns // 1_000_000_000))]
        return xml_answer("GetObjectAttributesResponse", _attributes(record, wishes), headers=headers)

    def acl(self, call: S3Call) -> Response:
        """Who may do what: as with the object's bucket."""
        check_version(call.query)
        info = call.bucket()
        self._objects.look_up(info, call.key)
        return xml_answer("AccessControlPolicy", acl_document(owner_id(info), info.acl))

    async def set_acl(self, call: S3Call) -> Response:
        """Accept the ACL that the object has by its bucket, and no other."""
        check_version(call.query)
        info = call.bucket()
        self._objects.look_up(info, call.key)
        acl = acl_of_headers(call.headers, owner_id(info))
        if not acl:
            acl = acl_of_document(await call.read_xml("AccessControlPolicy"), owner_id(info))
        if acl != info.acl:
            raise S3Error("AccessControlListNotSupported", "Access is granted by buckets, not by objects.")
        return Response(200)

    def tags(self, call: S3Call) -> Response:
        """The object's tags."""
        check_version(call.query)
        record = self._objects.look_up(call.bucket(), call.key).record
        tags = parse_tags(record.attributes.fields.get(TAGGING, ""))
        shown = [group("Tag", (element("Key", key), element("Value", value))) for key, value in tags]
        return xml_answer("Tagging", [group("TagSet", shown)])

    async def set_tags(self, call: S3Call) -> Response:
        """Replace the object's tags by those of the body."""
        check_version(call.query)
        root = await call.read_xml("Tagging")
        tag_set = root.first("TagSet")
        if tag_set is None:
            raise S3Error("MalformedXML")  # to be without tags is said by an empty set, or by DELETE
        tags = [(tag.value("Key"), tag.value("Value")) for tag in tag_set.every("Tag")]
        check_tags(tags)
        await self._set_tagging(call, urlencode(tags))
        return Response(200)

    async def remove_tags(self, call: S3Call) -> Response:
        """Leave the object without tags."""
        check_version(call.query)
        await self._set_tagging(call, "")
        return Response(204)

    async def _set_tagging(self, call: S3Call, tagging: str) -> None:
        def changed(present: Attributes) -> Attributes:
            fields = {name: value for name, value in present.fields.items() if name != TAGGING}
            if tagging:
                fields[TAGGING] = tagging
            return msgspec.structs.replace(present, fields=fields)

        await self._objects.change(call.bucket(), call.key, changed)


def _attributes(record: Record, wishes: set[str]) -> list[str]:
    """The elements that were asked for, in Amazon's order; what an object does not have is left out."""
    attributes, shown = record.attributes, []
    if "etag" in wishes:
        shown.append(element("ETag", bare_etag(record)))
    checksums = checksum_elements(attributes)
    if "checksum" in wishes and checksums:
        shown.append(group("Checksum", checksums))
    spans = part_spans(record)
    if "objectparts" in wishes and spans:
        shown.append(group("ObjectParts", [element("PartsCount", str(len(spans)))]))
    if "storageclass" in wishes:
        shown.append(element("StorageClass", attributes.fields.get(STORAGE_CLASS, "STANDARD")))
    if "objectsize" in wishes:
        shown.append(element("ObjectSize", str(record.size)))
    return shown
