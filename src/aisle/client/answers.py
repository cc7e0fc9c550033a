"""From a node's answer to one of `aisle.errors`.

An AIStore error is JSON in the body, or in the header `Hdr-Error` where there can be no body (HEAD);
its `tcode` names the error, but many have none (ais-native-api.md §9). What was asked for therefore
helps to tell a missing object from a missing bucket.
"""

import re
from dataclasses import dataclass

from aisle.client.connections import Answer
from aisle.errors import (
    AisleError,
    BadRequest,
    BucketAccessDenied,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    ChecksumMismatch,
    ConditionFailed,
    Conflict,
    Denied,
    EgressDenied,
    InvalidName,
    JobNotFound,
    JobRunning,
    NodeFailed,
    NotFound,
    ObjectNotFound,
    OutOfSpace,
    RangeNotSatisfiable,
    SourceDenied,
    TooBusy,
    Unavailable,
    Unsupported,
)

_CHECKSUM = re.compile(r"BAD DATA CHECKSUM: (\w+)\((\S+) != (\S+)\)")
_MISSING_BUCKET = re.compile(r'bucket "([a-z0-9]+://[^"]+)" does not exist(?:: (.+))?$')
_CLOSED_BUCKET = re.compile(r"bucket (\S+): (\S+) access denied \(allowed: \[(\S*)\]\)")
_BUCKET_CODES = ("ErrBckNotFound", "ErrRemoteBckNotFound")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request was about, as shown to users: `ais://data`, `ais://data/a/b`, `dnl-x1`."""

    bucket: str = ""
    name: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A node's own words; `foreign` when they are not a node's."""

    status: int
    message: str
    code: str
    foreign: bool = False


def check(answer: Answer, asked: Asked) -> None:
    """Return if the answer is a success. Otherwise close it and raise what it says."""
    if answer.status < 300:
        return
    try:
        refusal = _refusal(answer)
        size = (answer.headers.get("content-range") or "").rpartition("/")[2]
    finally:
        answer.close()
    if refusal.status == 416:
        raise RangeNotSatisfiable(int(size) if size.isdigit() else 0, "as requested")
    raise _error(refusal, asked)


def _refusal(answer: Answer) -> _Refusal:
    import json

    text = answer.headers.get("hdr-error") or answer.read()
    try:
        told = json.loads(text)
        return _Refusal(answer.status, str(told["message"]), str(told.get("tcode", "")))
    except (ValueError, KeyError, TypeError):
        # Perhaps another web server, or a proxy before the node. A starting node says a bare 503.
        foreign = not answer.is_bodiless and answer.status != 503
        return _Refusal(
            answer.status, f"{answer.origin} answered {answer.status} {answer.reason}", "", foreign
        )


def _error(refusal: _Refusal, asked: Asked) -> AisleError:
    message = refusal.message
    if refusal.foreign:
        return NodeFailed(f"{message}, which is not the answer of a node", status=refusal.status)
    if found := _CHECKSUM.search(message):
        kind, announced, received = found.groups()
        return ChecksumMismatch(kind, announced=announced, received=received, name=asked.name)
    match refusal.status:
        case 404 | 410:
            return _not_found(refusal, asked)
        case 400 | 409:
            return _refused(refusal, asked)
        case 412:
            return ConditionFailed(message)
        case 401 | 403:
            return _denied(refusal)
        case 405 | 501:
            return Unsupported(message)
        case 503:
            return Unavailable(message)
        case 429:
            return TooBusy(message)
        case 507:
            return OutOfSpace(message)
    return NodeFailed(message, status=refusal.status)


def _not_found(refusal: _Refusal, asked: Asked) -> NotFound:
    if asked.bucket and (refusal.code in _BUCKET_CODES or not asked.name):
        # It may be another one that is missing, such as what is to stand behind the one that was named.
        named = _MISSING_BUCKET.search(refusal.message)
        return BucketNotFound(named[1], reason=named[2] or "") if named else BucketNotFound(asked.bucket)
    if asked.name:
        return ObjectNotFound(asked.name)
    return JobNotFound(asked.job, kind="download") if asked.job else NotFound(refusal.message)


def _denied(refusal: _Refusal) -> Denied:
    """Who refuses: what is to be done about it is not the same."""
    if refusal.code == "ErrSourceDenied":
        return SourceDenied(refusal.message)
    if refusal.code == "ErrEgressDenied":
        return EgressDenied(refusal.message)
    if closed := _CLOSED_BUCKET.search(refusal.message):
        bucket, denied, allowed = closed.groups()
        return BucketAccessDenied(bucket, denied=denied.split(","), allowed=allowed.split(","))
    return Denied(refusal.message)


def _refused(refusal: _Refusal, asked: Asked) -> AisleError:
    message = refusal.message
    if refusal.code == "ErrBucketAlreadyExists":
        return BucketExists(asked.bucket)
    if "is not empty" in message and asked.bucket:
        return BucketNotEmpty(asked.bucket)
    if "still running" in message:
        return JobRunning(message)
    if refusal.status == 409:
        return Conflict(message)
    return InvalidName(message) if refusal.code == "errInvalidPath" else BadRequest(message)
