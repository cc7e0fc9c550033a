"""Buckets through S3: created, asked about, destroyed, and the few settings that have an effect here."""

import re
from typing import Final

from aisle.api.gate import Action
from aisle.api.s3.acls import ROOT_ID, acl_document, acl_of_document, acl_of_headers, owner_id
from aisle.api.s3.call import XML_BYTES_MAX, Level, S3Call
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import CONTENT_TYPE, element, parse_xml, xml_answer
from aisle.errors import BucketExists, BucketNotEmpty, InvalidName
from aisle.gateway.buckets import Buckets
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import parse_bucket

REGION: Final = "us-east-1"
"""The region that buckets are said to be in: clients that ask sign for it afterwards."""

# Amazon's rules for new buckets. AIStore's are wider: what the native API creates is reached here too.
_CREATABLE: Final = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
_NOT_IN_NAMES: Final = ("..", ".-", "-.")


class BucketOperations:
    """Handlers of the verbs on buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        level = Level.BUCKET
        return [
            Operation("PUT", level, "", Action.CREATE_BUCKET, self.create, on_missing=True),
            Operation("HEAD", level, "", Action.HEAD_BUCKET, self.head),
            Operation("DELETE", level, "", Action.DESTROY_BUCKET, self.delete),
            Operation("GET", level, "location", Action.HEAD_BUCKET, self.location),
            Operation("GET", level, "versioning", Action.HEAD_BUCKET, self.versioning),
            Operation("PUT", level, "versioning", Action.PATCH, self.set_versioning),
            Operation("GET", level, "acl", Action.HEAD_BUCKET, self.acl),
            Operation("PUT", level, "acl", Action.SET_BUCKET_ACL, self.set_acl),
        ]

    async def create(self, call: S3Call) -> Response:
        """Create the bucket; whoever does so owns it. The region that is asked for makes no difference."""
        _check_name(call.name)
        acl = acl_of_headers(call.headers, call.principal.id or ROOT_ID) or "private"
        if call.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
            raise S3Error("NotImplemented", "Object Lock is not implemented.")
        if call.request.body.length != 0:
            await _check_configuration(call)
        if call.info is not None:
            raise _exists(call, call.info)
        try:
            bucket = parse_bucket(call.name)
            await self._buckets.create(bucket, owner=call.principal.id, acl=acl)
        except InvalidName as error:
            raise S3Error("InvalidBucketName", str(error), BucketName=call.name) from error
        except BucketExists as error:
            # Created by somebody else since it was looked for.
            raise _exists(call, self._buckets.find(bucket)) from error
        return Response(200, [("Location", f"/{call.name}")])

    def head(self, call: S3Call) -> Response:
        """Tell that the bucket is there."""
        call.bucket()
        return Response(200, [("x-amz-bucket-region", REGION), CONTENT_TYPE])

    async def delete(self, call: S3Call) -> Response:
        """Destroy the bucket, if it holds nothing."""
        try:
            await self._buckets.destroy_empty(call.bucket().bucket)
        except BucketNotEmpty as error:
            raise S3Error("BucketNotEmpty", BucketName=call.name) from error
        return Response(204)

    def location(self, call: S3Call) -> Response:
        """Where the bucket is: in Amazon's first region, which has no name here."""
        call.bucket()
        return xml_answer("LocationConstraint", [])

    def versioning(self, call: S3Call) -> Response:
        """Whether writes of an object are counted in its version."""
        is_on = call.bucket().properties.versioning.enabled
        return xml_answer("VersioningConfiguration", [element("Status", "Enabled" if is_on else "Suspended")])

    async def set_versioning(self, call: S3Call) -> Response:
        """Count the writes of objects, or stop it."""
        asked = await call.read_xml("VersioningConfiguration")
        status = asked.value("Status")
        if status not in ("Enabled", "Suspended"):
            raise S3Error("IllegalVersioningConfigurationException", f'"{status[:80]}" is no status')
        if asked.value("MfaDelete", "Disabled") != "Disabled":
            raise S3Error("NotImplemented", "MFA Delete is not implemented.")
        changes: dict[str, object] = {"versioning": {"enabled": status == "Enabled"}}
        await self._buckets.set_properties(call.bucket().bucket, changes)
        return Response(200)

    def acl(self, call: S3Call) -> Response:
        """Who may do what, as grants."""
        info = call.bucket()
        return xml_answer("AccessControlPolicy", acl_document(owner_id(info), info.acl))

    async def set_acl(self, call: S3Call) -> Response:
        """Give the bucket one of the canned ACLs, named in a header or spelled out in grants."""
        info = call.bucket()
        acl = acl_of_headers(call.headers, owner_id(info))
        if not acl:
            acl = acl_of_document(await call.read_xml("AccessControlPolicy"), owner_id(info))
        await self._buckets.set_acl(info.bucket, acl)
        return Response(200)


def _check_name(name: str) -> None:
    if not _CREATABLE.fullmatch(name) or any(pair in name for pair in _NOT_IN_NAMES):
        raise S3Error("InvalidBucketName", BucketName=name[:80])


async def _check_configuration(call: S3Call) -> None:
    """Refuse what a new bucket cannot be; any region is accepted."""
    body = await call.read_body()
    if not body.strip():
        return
    asked = parse_xml(body, "CreateBucketConfiguration", bytes_max=XML_BYTES_MAX)
    if asked.first("Bucket") is not None:
        raise S3Error("NotImplemented", "Directory buckets are not implemented.")
    if asked.first("Tags") is not None:
        raise S3Error("NotImplemented", "Tags of buckets are not implemented.")


def _exists(call: S3Call, present: BucketInfo) -> S3Error:
    is_own = present.bucket.provider == "ais" and not present.bucket.namespace
    is_theirs = is_own and present.owner == call.principal.id
    return S3Error("BucketAlreadyOwnedByYou" if is_theirs else "BucketAlreadyExists", BucketName=call.name)
