"""What `ais` says about an error, what to do about it, and the exit code."""

from collections.abc import Callable, Mapping

from aisle import errors
from aisle.cli.exit_codes import FAILED, NOT_FOUND, UNREACHABLE
from aisle.cli.lazy import suggestion
from aisle.cli.locations import schemes
from aisle.cli.session import ENDPOINT_VARIABLE, KEY_VARIABLES, TOKEN_VARIABLE, Session
from aisle.model.names import Bucket

EXIT_CODES: Mapping[type[errors.AisleError], int] = {
    errors.NotFound: NOT_FOUND,
    errors.NodeUnreachable: UNREACHABLE,
    errors.AisleError: FAILED,
}

Hint = Callable[[errors.AisleError, Session], list[str]]


def exit_code(error: errors.AisleError) -> int:
    """The exit code for an error: that of the nearest class in the table."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def hints(error: errors.AisleError, session: Session) -> list[str]:
    """What to do about an error, one line each; empty when its own text says enough."""
    return next((HINTS[kind](error, session) for kind in type(error).__mro__ if kind in HINTS), [])


def _no_node(error: errors.AisleError, session: Session) -> list[str]:
    if "certificate" in str(error):
        return ["Trust the authority that signed it: export AIS_CLIENT_CA=ca.pem (or SSL_CERT_FILE)"]
    return [
        "Start one here with: aisnode",
        f"Or name the one to use: export {ENDPOINT_VARIABLE}=http://HOST:PORT (now: {session.endpoint})",
    ]


def _not_a_node(error: errors.AisleError, session: Session) -> list[str]:
    status = error.status if isinstance(error, errors.NodeFailed) else 0
    if status == 502:
        return []  # what failed is elsewhere, and the error says where
    if status >= 500:
        return ["The node's log (its standard error) has the details."]
    return [f"{ENDPOINT_VARIABLE} should name a node; it is {session.endpoint}"]


def _no_bucket(error: errors.AisleError, session: Session) -> list[str]:
    assert isinstance(error, errors.BucketNotFound)
    near = ""
    if not error.reason:  # with a cluster that is not attached, another name does not help
        near = suggestion(error.bucket, [bucket.cname for bucket in _buckets(session)]).strip()
    return [*([near] if near else []), _bucket_comes_by(error.bucket), "See all with: ais ls"]


def _bucket_comes_by(bucket: str) -> str:
    """How there comes to be a bucket of that address."""
    if bucket.startswith("ht://"):
        return f"Create it with: ais create {bucket} --url https://…"
    if bucket.startswith("ais://") and not bucket.startswith("ais://@"):
        return f"Create it with: ais create {bucket}"
    if bucket.startswith("ais://@"):
        return "See which clusters are attached: ais show remote-cluster"
    return "It is created where it lives; check its name, and the account that the node uses"


def _buckets(session: Session) -> list[Bucket]:
    try:
        return session.client.buckets()
    except errors.AisleError:
        # A suggestion is a courtesy: the error that asked for it is what matters.
        return []


def _no_object(error: errors.AisleError, session: Session) -> list[str]:
    del session
    assert isinstance(error, errors.ObjectNotFound)
    _, inside, archive = error.name.partition(" in ")
    if inside and "://" in archive and not error.name.startswith(tuple(schemes())):
        return [f"See what is in it with: ais archive ls {archive}"]
    folder = error.name.rpartition("/")[0]
    return [f"See what is there with: ais ls {folder}"] if folder.count("/") >= 2 else []


def _no_job(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["See all with: ais show job --all"]


def _not_empty(error: errors.AisleError, session: Session) -> list[str]:
    del session
    assert isinstance(error, errors.BucketNotEmpty)
    return [f"Remove it with all it holds: ais rmb {error.bucket} --yes"]


def _denied(error: errors.AisleError, session: Session) -> list[str]:
    del error
    if session.has_credentials:
        return []
    return [f"Say who asks: export {TOKEN_VARIABLE}=TOKEN, or {' and '.join(KEY_VARIABLES)}"]


def _source_denied(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["See which account the node uses for its source: ais show backend"]


def _hub_denied(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return []  # it is not the node that wants to know who asks


def _closed_bucket(error: errors.AisleError, session: Session) -> list[str]:
    del session
    assert isinstance(error, errors.BucketAccessDenied)
    return [f"It is closed to everybody. Open it with: ais bucket props set {error.bucket} access=rw"]


def _running(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["Stop it first: ais job abort ID"]


def _egress(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["The node's settings `egress.allow_private`, `egress.allow_loopback` and `egress.allow` open it."]


def _locked(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["`ais storage` works on the folders of a stopped node."]


def _full(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["Make room on the node's disks: ais rm, ais rmb, or another mountpath (aisnode --data)."]


def _later(error: errors.AisleError, session: Session) -> list[str]:
    del error, session
    return ["Try again in a moment."]


HINTS: Mapping[type[errors.AisleError], Hint] = {
    errors.NodeUnreachable: _no_node,
    errors.NodeFailed: _not_a_node,
    errors.BucketNotFound: _no_bucket,
    errors.ObjectNotFound: _no_object,
    errors.JobNotFound: _no_job,
    errors.BucketNotEmpty: _not_empty,
    errors.JobRunning: _running,
    errors.Denied: _denied,
    errors.SourceDenied: _source_denied,
    errors.HubDenied: _hub_denied,
    errors.BucketAccessDenied: _closed_bucket,
    errors.EgressDenied: _egress,
    errors.MountpathLocked: _locked,
    errors.OutOfSpace: _full,
    errors.Unavailable: _later,
}
