"""The one table from errors to what clients see, and how the native dialect writes them.

An error's own class is looked up first, then its base classes: a test proves that every class of the
tree finds a row. Type codes are AIStore's (ais-native-api.md §9).
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from aisle import errors
from aisle.api.urls import shown_path
from aisle.errors import AisleError
from aisle.httpd.request import Request
from aisle.httpd.response import Response


class Shown(NamedTuple):
    """How an error of a class is shown. `tcode` is empty where AIStore sends none."""

    status: int
    tcode: str = ""
    by_target: bool = False
    """AIStore's target answers, not its gateway: the message and `node` say so."""


TABLE: Final[Mapping[type[AisleError], Shown]] = {
    errors.BadRequest: Shown(400),
    errors.InvalidName: Shown(400),
    errors.InvalidProvider: Shown(400, "ErrInvalidBackendProvider"),
    errors.CloudBucketKept: Shown(405),
    errors.NotRemoteBucket: Shown(400, "ErrNotRemoteBck"),
    # AIStore answers 500 here, which makes the SDK send the same bytes again for a minute and a half.
    errors.ChecksumMismatch: Shown(400, "ErrBadCksum", by_target=True),
    errors.SignedHashMismatch: Shown(400, "ErrBadCksum", by_target=True),
    errors.PromoteSourceInvalid: Shown(400, "errInvalidPromoteSource"),
    errors.RequestAborted: Shown(400),
    errors.BodyTooLarge: Shown(413),
    errors.InvalidPart: Shown(400, by_target=True),
    errors.InvalidPartOrder: Shown(400, by_target=True),
    errors.NotFound: Shown(404, "ErrNotFound"),
    errors.BucketNotFound: Shown(404, "ErrBckNotFound"),
    errors.RemoteBucketNotFound: Shown(404, "ErrRemoteBckNotFound"),
    errors.ObjectNotFound: Shown(404, "ErrNotFound", by_target=True),
    errors.UploadNotFound: Shown(404, "ErrNotFound", by_target=True),
    errors.JobNotFound: Shown(404, "ErrNotFound", by_target=True),
    errors.Conflict: Shown(409),
    errors.BucketExists: Shown(409, "ErrBucketAlreadyExists"),
    errors.BucketNotEmpty: Shown(409),
    errors.ConditionFailed: Shown(412, by_target=True),
    errors.NotYetWritten: Shown(409, "ErrBusy"),
    errors.OnlyHere: Shown(409, "ErrBusy"),
    errors.StaleVersion: Shown(409, "ErrBusy"),
    errors.JobRunning: Shown(400, by_target=True),
    errors.RangeNotSatisfiable: Shown(416, "ErrRangeNotSatisfiable", by_target=True),
    errors.Denied: Shown(403),
    errors.BucketAccessDenied: Shown(403, "ErrBucketAccessDenied"),
    errors.Unauthenticated: Shown(401),
    errors.MalformedCredentials: Shown(401),
    errors.MalformedPresigned: Shown(401),
    errors.UnknownAccessKey: Shown(401),
    errors.SignatureMismatch: Shown(401),
    errors.ClockSkewed: Shown(401),
    errors.RequestExpired: Shown(401),
    errors.TokenExpired: Shown(401),
    # AIStore has no such codes; our own client tells by them what to do.
    errors.SourceDenied: Shown(403, "ErrSourceDenied"),
    errors.HubDenied: Shown(403),
    errors.EgressDenied: Shown(403, "ErrEgressDenied"),
    errors.Unsupported: Shown(501, "ErrUnsupp"),
    errors.MultipleRanges: Shown(416, "ErrUnsupp", by_target=True),
    errors.UnsupportedRange: Shown(400, "ErrUnsupp", by_target=True),
    errors.Unavailable: Shown(503),
    errors.TooBusy: Shown(503, "ErrBusy"),
    errors.NodeUnreachable: Shown(503),
    errors.OutOfSpace: Shown(507, "ErrCapacityExceeded", by_target=True),
    errors.CorruptObject: Shown(500, by_target=True),
    errors.SourceFailed: Shown(502),
    errors.SourceThrottled: Shown(503),
    errors.SourceUnreachable: Shown(502),
    errors.ClusterNotAttached: Shown(502),
    errors.SourceChanged: Shown(502),
    errors.NodeFailed: Shown(502),
    errors.StartError: Shown(500),
    AisleError: Shown(500),
}

RETRY_AFTER_S: Final = 1
"""When to come back after 503: queues are short and a committer is back within a second."""


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """AIStore's error document, in the order of its keys; a missing `tcode` is left out."""

    tcode: str = ""
    message: str | None = None
    method: str | None = None
    url_path: str | None = None
    remote_addr: str | None = None
    caller: str | None = None
    node: str | None = None
    status: int = 0


class NodeNames(NamedTuple):
    """How the node calls itself in messages: `p[id]` as a gateway, `t[id]` as a target."""

    gateway: str
    target: str


def shown(error: AisleError) -> Shown:
    """The table's row for an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def refusal(error: AisleError, request: Request, names: NodeNames) -> Response:
    """The native answer to an error: a JSON document, or for HEAD the same in a header."""
    row = shown(error)
    # What a gateway lets pass, its target reads: a bad wish about an object is the target's finding.
    about_object = type(error) is errors.BadRequest and request.path.startswith(b"/v1/objects/")
    node = names.target if row.by_target or about_object else names.gateway
    return native_error(request, row, _message(error, request, names), node=node, extra=_fields(error, row))


def native_error(
    request: Request,
    row: Shown,
    message: str,
    *,
    node: str,
    extra: list[tuple[str, str]] | None = None,
) -> Response:
    """An error answer of the native dialect (ais-native-api.md §9.1)."""
    body = ErrorBody(
        tcode="" if _is_untyped_removal(request, row) else row.tcode,
        message=message,
        method=request.method,
        url_path=shown_path(request.path),
        remote_addr=request.peer,
        caller="",
        node=node,
        status=row.status,
    )
    headers = [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), *(extra or ())]
    if request.method == "HEAD":
        # A header line holds no raw UTF-8 for certain: escapes say the same.
        text = json.dumps(msgspec.to_builtins(body), separators=(",", ":"))
        return Response(row.status, [*headers, ("Hdr-Error", text)])
    return Response(row.status, headers, msgspec.json.encode(body) + b"\n")


def _message(error: AisleError, request: Request, names: NodeNames) -> str:
    text = str(error)
    if isinstance(error, errors.ObjectNotFound):
        if request.method == "DELETE":
            return f"{error.name} doesn't exist"
        return f"{names.target}: {text}"
    if isinstance(error, errors.JobNotFound):
        return f"{names.target}: {text}"
    return text


def _is_untyped_removal(request: Request, row: Shown) -> bool:
    """AIStore's DELETE of an object that is not there carries no type code."""
    return request.method == "DELETE" and row == TABLE[errors.ObjectNotFound] and b"/objects/" in request.path


def _fields(error: AisleError, row: Shown) -> list[tuple[str, str]]:
    if isinstance(error, errors.RangeNotSatisfiable):
        return [("Content-Range", f"bytes */{error.size}")]
    if row.status == 503:
        return [("Retry-After", str(RETRY_AFTER_S))]
    if row.status == 401:
        return [("WWW-Authenticate", "Bearer")]
    return []
