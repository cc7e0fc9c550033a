"""What a node knows of one object beside its bytes (ais-native-api.md §6.4, §6.5)."""

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from aisle.client.answers import Asked
from aisle.client.bodies import Body
from aisle.client.checksums import Checksum
from aisle.client.connections import Call
from aisle.client.node import Client
from aisle.model.names import Bucket, display

_PROPERTIES: Final = "name,size,checksum,atime,version,last-modified,etag,copies,ec,custom,location,chunked"


class ObjectProperties(NamedTuple):
    """An object as it is stored. What the node does not tell is empty."""

    size: int
    """Bytes."""
    checksum: Checksum | None
    accessed_ns: int
    """When it was last read or written, in Unix nanoseconds; 0 where that is not known."""
    version: str
    custom: Mapping[str, str]
    location: str
    """`t[ID]:mp[/path, disk, medium]`."""
    copies: int
    copy_paths: str
    etag: str
    last_modified: str
    """As HTTP writes it: `Fri, 20 Nov 2026 16:10:32 GMT`."""
    chunks: int
    """Of how many parts it was made; 0 for one that was written whole."""


def object_properties(
    client: Client, bucket: Bucket, key: bytes, *, asks_source: bool = False
) -> ObjectProperties:
    """All that is known of an object that is here; with `asks_source` also of one that is elsewhere only.

    Raises BucketNotFound, ObjectNotFound, Denied, NodeUnreachable.
    """
    query = {"presence": "0" if asks_source else "2", "props": _PROPERTIES}
    call = Call(method="HEAD", target=_target(bucket, key, query))
    with closing(client.open(call, _asked(bucket, key))) as answer:
        fields = answer.headers
        kind, value = fields.get("ais-checksum-type", ""), fields.get("ais-checksum-value", "")
        return ObjectProperties(
            size=_number(fields.get("content-length", "")),
            checksum=Checksum(kind, value) if kind and value else None,
            accessed_ns=_number(fields.get("ais-atime", "")),
            version=fields.get("ais-version", ""),
            custom=_custom(fields.get("ais-custom-md", "")),
            location=fields.get("ais-location", ""),
            copies=_number(fields.get("ais-mirror-copies", "")),
            copy_paths=fields.get("ais-mirror-paths", "").strip("[]"),
            etag=fields.get("etag", ""),
            last_modified=fields.get("last-modified", ""),
            chunks=_number(fields.get("ais-chunks-count", "")),
        )


def set_custom(
    client: Client, bucket: Bucket, key: bytes, pairs: Mapping[str, str], *, replace: bool = False
) -> None:
    """Add to an object's custom metadata, or `replace` all of it.

    Raises BucketNotFound, ObjectNotFound, BadRequest.
    """
    message = {"action": "", "name": "", "value": dict(pairs)}
    call = Call(
        method="PATCH",
        target=_target(bucket, key, {"set-new-custom": "true"} if replace else {}),
        headers={"Content-Type": "application/json"},
        body=Body(json.dumps(message).encode()),
    )
    client.open(call, _asked(bucket, key)).close()


def _target(bucket: Bucket, key: bytes, query: Mapping[str, str]) -> str:
    named = {"provider": bucket.provider} | ({"namespace": bucket.namespace} if bucket.namespace else {})
    return f"/v1/objects/{bucket.name}/{quote(key, safe='/')}?{urlencode(dict(query) | named)}"


def _asked(bucket: Bucket, key: bytes) -> Asked:
    return Asked(bucket=bucket.cname, name=display(bucket, key))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _custom(field: str) -> dict[str, str]:
    """The pairs of several fields, which were joined by `, `: what holds no `=` belongs to the one before."""
    pairs: dict[str, str] = {}
    key = ""
    # Header fields are read as Latin-1; names and values are UTF-8.
    for part in field.encode("latin-1", "replace").decode("utf-8", "replace").split(", "):
        name, separator, value = part.partition("=")
        if separator:
            key, pairs[name] = name, value
        elif key:
            pairs[key] += f", {part}"
    return pairs
