"""Asking for a download whose items are a list, however long: streamed line by line, held nowhere."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from aisle.client.answers import Asked
from aisle.client.bodies import Body
from aisle.client.connections import Call
from aisle.errors import NodeFailed

if TYPE_CHECKING:
    from aisle.client.node import Client
    from aisle.model.names import Bucket

LIST_TYPE = "application/x-ndjson"


class LineStream:
    """Lines as a stream that can be read once."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """The next bytes, empty at the end."""
        pieces, length = [self._rest], len(self._rest)
        while length < size:
            line = next(self._lines, b"")
            if not line:
                break
            pieces.append(line)
            length += len(line)
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]

    def seekable(self) -> bool:
        """Never: lines are made while they are sent."""
        return False

    def seek(self, offset: int, /) -> int:  # noqa: ARG002
        """Lines do not come again."""
        raise OSError("a list cannot be sent twice")

    def tell(self) -> int:
        """Nowhere in particular."""
        return 0


def start_list(
    client: "Client", bucket: "Bucket", message: Mapping[str, object], lines: Iterable[bytes]
) -> str:
    """Start a download job in the node; its id.

    `message` is that of a DownloadRequest; each of `lines` ends with a line break and is an item as JSON.
    Raises BadRequest for a list that is refused, and what the lines raise while they are made; then there is
    no job.
    """
    space = {"uuid": "", "name": ""}
    if bucket.namespace:
        uuid, _, name = bucket.namespace.removeprefix("@").partition("#")
        space = {"uuid": uuid, "name": name}
    told = {
        **message,
        "bucket": {"name": bucket.name, "provider": bucket.provider, "namespace": space},
    }

    def all_lines() -> Iterable[bytes]:
        yield msgspec.json.encode(told) + b"\n"
        yield from lines

    call = Call(
        method="POST",
        target="/v1/download",
        headers={"Content-Type": LIST_TYPE, "Accept": "application/json"},
        body=Body(LineStream(all_lines())),
    )
    with closing(client.open(call, Asked(bucket=bucket.cname))) as answer:
        data = answer.read()
    try:
        return str(msgspec.json.decode(data)["id"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise NodeFailed(f"what answers at {client.endpoint} is not a node", status=200) from error
