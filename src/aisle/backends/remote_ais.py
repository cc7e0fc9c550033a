"""Buckets of another cluster, of Aisle or AIStore: its native API, asked over `transfer/`.

They may be that cluster's own or those of any provider that it reaches: `s3://@other/data` needs no
credentials of Amazon's here.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from aisle.backends.answer_fields import http_time_ns
from aisle.backends.provider import (
    ALWAYS,
    Capabilities,
    RemoteObject,
    RemotePage,
    RemoteRead,
    WriteCondition,
)
from aisle.backends.reading import body_of, byte_range, read_nothing
from aisle.backends.registry import Account
from aisle.backends.remote_gateways import Call, Gateways
from aisle.errors import (
    AisleError,
    BucketExists,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    Unsupported,
)
from aisle.model.names import SCHEMES

if TYPE_CHECKING:
    from aisle.transfer.exchange import Answered

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_ERROR_CHARS_MAX: Final = 500
_NO_RECURSION: Final = 2048
_VIRTUAL_FOLDER: Final = 256
_SHOWN: Final = "name,size,checksum,version"
_DIGESTS: Final = ("xxhash2", "xxhash", "crc32c", "md5", "sha256", "sha512")
_MD5_CHARS: Final = 32
_CUSTOM: Final = "Ais-Custom-Md"
_NO_BUCKET: Final = ("ErrBckNotFound", "ErrRemoteBckNotFound", "ErrRemoteBucketOffline")

Fields = Mapping[str, str]
Kind = TypeVar("Kind")


class _Entry(msgspec.Struct):
    n: str
    s: int = 0
    f: int = 0
    cs: str = ""
    v: str = ""


class _Page(msgspec.Struct):
    UUID: str = ""
    ContinuationToken: str = ""
    Entries: list[_Entry] | None = None


class _Named(msgspec.Struct):
    name: str


class _Refusal(msgspec.Struct):
    tcode: str = ""
    message: str = ""


_decode_page = msgspec.msgpack.Decoder(_Page).decode
_decode_buckets = msgspec.json.Decoder(list[_Named] | None).decode


class RemoteAisProvider:
    """A BackendProvider over the native API of another cluster."""

    def __init__(self, account: Account, gateways: Gateways) -> None:
        """`account` names a cluster by alias or UUID, the provider there, and a namespace there."""
        cluster, _, space = account.namespace.removeprefix("@").partition("#")
        # AIStore ignores the conditions of a write: what could not be relied upon is not promised.
        self.capabilities = Capabilities(creates_buckets=account.provider == "ais", versions=True)
        self._cluster = cluster
        self._gateways = gateways
        where = {"provider": account.provider} | ({"namespace": f"#{space}"} if space else {})
        self._where = urlencode(where)
        self._shown = f"{SCHEMES[account.provider]}://{account.namespace}"

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        call = _action("GET", f"/v1/buckets?{self._where}&presence=0", "list")
        answered = await self._checked(call)
        found = _decoded(_decode_buckets, await answered.read(_ANSWER_BYTES_MAX)) or []
        return sorted({each.name for each in found}, key=str.encode)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        answered = await self._checked(Call("HEAD", self._of_bucket(bucket)), bucket)
        answered.close()
        properties: object = None
        with contextlib.suppress(msgspec.DecodeError):
            properties = msgspec.json.decode(answered.fields.get("ais-bucket-props", "{}"))
        versioning = properties.get("versioning") if isinstance(properties, dict) else None
        is_enabled = isinstance(versioning, dict) and versioning.get("enabled") is True
        return {"versioning": "true" if is_enabled else "false"}

    async def create_bucket(self, bucket: str) -> None:
        """See BackendProvider.create_bucket."""
        (await self._checked(_action("POST", self._of_bucket(bucket), "create-bck"), bucket)).close()

    async def delete_bucket(self, bucket: str) -> None:
        """See BackendProvider.delete_bucket; with all that it holds, as that cluster does it."""
        (await self._checked(_action("DELETE", self._of_bucket(bucket), "destroy-bck"), bucket)).close()

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        token: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
    ) -> RemotePage:
        """See BackendProvider.list_objects. Raises Unsupported for a delimiter other than `/`."""
        if delimiter not in ("", "/"):
            raise Unsupported(f"{self._shown}/{bucket}: names are folded at / only")
        listing, _, last = token.partition(",")
        value = {
            "uuid": listing,
            "props": _SHOWN,
            "prefix": prefix,
            "start_after": "" if token else after,
            "continuation_token": last,
            "flags": str(_NO_RECURSION if delimiter else 0),
            "pagesize": limit,
        }
        call = _action("GET", self._of_bucket(bucket), "list", value)
        call = call._replace(headers=(*call.headers, ("Accept", "application/msgpack")))
        answered = await self._checked(call, bucket)
        page = _decoded(_decode_page, await answered.read(_ANSWER_BYTES_MAX))
        entries = page.Entries or []
        following = f"{page.UUID},{page.ContinuationToken}" if page.ContinuationToken else ""
        return RemotePage(
            [_listed(entry) for entry in entries if not entry.f & _VIRTUAL_FOLDER],
            [f"{entry.n.rstrip('/')}/" for entry in entries if entry.f & _VIRTUAL_FOLDER],
            following,
        )

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        answered = await self._checked(Call("HEAD", self._of_object(bucket, key)), bucket, key)
        answered.close()
        return _about(key, answered.fields)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        headers = [("If-Match", f'"{etag}"')] if etag else []
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        if span := byte_range(offset, length):
            headers.append(("Range", span))
        answered = await self._gateways.send(
            self._cluster, Call("GET", self._of_object(bucket, key), tuple(headers))
        )
        if answered.status == 416:
            answered.close()
            return await read_nothing(self, bucket, key, etag)
        if answered.status == 412:
            answered.close()
            raise SourceChanged(f"{self._shown}/{bucket}/{key} has changed")
        await self._check(answered, bucket, key)
        about = _about(key, answered.fields)
        if etag and about.etag not in ("", etag):
            answered.close()
            raise SourceChanged(f"{self._shown}/{bucket}/{key} has changed")
        if offset and answered.status != 206:
            answered.close()
            raise SourceFailed(f"{self._shown}/{bucket}/{key}: the source sends no ranges")
        return RemoteRead(about, body_of(answered))

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """See BackendProvider.put. Raises Unsupported for conditions."""
        if only_if != ALWAYS:
            raise Unsupported(f"{self._shown}/{bucket}: other clusters keep to no conditions of writes")
        call = Call("PUT", self._of_object(bucket, key), _described(about), chunks, about.size)
        answered = await self._checked(call, bucket, key)
        await answered.read(_ANSWER_BYTES_MAX)
        written = _about(key, answered.fields)
        if not written.etag:
            return await self.head(bucket, key)
        return about._replace(key=key, etag=written.etag, version=written.version, digests=written.digests)

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        try:
            (await self._checked(Call("DELETE", self._of_object(bucket, key)), bucket, key)).close()
        except ObjectNotFound:
            pass

    async def close(self) -> None:
        """See BackendProvider.close."""
        self._gateways.close()

    def _of_bucket(self, bucket: str) -> str:
        return f"/v1/buckets/{quote(bucket, safe='')}?{self._where}"

    def _of_object(self, bucket: str, key: str) -> str:
        return f"/v1/objects/{quote(bucket, safe='')}/{quote(key, safe='/-._~')}?{self._where}"

    async def _checked(self, call: Call, bucket: str = "", key: str = "") -> "Answered":
        answered = await self._gateways.send(self._cluster, call)
        await self._check(answered, bucket, key)
        return answered

    async def _check(self, answered: "Answered", bucket: str, key: str) -> None:
        """Raise what an answer's status means, unless it is good."""
        if answered.status >= 300:
            body = await answered.read(_ANSWER_BYTES_MAX)
            shown = "/".join(each for each in (self._shown, bucket, key) if each)
            raise _failure(answered.status, answered.fields, body, shown=shown, is_object=bool(key))


def _action(method: str, target: str, action: str, value: object = None) -> Call:
    message = {"action": action, "name": "", "value": value}
    return Call(method, target, (("Content-Type", "application/json"),), msgspec.json.encode(message))


def _decoded(decode: Callable[[bytes], Kind], body: bytes) -> Kind:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceFailed(f"the remote cluster answers with what is no document: {error}") from error


def _listed(entry: _Entry) -> RemoteObject:
    # A listing does not say of which kind a checksum is; only one kind has this length.
    md5 = entry.cs if len(entry.cs) == _MD5_CHARS else ""
    return RemoteObject(entry.n, entry.s, version=entry.v, etag=md5, digests={"md5": md5} if md5 else {})


def _about(key: str, fields: Fields) -> RemoteObject:
    """What the header fields of an answer tell about an object."""
    etag = fields.get("etag", "").removeprefix("W/").strip('"')
    total = fields.get("content-range", "").rpartition("/")[2] or fields.get("content-length", "")
    kind, value = fields.get("ais-checksum-type", ""), fields.get("ais-checksum-value", "")
    return RemoteObject(
        key,
        int(total) if total.isascii() and total.isdigit() else 0,
        version=fields.get("ais-version", "") or etag,
        etag=etag,
        modified_ns=http_time_ns(fields.get("last-modified", "")),
        digests={kind: value.lower()} if kind in _DIGESTS and value else {},
        custom=_custom(fields.get(_CUSTOM.lower(), "")),
        content_type=fields.get("content-type", ""),
    )


def _custom(field: str) -> dict[str, str]:
    """The pairs of fields that were joined by commas; what holds no `=` belongs to the one before it."""
    found: dict[str, str] = {}
    key = ""
    for part in field.split(", "):
        name, separator, value = part.partition("=")
        if separator:
            key = name
            found[key] = value
        elif key:
            found[key] += f", {part}"
    return found


def _described(about: RemoteObject) -> tuple[tuple[str, str], ...]:
    """The fields of a write that say what an object is. Raises Unsupported for what no field can hold."""
    fields = [(_CUSTOM, f"{name}={value}") for name, value in about.custom.items()]
    if about.content_type:
        fields.append(("Content-Type", about.content_type))
    kind = next((kind for kind in _DIGESTS if about.digests.get(kind)), "")
    if kind:
        fields += [("Ais-Checksum-Type", kind), ("Ais-Checksum-Value", about.digests[kind])]
    for name, value in fields:
        if not (value.isascii() and value.isprintable()):
            raise Unsupported(f"{name} {value!r}: other clusters take custom metadata in ASCII only")
    return tuple(fields)


def _failure(status: int, fields: Fields, body: bytes, *, shown: str, is_object: bool) -> AisleError:
    """The error that an answer means."""
    told = _refusal(fields.get("hdr-error", "").encode("latin-1", "replace") or body)
    text = f"{shown}: {told.message[:_ERROR_CHARS_MAX] or status}"
    if status == 404:
        is_bucket = not is_object or told.tcode in _NO_BUCKET
        return BucketNotFound(shown) if is_bucket else ObjectNotFound(shown)
    if status == 409 and not is_object:
        return BucketExists(shown)
    if status in (401, 403):
        return SourceDenied(f"{text} (is it attached with a token that may do this?)")
    if status == 412:
        return ConditionFailed(text)
    if status in (429, 503):
        after = fields.get("retry-after", "")
        wait_s = float(after) if after.isascii() and after.isdigit() else None
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status == 501:
        return Unsupported(text)
    # What lies behind that cluster it has asked again itself: doing so at each step would take ages.
    return SourceFailed(text, status=status)


def _refusal(document: bytes) -> _Refusal:
    try:
        return msgspec.json.decode(document, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Refusal(message=document[:_ERROR_CHARS_MAX].decode("utf-8", "replace").strip())
