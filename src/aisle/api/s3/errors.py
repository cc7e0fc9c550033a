"""Errors as S3 shows them: a code, its status, and a document with resource and request id.

`TABLE` leads from the classes of `aisle.errors` to codes; an error's own class is looked up first,
then its base classes. What only this dialect tells apart is raised by its handlers as `S3Error` with
the code itself. `CODES` knows the status and the usual words of every code that is ever sent.
"""

from collections.abc import Mapping
from typing import Final

from aisle import errors
from aisle.api.s3.xml import CONTENT_TYPE, HEADER, MalformedXML, element, readable
from aisle.api.urls import shown_path
from aisle.errors import AisleError
from aisle.httpd.request import Request
from aisle.httpd.response import Response

RETRY_AFTER_S: Final = 1
"""When to come back after 503, seconds: queues are short."""

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs."),
    "AccessDenied": (403, "Access Denied"),
    "AmbiguousBucketName": (409, "Several buckets of different providers have this name."),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
    "AuthorizationQueryParametersError": (400, "The authorization parameters of the query are malformed."),
    "BadDigest": (400, "The Content-MD5 or checksum that you specified did not match what we received."),
    "BadGateway": (502, "The source of this object failed."),
    "BucketAlreadyExists": (409, "The requested bucket name is not available; choose another one."),
    "BucketAlreadyOwnedByYou": (409, "The bucket that you tried to create exists, and you own it."),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size."),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalVersioningConfigurationException": (400, "The versioning configuration is invalid."),
    "IncompleteBody": (400, "You did not provide the number of bytes that Content-Length announced."),
    "InsufficientStorage": (507, "The storage is full; reads and deletes go on."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The access key ID that you provided does not exist here."),
    "InvalidArgument": (400, "Invalid argument."),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidLocationConstraint": (400, "The specified location constraint is not valid."),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object."),
    "InvalidPart": (400, "One or more of the specified parts could not be found, or an ETag differs."),
    "InvalidPartNumber": (416, "The requested part number is not satisfiable."),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range is not satisfiable."),
    "InvalidRequest": (400, "The request is not valid."),
    "InvalidStorageClass": (400, "The storage class that you specified is not valid."),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidURI": (400, "The specified URI couldn't be parsed."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate."),
    "MaxMessageLengthExceeded": (400, "Your request was too large."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": (400, "Request body is empty."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchObjectLockConfiguration": (404, "The object has no object lock configuration."),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (404, "The upload does not exist: its ID is wrong, or it was aborted or completed."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotFound": (404, "What the request names does not exist."),
    "NotImplemented": (501, "This functionality is not implemented."),
    "NotModified": (304, "The object was not modified."),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OperationAborted": (409, "A conflicting operation is in progress against this resource. Try again."),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PreconditionFailed": (412, "At least one of the preconditions you specified did not hold."),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestTimeTooSkewed": (403, "The request time and the server's time differ too much."),
    "ServerSideEncryptionConfigurationNotFoundError": (404, "The encryption configuration was not found"),
    "ServiceUnavailable": (503, "Service is unable to handle request. Try again."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the one you provided.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentChecksumMismatch": (400, "The Content-SHA256 you specified did not match what we received"),
    "XAmzContentSHA256Mismatch": (400, "The Content-SHA256 you specified did not match what we received"),
}
"""Code to status and usual words."""


class S3Error(AisleError):
    """A refusal that only S3 tells apart; `code` is a key of `CODES`.

    Without a text of its own the code's usual words are shown. `details` are further elements of the
    document, such as `BucketName`; `headers` go with the answer.
    """

    def __init__(self, code: str, text: str = "", **details: str) -> None:
        super().__init__(text or CODES[code][1])
        self.code = code
        self.details = details
        self.headers: list[tuple[str, str]] = []


TABLE: Final[Mapping[type[AisleError], str]] = {
    errors.BadRequest: "InvalidRequest",
    errors.InvalidName: "InvalidArgument",
    errors.InvalidProvider: "InvalidArgument",
    MalformedXML: "MalformedXML",
    errors.ChecksumMismatch: "BadDigest",
    errors.SignedHashMismatch: "XAmzContentSHA256Mismatch",
    errors.RequestAborted: "IncompleteBody",
    errors.BodyTooLarge: "EntityTooLarge",
    errors.InvalidPart: "InvalidPart",
    errors.InvalidPartOrder: "InvalidPartOrder",
    errors.NotFound: "NotFound",
    errors.BucketNotFound: "NoSuchBucket",
    errors.ObjectNotFound: "NoSuchKey",
    errors.UploadNotFound: "NoSuchUpload",
    errors.Conflict: "OperationAborted",
    errors.BucketExists: "BucketAlreadyExists",
    errors.BucketNotEmpty: "BucketNotEmpty",
    errors.ConditionFailed: "PreconditionFailed",
    errors.RangeNotSatisfiable: "InvalidRange",
    errors.Denied: "AccessDenied",
    errors.MalformedCredentials: "AuthorizationHeaderMalformed",
    errors.MalformedPresigned: "AuthorizationQueryParametersError",
    errors.UnknownAccessKey: "InvalidAccessKeyId",
    errors.SignatureMismatch: "SignatureDoesNotMatch",
    errors.ClockSkewed: "RequestTimeTooSkewed",
    errors.TokenExpired: "ExpiredToken",
    errors.Unsupported: "NotImplemented",
    errors.Unavailable: "ServiceUnavailable",
    errors.TooBusy: "SlowDown",
    errors.OutOfSpace: "InsufficientStorage",
    errors.SourceFailed: "BadGateway",
    AisleError: "InternalError",
}
"""What the errors of `aisle.errors` are called here."""


def code_of(error: AisleError) -> str:
    """The S3 code of an error."""
    if isinstance(error, S3Error):
        return error.code
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def s3_refusal(error: AisleError, request: Request) -> Response:
    """The S3 answer to an error; for HEAD without a document."""
    code = code_of(error)
    status, _ = CODES[code]
    headers = [CONTENT_TYPE, ("x-amz-request-id", request.request_id), *_fields(error, status)]
    if request.method == "HEAD" or status == 304:
        return Response(status, headers)
    return Response(status, headers, error_document(error, request))


def error_document(error: AisleError, request: Request) -> bytes:
    """The document that tells of an error; also for those that are found when the head has left."""
    details = error.details if isinstance(error, S3Error) else {}
    told = {
        "Code": code_of(error),
        "Message": str(error),
        **details,
        "Resource": shown_path(request.path),
        "RequestId": request.request_id,
    }
    inner = "".join(element(name, readable(text)) for name, text in told.items())
    return f"{HEADER}<Error>{inner}</Error>".encode()


def _fields(error: AisleError, status: int) -> list[tuple[str, str]]:
    if isinstance(error, S3Error):
        return error.headers
    if isinstance(error, errors.RangeNotSatisfiable):
        return [("Content-Range", f"bytes */{error.size}")]
    if status == 503:
        return [("Retry-After", str(RETRY_AFTER_S))]
    return []
