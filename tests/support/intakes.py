"""What takes the answers of fetches in tests."""

import asyncio

from aisle.rules.download_reply import Reply
from aisle.transfer.failures import Failure


class Taken:
    """An intake that takes everything; `end` is done when all is over."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.bytes = b""
        self.end: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

    def head(self, reply: Reply) -> bool:
        assert self.reply is None, "told once"
        self.reply = reply
        return True

    def body(self, chunk: bytes) -> bool:
        self.bytes += chunk
        return True

    def ended(self, failed: Failure | None) -> None:
        self.end.set_result(failed)
