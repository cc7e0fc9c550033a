"""Every error that crosses a module boundary, as one tree.

    AisleError
    ├── BadRequest              the caller's input is wrong; nothing was changed
    │   ├── InvalidName         a bucket or object name that cannot exist
    │   ├── InvalidProvider     no such backend provider
    │   ├── PromoteSourceInvalid  a path that may not be promoted
    │   ├── CloudBucketKept     the removal of a bucket that only its provider may remove
    │   ├── NotRemoteBucket     something that only a bucket with a backend can do
    │   ├── ChecksumMismatch    the bytes received are not the bytes announced
    │   │   └── SignedHashMismatch  … nor those whose hash was signed
    │   ├── RequestAborted      the peer broke off, fell silent or garbled its body
    │   ├── BodyTooLarge        more bytes than this request may bring
    │   ├── InvalidPart         a part of an upload is missing, or is not the one that was meant
    │   └── InvalidPartOrder    parts that are not listed in order
    ├── NotFound
    │   ├── BucketNotFound
    │   │   └── RemoteBucketNotFound  one that may exist elsewhere
    │   ├── ObjectNotFound
    │   ├── UploadNotFound
    │   └── JobNotFound
    ├── Conflict                the request is fine, the present state is not
    │   ├── BucketExists
    │   ├── BucketNotEmpty
    │   ├── ConditionFailed     an if-match or if-none-match that does not hold
    │   ├── NotYetWritten       changes that have not reached their source
    │   │   └── OnlyHere        or what never was there
    │   ├── StaleVersion        a metadata document changed under its writer
    │   └── JobRunning          a job must end before this
    ├── RangeNotSatisfiable     no byte of the range exists
    ├── Denied                  not allowed to this caller
    │   ├── Unauthenticated     who asks is not known: no credentials, or wrong ones
    │   │   ├── MalformedCredentials
    │   │   │   └── MalformedPresigned
    │   │   ├── UnknownAccessKey
    │   │   ├── SignatureMismatch
    │   │   ├── ClockSkewed     signed too long ago, or in the future
    │   │   ├── RequestExpired  a presigned request that is over
    │   │   └── TokenExpired
    │   ├── SourceDenied        a remote source refuses our credentials, or asks for some
    │   ├── HubDenied           a hub of datasets refuses a repository, or the token for it
    │   ├── BucketAccessDenied  closed to everybody by the bucket's `access` property
    │   └── EgressDenied        an outgoing address that the guard refuses
    ├── Unsupported             known, and not built
    │   ├── MultipleRanges      more than one byte range in a read
    │   └── UnsupportedRange    a byte range of what has none
    ├── Unavailable             try again: a part of the node is starting, stopping or gone
    │   ├── TooBusy             a queue or a byte budget is full
    │   └── NodeUnreachable     nothing answers at a node's address (clients)
    ├── OutOfSpace              a mountpath is full; reads and deletes go on
    ├── CorruptObject           stored bytes are not what was stored
    ├── SourceFailed            a remote source answered with an error or not at all
    │   ├── SourceThrottled     it wants to be asked less
    │   ├── SourceUnreachable   it does not answer, or broke off
    │   │   └── ClusterNotAttached  nobody says where it is
    │   └── SourceChanged       it is not any more what it was when the work began
    ├── NodeFailed              a node failed by its own account, or does not speak the protocol (clients)
    └── StartError              the node cannot start; the message says what to do
        ├── ConfigError
        ├── MountpathMissing
        ├── MountpathLocked
        └── FormatUnsupported

A class is a distinction that some caller acts upon. Storage knows no HTTP: the API and the CLI each
own one table from these classes to what they show.
"""

from collections.abc import Sequence


class AisleError(Exception):
    """Anything that Aisle itself raises on purpose; `str()` is fit for users."""


class BadRequest(AisleError):
    """The caller's input is wrong; nothing was changed."""


class InvalidName(BadRequest):
    """A bucket or object name that cannot exist."""


class InvalidProvider(BadRequest):
    """No such backend provider; the message lists those that there are."""

    def __init__(self, provider: str) -> None:
        known = "ais, aws (s3://), gcp (gs://), azure (az://), oci (oc://)"
        super().__init__(f'invalid backend provider "{provider}": must be one of [{known}]')
        self.provider = provider


class NotRemoteBucket(BadRequest):
    """Only a bucket with a backend can do this; `bucket` is its display name."""

    def __init__(self, bucket: str, *, action: str) -> None:
        super().__init__(f"{action}: expecting remote bucket (have {bucket})")
        self.bucket = bucket


class CloudBucketKept(BadRequest):
    """A cloud bucket is never removed from here, only what is kept of it; `bucket` is its display name."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f'destroying cloud bucket "{bucket}" is not allowed: to drop what is kept of it here, evict it '
            f"(ais evict {bucket})"
        )
        self.bucket = bucket


class PromoteSourceInvalid(BadRequest):
    """A path that may not be promoted: outside the folders set aside for it, or no regular file."""


class ChecksumMismatch(BadRequest):
    """The bytes received are not the bytes announced; nothing was kept."""

    def __init__(self, kind: str, *, announced: str, received: str, name: str = "") -> None:
        where = f" (context: {name})" if name else ""
        super().__init__(f"BAD DATA CHECKSUM: {kind}({announced} != {received}){where}")
        self.kind = kind
        self.announced = announced
        self.received = received


class SignedHashMismatch(ChecksumMismatch):
    """A body is not the one whose SHA-256 its request announced and signed; nothing was kept."""


class RequestAborted(BadRequest):
    """The peer broke off, fell silent or garbled its body: what was read is not the whole."""


class BodyTooLarge(BadRequest):
    """A request brings more bytes than it may; `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")
        self.limit = limit


class InvalidPart(BadRequest):
    """A part that an upload is to be completed with is missing, or is not the one that was meant."""


class InvalidPartOrder(BadRequest):
    """The parts that an upload is to be completed with are not listed in ascending order."""


class NotFound(AisleError):
    """Something that was named does not exist."""


class BucketNotFound(NotFound):
    """No such bucket; `bucket` is its display name such as `ais://data`, `reason` why if that is known."""

    def __init__(self, bucket: str, *, reason: str = "") -> None:
        super().__init__(f'bucket "{bucket}" does not exist{f": {reason}" if reason else ""}')
        self.bucket = bucket
        self.reason = reason


class RemoteBucketNotFound(BucketNotFound):
    """No such bucket here, and it may be one of a remote account or cluster.

    `identity` are its name, provider and namespace; `is_final` tells that nobody needs to look for it.
    """

    def __init__(
        self, bucket: str, *, identity: tuple[str, str, str], is_final: bool = False, reason: str = ""
    ) -> None:
        super().__init__(bucket, reason=reason)
        self.is_final = is_final
        _, provider, _ = self.identity = identity
        kind = "remote" if provider == "ais" else provider
        self.args = (f"{kind} {self}",)


class ObjectNotFound(NotFound):
    """No such object; `name` is its display name such as `ais://data/a/b`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} does not exist")
        self.name = name


class UploadNotFound(NotFound):
    """No such multipart upload: unknown, completed or aborted."""

    def __init__(self, upload: str) -> None:
        super().__init__(f'upload "{upload}" does not exist')
        self.upload = upload


class JobNotFound(NotFound):
    """No such job on this cluster."""

    def __init__(self, job: str, *, kind: str = "") -> None:
        super().__init__(f"{kind + ' ' if kind else ''}job {job} does not exist")
        self.job = job


class Conflict(AisleError):
    """The request is fine, the present state is not."""


class BucketExists(Conflict):
    """The bucket to be created exists."""

    def __init__(self, bucket: str) -> None:
        super().__init__(f'bucket "{bucket}" already exists')
        self.bucket = bucket


class BucketNotEmpty(Conflict):
    """The bucket to be removed holds objects."""

    def __init__(self, bucket: str) -> None:
        super().__init__(f'bucket "{bucket}" is not empty')
        self.bucket = bucket


class ConditionFailed(Conflict):
    """The object is not in the state that the caller required; nothing was changed."""


class NotYetWritten(Conflict):
    """What is newer here than at its source would be lost; `name` is that of an object or a bucket."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} was changed here, and its source does not have all of that yet: wait until it has "
            "(ais show job write-back)"
        )
        self.name = name


class OnlyHere(NotYetWritten):
    """What is to be evicted was never at the source of its bucket."""

    def __init__(self, name: str) -> None:
        Conflict.__init__(self, f"{name} never was at the source of its bucket: write it anew, or delete it")
        self.name = name


class StaleVersion(Conflict):
    """A metadata document has another version than its writer expected."""

    def __init__(self, key: str, *, expected: int, found: int) -> None:
        super().__init__(f"{key}: version {found}, expected {expected}")
        self.key = key
        self.expected = expected
        self.found = found


class JobRunning(Conflict):
    """The job must end before this can be done."""


class RangeNotSatisfiable(AisleError):
    """No byte of the requested range exists; `size` is the object's size in bytes."""

    def __init__(self, size: int, requested: str) -> None:
        super().__init__(f"size={size}: not satisfiable range [{requested}]")
        self.size = size


class Denied(AisleError):
    """Not allowed to this caller."""


class SourceDenied(Denied):
    """A remote source refuses the node's credentials, or wants some; the message says which and how."""


class HubDenied(Denied):
    """A hub of datasets refuses a repository, or the token for it; the message says what to do."""


class BucketAccessDenied(Denied):
    """What a bucket's `access` property does not allow, to anybody; rights by their names."""

    def __init__(self, bucket: str, *, denied: Sequence[str], allowed: Sequence[str]) -> None:
        super().__init__(
            f"bucket {bucket}: {','.join(denied)} access denied (allowed: [{','.join(allowed)}])"
        )
        self.bucket = bucket
        self.denied = tuple(denied)


class Unauthenticated(Denied):
    """Who asks is not known: no credentials where some are needed, or wrong ones."""


class MalformedCredentials(Unauthenticated):
    """Credentials that do not have the form of their kind."""


class MalformedPresigned(MalformedCredentials):
    """The query of a presigned request does not have the form of its kind."""


class UnknownAccessKey(Unauthenticated):
    """Nobody has this access key."""

    def __init__(self, access_key: str) -> None:
        super().__init__(f'the access key "{access_key[:80]}" does not exist here')
        self.access_key = access_key


class SignatureMismatch(Unauthenticated):
    """A signature that the secret key does not give for this request; nothing was changed."""

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "the request signature we calculated does not match the signature you provided: "
            "check your secret access key and signing method"
        )


class ClockSkewed(Unauthenticated):
    """A request was signed too long ago or in the future; both times are Unix seconds."""

    def __init__(self, *, signed_s: float, now_s: float) -> None:
        super().__init__("the difference between the request time and the current time is too large")
        self.signed_s = signed_s
        self.now_s = now_s


class RequestExpired(Unauthenticated):
    """A presigned request is not valid any more, or not yet."""


class TokenExpired(Unauthenticated):
    """A bearer token is not valid any more."""


class EgressDenied(Denied):
    """An outgoing address that the guard refuses; the message says how to allow it."""


class Unsupported(AisleError):
    """Known, and not built."""


class MultipleRanges(Unsupported):
    """More than one byte range in a read; `requested` is the header's text."""

    def __init__(self, requested: str) -> None:
        super().__init__(f"multiple ranges [{requested}] - operation not supported")
        self.requested = requested


class UnsupportedRange(Unsupported):
    """A byte range of what can only be read as a whole; `what` says of what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be read - operation not supported")


class Unavailable(AisleError):
    """A part of the node is starting, stopping or gone: try again."""


class TooBusy(Unavailable):
    """A queue or a byte budget is full: try again later."""


class NodeUnreachable(Unavailable):
    """Nothing answers at a node's address, or the connection broke; `endpoint` is its URL."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"cannot reach a node at {endpoint}: {reason}")
        self.endpoint = endpoint


class OutOfSpace(AisleError):
    """A mountpath is full. Reads and deletes go on; nothing acknowledged is lost."""


class CorruptObject(AisleError):
    """Stored bytes are missing or are not what was stored; never served."""


class SourceFailed(AisleError):
    """A remote source answered with an error or not at all; `status` is its HTTP status or 0."""

    is_unasked = False
    """Nothing has reached the source, so nothing can have changed there."""

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class SourceThrottled(SourceFailed):
    """A remote source wants to be asked less; `retry_after_s` says for how long, if it said so."""


class SourceUnreachable(SourceFailed):
    """A remote source does not answer, or broke off in the middle: another attempt may succeed."""


class ClusterNotAttached(SourceUnreachable):
    """Another cluster is not attached, or not any more; what is kept here of its buckets stays."""

    def __init__(self, cluster: str) -> None:
        super().__init__(
            f'cluster "{cluster}" is not attached: attach it (ais cluster remote-attach ALIAS=URL); what is '
            "kept here can be used without it (ais ls --cached)"
        )
        self.cluster = cluster


class SourceChanged(SourceFailed):
    """A remote object is not any more what it was when the work began."""


class NodeFailed(AisleError):
    """A node failed by its own account, or what answers is no node; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class StartError(AisleError):
    """The node cannot start; the message says what to do."""


class ConfigError(StartError):
    """Wrong settings, all of them at once in `mistakes`."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class MountpathMissing(StartError):
    """A mountpath that held data is not there, or is empty."""


class MountpathLocked(StartError):
    """Another process uses the mountpath; `pid` is its process id if known, else 0."""

    def __init__(self, path: str, *, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"mountpath {path} is in use by {who}: stop it first")
        self.path = path
        self.pid = pid


class FormatUnsupported(StartError):
    """The data folder has a format that this version cannot read."""
