"""DeleteObjects: up to 1,000 objects in one request, each with its own result, in the order asked for."""

from collections.abc import Callable
from typing import Final, NamedTuple

from aisle.api.gate import Action
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.conditions import Meant, removal_of
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import CODES, S3Error, code_of
from aisle.api.s3.xml import Element, MalformedXML, element, group, xml_answer
from aisle.errors import AisleError, ObjectNotFound
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import OBJECT_NAME_BYTES_MAX
from aisle.model.record import Condition, Record
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects

KEYS_MAX: Final = 1000
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""1,000 of the longest names, each character written as a reference, and what stands around them."""
_SHOWN_CHARACTERS: Final = 80


class Removal(NamedTuple):
    """One of the objects to be removed."""

    key: bytes
    condition: Callable[[Record], Condition] | None
    """What must hold of it; None if any will do."""
    version: str
    """The id that the request gives, to be told again; empty if it gives none."""
    refused: S3Error | None
    """Why it cannot be removed, whatever there is."""
    must_exist: bool
    """That there is no such object is not as good: its entity tag is named."""


class MultiDeleteOperation:
    """Handler of `POST /BUCKET?delete`."""

    def __init__(self, objects: TargetObjects, remote: RemoteObjects) -> None:
        self._objects = objects
        self._remote = remote

    def operations(self) -> list[Operation]:
        """Its row of the table."""
        return [Operation("POST", Level.BUCKET, "delete", Action.DELETE_OBJECT, self.remove)]

    async def remove(self, call: S3Call) -> Response:
        """Remove the objects that the body names; missing ones count as removed."""
        root = await call.read_xml("Delete", limit=BODY_BYTES_MAX)
        removals = [_parse(each) for each in root.every("Object")]
        if not 0 < len(removals) <= KEYS_MAX:
            raise MalformedXML(f"Delete has {len(removals)} objects, between 1 and {KEYS_MAX} are allowed")
        is_quiet = root.value("Quiet").strip().lower() == "true"
        outcomes = await self._outcomes(call.bucket(), removals)
        shown = []
        for removal, error in zip(removals, outcomes, strict=True):
            named = [element("Key", removal.key.decode())]
            if removal.version:
                named.append(element("VersionId", removal.version[:_SHOWN_CHARACTERS]))
            if error is not None:
                code = code_of(error)
                told = str(error) if isinstance(error, S3Error) else CODES[code][1]
                shown.append(group("Error", (*named, element("Code", code), element("Message", told))))
            elif not is_quiet:
                shown.append(group("Deleted", named))
        return xml_answer("DeleteResult", shown)

    async def _outcomes(self, bucket: BucketInfo, removals: list[Removal]) -> list[AisleError | None]:
        """For each removal None, or why it was not done."""
        outcomes: list[AisleError | None] = [removal.refused for removal in removals]
        plain = [n for n, removal in enumerate(removals) if not removal.refused and not removal.condition]
        removers = self._objects if bucket.remote is None else self._remote
        done = await removers.remove_all(bucket, [removals[n].key for n in plain])
        for number, error in zip(plain, done, strict=True):
            outcomes[number] = error
        for number, removal in enumerate(removals):
            if removal.refused is None and removal.condition:
                outcomes[number] = await self._remove_if(bucket, removal, removal.condition)
        return outcomes

    async def _remove_if(
        self, bucket: BucketInfo, removal: Removal, condition: Callable[[Record], Condition]
    ) -> AisleError | None:
        if bucket.remote is not None:
            return S3Error("NotImplemented", "Conditional deletes are not implemented for remote buckets.")
        try:
            await self._objects.remove_if(bucket, removal.key, condition)
        except ObjectNotFound:
            return S3Error("NoSuchKey") if removal.must_exist else None
        except AisleError as error:
            return error
        return None


def _parse(found: Element) -> Removal:
    name = found.first("Key")
    if name is None:
        raise MalformedXML("an Object has no Key")
    key = name.text.encode()
    version = found.value("VersionId").strip()
    refused, condition = None, None
    if not key:
        refused = S3Error("InvalidArgument", "The key is empty.")
    elif len(key) > OBJECT_NAME_BYTES_MAX:
        refused = S3Error("KeyTooLongError")
    elif version not in ("", "null"):
        refused = S3Error("NoSuchVersion")
    told = Meant(*(found.value(name).strip() or None for name in ("ETag", "LastModifiedTime", "Size")))
    try:
        condition = removal_of(told)
    except S3Error as error:
        refused = refused or error
    return Removal(key, condition, version, refused, told.etag is not None)
