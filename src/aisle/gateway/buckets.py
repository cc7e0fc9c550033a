"""The buckets of the cluster: created, destroyed, found.

Each bucket is one document in the metadata store, under `bucket/<uname>`. Storage knows buckets by
numbers that are never given out twice, so a bucket that was destroyed and created again under its
old name never shows old objects.

A crash at any point leaves either no bucket or a whole one. Creating opens the number in storage
first and writes the document last: without the document nobody finds the number, and an open number
that holds nothing costs nothing. Destroying first marks the document, from when on the bucket is not
found any more, then closes the number, then drops the document; `repair` ends what a crash left
half done. A bucket that must be empty for this is marked in another way, under which it is still
found: whether it is empty, only storage can tell while others write.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import (
    AisleError,
    BadRequest,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    InvalidName,
    NotYetWritten,
    RemoteBucketNotFound,
    StaleVersion,
    TooBusy,
    Unsupported,
)
from aisle.gateway.configuration import Configuration
from aisle.model.bucket import (
    BucketDocument,
    BucketInfo,
    BucketProperties,
    BucketState,
    changed,
    decode_document,
    encode_document,
)
from aisle.model.configuration import new_properties
from aisle.model.names import SCHEMES, Bucket
from aisle.model.trees import Tree
from aisle.storage.engine import StorageEngine

AREA = "bucket"
"""The first path element of the buckets' documents."""
NUMBERS_KEY = "numbers/bucket"
"""The document that holds the last bucket number given out."""

RESERVED_NAMES = frozenset({"ais", "metrics", "health"})
"""First path elements of our own, which a bucket at the root would hide."""

_ATTEMPTS_MAX = 100
# AIStore sets the top bit of the ids of this cluster's own buckets (ais-native-api.md §4.2).
_OWN_BUCKET_BIT = 1 << 63


class Buckets:
    """The buckets, as any process of the cluster may change them.

    Reads answer from decoded copies that are as fresh as the store; changes wait for its flush in a
    thread, so that the event loop goes on.
    """

    def __init__(
        self,
        store: MetadataStore,
        engine: StorageEngine,
        *,
        clock: Callable[[], int] = time.time_ns,
        configuration: Configuration | None = None,
    ) -> None:
        self._store = store
        self.configuration = configuration or Configuration(store, clock=clock)
        """From which new buckets, and those that are reset, take their properties."""
        self._engine = engine
        self._clock = clock
        self._view = View(store, AREA, _info)
        self.canonical: Callable[[Bucket], Bucket] = lambda bucket: bucket
        """The name under which a remote bucket is kept, where others mean the same one."""

    def revision(self) -> int:
        """A number that grows whenever a bucket changes."""
        return self._store.revision(AREA)

    def snapshot(self) -> Mapping[str, BucketInfo | None]:
        """All documents by uname, None for those being destroyed; another object when any changed."""
        return self._view.all()

    def find(self, bucket: Bucket) -> BucketInfo:
        """The bucket. Raises BucketNotFound; RemoteBucketNotFound for one that may exist elsewhere."""
        info = self._view.find(bucket.uname)
        if info is None:
            if not bucket.is_remote:
                raise BucketNotFound(bucket.cname)
            info = self._view.find(self.canonical(bucket).uname)
            if info is None:
                raise RemoteBucketNotFound(
                    bucket.cname, identity=(bucket.name, bucket.provider, bucket.namespace)
                )
        return info

    def select(self, *, provider: str = "", name: str = "") -> list[BucketInfo]:
        """All buckets, or those of one provider or one name, in order of (provider, namespace, name)."""
        found = [
            info
            for info in self._view.all().values()
            if info and provider in ("", info.bucket.provider) and name in ("", info.bucket.name)
        ]
        return sorted(found, key=lambda info: (info.bucket.provider, info.bucket.namespace, info.bucket.name))

    async def create(
        self,
        bucket: Bucket,
        changes: Tree | None = None,
        *,
        owner: str = "",
        acl: str = "private",
    ) -> BucketInfo:
        """Create a bucket with the configuration's properties and `changes` laid over them.

        `owner` is a user's id, `acl` one of S3's canned ones. Raises BucketExists, InvalidName for a
        reserved name, BadRequest for changes that cannot be, and Unsupported for a bucket of another
        provider or cluster.
        """
        check_creatable(bucket)
        key = document_key(bucket)
        properties = self.properties_of_new(bucket, changes)
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(key)
            if present is None:
                break
            if decode_document(present.value).state is not BucketState.DESTROYING:
                raise BucketExists(bucket.cname)
            # Its destruction was cut short, or is under way elsewhere: it ends before a new one begins.
            await self._finish_destroying(present)
        return await self._open_new(bucket, BucketDocument(0, 0, properties, owner=owner, acl=acl))

    async def adopt(self, bucket: Bucket, changes: Tree | None = None, *, owner: str = "") -> BucketInfo:
        """Make a remote bucket known here, which the caller has found where it is.

        Raises BucketExists, and BadRequest for changes that cannot be.
        """
        properties = self.properties_of_new(bucket, changes)
        present = self._store.load(document_key(bucket))
        if present is not None:
            if decode_document(present.value).state is not BucketState.DESTROYING:
                raise BucketExists(bucket.cname)
            await self._finish_destroying(present)
        return await self._open_new(bucket, BucketDocument(0, 0, properties, owner=owner))

    def properties_of_new(self, bucket: Bucket, changes: Tree | None = None) -> BucketProperties:
        """What a bucket would begin with. Raises BadRequest for changes that cannot be, Unsupported."""
        return changed(new_properties(self.configuration.get().values, bucket), changes or {})

    async def _open_new(self, bucket: Bucket, draft: BucketDocument) -> BucketInfo:
        number = await self._next_number()
        created_ns = self._clock()
        properties = msgspec.structs.replace(
            draft.properties,
            bid=str(number if bucket.is_remote else _OWN_BUCKET_BIT | number),
            created=str(created_ns),
        )
        await self._engine.open_bucket(number)
        document = msgspec.structs.replace(draft, number=number, created_ns=created_ns, properties=properties)
        value = encode_document(document)
        try:
            await asyncio.to_thread(self._store.swap, document_key(bucket), value, expected_version=0)
        except StaleVersion as error:
            await self._engine.close_bucket(number, only_if_empty=False)
            raise BucketExists(bucket.cname) from error
        return _told(bucket, document)

    async def set_properties(self, bucket: Bucket, changes: Tree) -> BucketInfo:
        """Change some properties; the others stay, and so do objects that are there already.

        Raises BucketNotFound, BadRequest for changes that cannot be, Unsupported for those that would
        promise more than is built, NotYetWritten for those that delayed writes would be lost by.
        """

        def decide(document: BucketDocument) -> BucketDocument:
            after = changed(document.properties, changes)
            self._check_delayed(bucket, document, after)
            return msgspec.structs.replace(document, properties=after)

        return await self._change(bucket, decide)

    def _check_delayed(self, bucket: Bucket, before: BucketDocument, after: BucketProperties) -> None:
        """Raise BadRequest if writes are to be delayed to nowhere."""
        policy, policy_before = after.write_policy.backend, before.properties.write_policy.backend
        is_new = policy == "delayed" and policy_before != policy
        if is_new and not (bucket.is_remote or after.backend_bck.name):
            raise BadRequest(f"write_policy.backend: {bucket.cname} has no remote bucket behind it")

    async def reset_properties(self, bucket: Bucket) -> BucketInfo:
        """Give the bucket the properties that a new one would have now.

        Raises BucketNotFound, and BadRequest if the bucket has a backend: it would lose sight of it.
        """

        def decide(document: BucketDocument) -> BucketDocument:
            before = document.properties
            if before.backend_bck.name:
                raise BadRequest(f"{bucket.cname} has a backend bucket: detach it first (backend_bck=none)")
            fresh = new_properties(self.configuration.get().values, bucket)
            kept = {"renamed": before.renamed, "bid": before.bid, "created": before.created}
            after = msgspec.structs.replace(fresh, **kept)
            self._check_delayed(bucket, document, after)
            return msgspec.structs.replace(document, properties=after)

        return await self._change(bucket, decide)

    async def open_queue(self, info: BucketInfo) -> BucketInfo:
        """The bucket with another queue for delayed writes than it has here: with a first one, or a new one.

        Raises BucketNotFound, TooBusy, OutOfSpace, Unavailable.
        """
        present = self.find(info.bucket)
        if present.queue != info.queue:
            return present
        number = await self._next_number()
        await self._engine.open_bucket(number)

        def decide(document: BucketDocument) -> BucketDocument:
            is_first = document.queue == info.queue
            return msgspec.structs.replace(document, queue=number) if is_first else document

        return await self._change(info.bucket, decide)

    def require_written(self, info: BucketInfo) -> None:
        """Raise NotYetWritten while there are delayed writes of a bucket."""
        if info.queue and self._engine.scan(info.queue, limit=1).entries:
            raise NotYetWritten(info.bucket.cname)

    async def _close_queue(self, bucket: Bucket, document: BucketDocument) -> None:
        """Accept no more delayed writes of a bucket. Raises NotYetWritten while there are some."""
        if not document.queue:
            return
        try:
            await self._engine.close_bucket(document.queue, only_if_empty=True)
        except BucketNotEmpty as error:
            raise NotYetWritten(bucket.cname) from error

    async def set_acl(self, bucket: Bucket, acl: str) -> BucketInfo:
        """Give the bucket one of S3's canned ACLs. Raises BucketNotFound."""
        return await self._change(bucket, lambda document: msgspec.structs.replace(document, acl=acl))

    async def _change(self, bucket: Bucket, decide: Callable[[BucketDocument], BucketDocument]) -> BucketInfo:
        """Replace the bucket's document by what `decide` makes of it, whoever changes it meanwhile."""
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(document_key(bucket))
            if present is None or _info(present) is None:
                raise BucketNotFound(bucket.cname)
            before = decode_document(present.value)
            _refuse_moving(bucket, before)
            after = decide(before)
            if after == before:
                return _told(bucket, before)
            if before.queue and _outward(before.properties) != _outward(after.properties):
                # What waits stays delayed, and neither its source nor the way there changes; what is being
                # written now finds its queue closed, and looks at the bucket again.
                await self._close_queue(bucket, before)
                after = msgspec.structs.replace(after, queue=0)
            try:
                await asyncio.to_thread(
                    self._store.swap, present.key, encode_document(after), expected_version=present.version
                )
            except StaleVersion:
                continue
            return _told(bucket, after)
        raise TooBusy(f'bucket "{bucket.cname}" is being changed by others: try again')

    async def destroy(self, bucket: Bucket) -> None:
        """Destroy a bucket and all that it holds.

        Raises BucketNotFound, TooBusy while the bucket is being renamed, and NotYetWritten.
        """
        key = document_key(bucket)
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(key)
            if present is None or _info(present) is None:
                raise BucketNotFound(bucket.cname)
            before = decode_document(present.value)
            _refuse_moving(bucket, before)
            await self._close_queue(bucket, before)
            marked = msgspec.structs.replace(before, state=BucketState.DESTROYING)
            value = encode_document(marked)
            try:
                swapped = await asyncio.to_thread(
                    self._store.swap, key, value, expected_version=present.version
                )
            except StaleVersion:
                continue
            assert swapped is not None
            await self._finish_destroying(swapped)
            return
        raise TooBusy(f'bucket "{bucket.cname}" is being changed by others: try again')

    async def empty(self, bucket: Bucket) -> BucketInfo:
        """Forget all objects of a bucket, which stays as it is.

        Raises BucketNotFound, TooBusy, NotYetWritten.
        """
        present = self._store.load(document_key(bucket))
        seen = decode_document(present.value) if present else None
        if seen is not None:
            await self._close_queue(bucket, seen)
        number = await self._next_number()
        await self._engine.open_bucket(number)
        before = 0

        def decide(document: BucketDocument) -> BucketDocument:
            nonlocal before
            before = document.number
            if seen is None or document.queue != seen.queue:
                raise NotYetWritten(bucket.cname)  # a write was delayed just now
            return msgspec.structs.replace(document, number=number, queue=0)

        try:
            emptied = await self._change(bucket, decide)
        except AisleError:
            await self._engine.close_bucket(number, only_if_empty=False)
            raise
        await self._engine.close_bucket(before, only_if_empty=False)
        return emptied

    async def destroy_empty(self, bucket: Bucket) -> None:
        """Destroy a bucket that holds no object; no write that is acknowledged meanwhile is lost.

        Raises BucketNotFound, BucketNotEmpty, and TooBusy while the bucket is being renamed.
        """
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(document_key(bucket))
            if present is None or _info(present) is None:
                raise BucketNotFound(bucket.cname)
            before = decode_document(present.value)
            _refuse_moving(bucket, before)
            await self._close_queue(bucket, before)
            # Most buckets that are not empty are found out before anything is written.
            if self._engine.scan(before.number, limit=1).entries:
                raise BucketNotEmpty(bucket.cname)
            value = encode_document(msgspec.structs.replace(before, state=BucketState.CLOSING))
            try:
                await asyncio.to_thread(
                    self._store.swap, present.key, value, expected_version=present.version
                )
            except StaleVersion:
                continue
            if not await self._finish_closing(present.key, before.number):
                raise BucketNotEmpty(bucket.cname)
            return
        raise TooBusy(f'bucket "{bucket.cname}" is being changed by others: try again')

    async def repair(self) -> list[Bucket]:
        """End every destruction that a crash cut short; the buckets that are gone now."""
        ended = []
        for document in self._store.list(f"{AREA}/"):
            decoded = decode_document(document.value)
            if decoded.state is BucketState.DESTROYING:
                await self._finish_destroying(document)
                ended.append(_bucket_of(document))
            elif decoded.state is BucketState.CLOSING and await self._finish_closing(
                document.key, decoded.number
            ):
                ended.append(_bucket_of(document))
        return ended

    async def _finish_closing(self, key: str, number: int) -> bool:
        """Close the number if it is empty and drop the document; else the bucket goes on. Which of both."""
        try:
            await self._engine.close_bucket(number, only_if_empty=True)
            is_closed = True
        except BucketNotEmpty:
            is_closed = False
        while True:
            present = self._store.load(key)
            decoded = decode_document(present.value) if present else None
            if present is None or decoded is None or decoded.number != number:
                return is_closed
            if not is_closed and decoded.state is not BucketState.CLOSING:
                return is_closed
            opened = encode_document(msgspec.structs.replace(decoded, state=BucketState.OPEN))
            try:
                await asyncio.to_thread(
                    self._store.swap,
                    key,
                    None if is_closed else opened,
                    expected_version=present.version,
                )
            except StaleVersion:
                # Its properties were changed meanwhile, which changes nothing about what was found.
                continue
            return is_closed

    async def _finish_destroying(self, document: Document) -> None:
        """Close the number, then drop the document; harmless when another process is faster."""
        number = decode_document(document.value).number
        await self._engine.close_bucket(number, only_if_empty=False)
        try:
            await asyncio.to_thread(self._store.swap, document.key, None, expected_version=document.version)
        except StaleVersion:
            pass

    async def _next_number(self) -> int:
        """A bucket number that was never given out before."""
        for _ in range(_ATTEMPTS_MAX):
            last = self._store.load(NUMBERS_KEY)
            number = int(last.value) + 1 if last else 1
            try:
                await asyncio.to_thread(
                    self._store.swap,
                    NUMBERS_KEY,
                    str(number).encode(),
                    expected_version=last.version if last else 0,
                )
            except StaleVersion:
                continue
            return number
        raise TooBusy("too many buckets are being created at once: try again")


def check_creatable(bucket: Bucket) -> None:
    """Raise for names and providers that no bucket can be created with."""
    if bucket.provider != "ais" or bucket.namespace.startswith("@"):
        raise Unsupported(
            f'cannot create {bucket.provider} bucket "{bucket.cname}": it is remote, create it there first'
        )
    suffix = bucket.name.rpartition("--")[2] if "--" in bucket.name else ""
    if bucket.name in RESERVED_NAMES or suffix in SCHEMES or suffix in SCHEMES.values():
        raise InvalidName(f'bucket name "{bucket.name}" is reserved')


def check_own(info: BucketInfo, what: str, *, instead: str) -> BucketInfo:
    """The same bucket. Raises Unsupported if a remote one stands behind it, which `what` would not reach.

    `instead` says how the same is had in other ways.
    """
    if info.remote is not None:
        raise Unsupported(f"{info.bucket.cname}: {what} remote buckets is not built: {instead}")
    return info


def _outward(properties: BucketProperties) -> object:
    """Where writes of a bucket go, how, and when."""
    return properties.write_policy.backend, properties.extra, properties.backend_bck


def _refuse_moving(bucket: Bucket, document: BucketDocument) -> None:
    """Raise TooBusy for a bucket that is found under two names: under one it would change alone."""
    if document.state is BucketState.MOVING:
        raise TooBusy(f'bucket "{bucket.cname}" is being renamed: try again')


def document_key(bucket: Bucket) -> str:
    """Where the metadata store keeps a bucket's document."""
    return f"{AREA}/{bucket.uname}"


def _info(document: Document) -> BucketInfo | None:
    """What a document says of a bucket; None for one that is being destroyed."""
    decoded = decode_document(document.value)
    if decoded.state is BucketState.DESTROYING:
        return None
    try:
        bucket = _bucket_of(document)
    except ValueError:
        return None  # one document that should not be there must not hide all others
    return _told(bucket, decoded)


def _told(bucket: Bucket, document: BucketDocument) -> BucketInfo:
    return BucketInfo(
        bucket,
        document.number,
        document.properties,
        document.owner,
        document.acl,
        document.created_ns,
        document.queue,
    )


def _bucket_of(document: Document) -> Bucket:
    """The bucket that a document's key names: `bucket/ais/@#/data/`."""
    _, provider, namespace, name, _ = document.key.split("/")
    uuid, _, space = namespace.removeprefix("@").partition("#")
    return Bucket(name, provider, (uuid and f"@{uuid}") + (space and f"#{space}"))
