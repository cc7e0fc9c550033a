"""An item of a download job as long as everything goes as usual: a small object in one whole answer.

That is the path of datasets made of many files, so there is little on it: the item itself is told of the
answer and stores what came, or learns that nothing has changed. Whatever is unusual (another status, a body
that is large, or encoded, or has digests to be compared, a lost connection, a full disk) makes an
ItemDownload of it, which is told what has happened so far and goes on as if it had been there from the
beginning.
"""

from aisle.errors import AisleError
from aisle.jobs.item import ItemDownload
from aisle.jobs.item_owner import ItemOwner, OverOneConnection
from aisle.model.record import INLINE_BYTES_MAX, Record
from aisle.rules.download_names import authority_of, is_packed
from aisle.rules.download_plan import Item
from aisle.rules.download_reply import Reply, is_plain_object
from aisle.rules.download_unchanged import Known, is_confirmed
from aisle.transfer.carriers import Carrier
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, Fetcher


class SmallItem(OverOneConnection):
    """One item on its way; a JobItem and a Receiver. It is asked for once."""

    __slots__ = (
        "_body",
        "_carrier",
        "_fetcher",
        "_moved",
        "_moved_s",
        "_owner",
        "_reply",
        "host",
        "is_over",
        "item",
        "known",
        "replaces",
        "started_ns",
    )

    failures: int = 0

    def __init__(self, owner: ItemOwner, item: Item, host: str, *, now_ns: int) -> None:
        self.item = item
        self.host = host
        self.started_ns = now_ns
        self.known: Known | None = None
        self.replaces = False
        self.is_over = False
        self._owner = owner
        self._carrier: Carrier | None = None
        self._reply: Reply | None = None
        self._body = b""
        self._moved = True

    @property
    def name(self) -> str:
        """The object's name, to be shown."""
        return self.item.key.decode("utf-8", "backslashreplace")

    @property
    def size(self) -> int | None:
        """Bytes that the object has, as soon as that is known."""
        return self._reply.length if self._reply is not None else None

    @property
    def received(self) -> int:
        """Bytes of the object that are here."""
        return len(self._body)

    @property
    def connections(self) -> int:
        """How many fetch for the item now."""
        return int(self._carrier is not None)

    @property
    def is_answered(self) -> bool:
        """Whether the source has answered."""
        return self._reply is not None

    def start(self, fetcher: Fetcher) -> None:
        """Ask for the object."""
        link, owner, known = self.item.link, self._owner, self.known
        options = owner.packed_options if is_packed(link) else owner.options
        self._fetcher: Fetcher = fetcher
        self._reply, self._body = None, b""
        self._moved = True
        self._carrier = fetcher.ask(self, link, options, known.condition if known is not None else None)
        if self._carrier is None:
            self._become_usual().start(fetcher)

    def cancel(self, *, keep_parts: bool) -> None:
        """Stop at once; what has come is dropped."""
        del keep_parts
        self.is_over = True
        self._let_go()

    # Called by the fetcher and the carrier.

    def stalled(self, now_s: float, limit_s: float) -> bool:
        """Whether nothing has moved for too long."""
        if self._moved:
            self._moved = False
            self._moved_s = now_s
            return False
        return now_s - self._moved_s > limit_s

    def fail(self, failed: Failure) -> None:
        """Break off."""
        self._become_fetched().fail(failed)

    def drop(self) -> None:
        """Break off, and tell nobody."""
        self._let_go()

    def on_whole(self, reply: Reply, body: bytes) -> bool:
        """All of the answer at once; whether it is what is usual."""
        if self.known is not None:
            is_usual = reply.status == 304 and is_confirmed(reply.fields, self.known)
        else:
            is_usual = is_plain_object(reply) and len(body) <= INLINE_BYTES_MAX
        if is_usual:
            self._carrier = None
            self._fetcher.forget(self)
            self._reply, self._body = reply, body
            self._owner.bytes_received += len(body)
            self._came()
        return is_usual

    def on_head(self, reply: Reply) -> None:
        """The head of an answer that comes piece by piece, or is not what is usual."""
        length = reply.length
        is_small = length is not None and length <= INLINE_BYTES_MAX
        if self.known is None and is_small and is_plain_object(reply):
            self._reply = reply
        else:
            self._become_fetched().on_head(reply)

    def on_body(self, chunk: bytes) -> int:
        """The next bytes."""
        if len(self._body) + len(chunk) > INLINE_BYTES_MAX:
            return self._become_fetched().on_body(chunk)
        self._moved = True
        self._body += chunk
        self._owner.bytes_received += len(chunk)
        return 0

    def on_refused(self, reason: str) -> None:
        """No socket was opened: its address may not be connected to."""
        self._become_fetched().on_refused(reason)

    def on_done(self, code: int, message: str) -> None:
        """The exchange is over."""
        if code or self._reply is None or len(self._body) != self._reply.length:
            self._become_fetched().on_done(code, message)
        else:
            self._let_go()
            self._came()

    def hand_over(self) -> None:
        """Whoever was asked cannot bring the answer."""
        self._become_fetched().hand_over()

    # The rest is ours.

    def _came(self) -> None:
        """The answer is here whole."""
        owner = self._owner
        try:
            if self.known is not None:
                owner.item_unchanged(self)
            else:
                owner.arrivals.add(self)
                owner.item_received(self)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            owner.item_broken(self, error)

    def store(self) -> None:
        """Store what has come."""
        reply = self._reply
        assert reply is not None
        try:
            self._owner.destination.store_plain(self.item, reply, self._body, self._stored)
        except Exception as error:  # noqa: BLE001 - an outermost loop: the others are stored
            self._become_usual().storing_broke(error)

    def _stored(self, outcome: Record | AisleError) -> None:
        """The object is stored, or could not be."""
        if self.is_over:
            return
        if isinstance(outcome, AisleError):
            self._become_usual().storing_broke(outcome)
        else:
            self._owner.item_stored(self, outcome)

    def _let_go(self) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            self._fetcher.forget(self)
            carrier.release()

    def _become_usual(self) -> ItemDownload:
        """Have an ItemDownload in the place of this one, which knows what came."""
        usual = ItemDownload(self._owner, self.item, now_ns=self.started_ns)
        usual.known, usual.replaces = self.known, self.replaces
        if self._reply is not None:
            usual.head(self._reply)
        self._owner.item_replaced(self, usual)
        return usual

    def _become_fetched(self) -> Fetch:
        """The same while it is being asked for: the fetch that is told what comes."""
        carrier, self._carrier = self._carrier, None
        reply, self._reply = self._reply, None
        self._fetcher.forget(self)
        fetch = self._become_usual().take_over(self._fetcher, carrier)
        if reply is not None:
            fetch.on_head(reply)
        if self._body:
            self._owner.bytes_received -= len(self._body)  # they are counted again
            fetch.on_body(self._body)
        return fetch


class SmallItems:
    """Makes the items of one job small ones, where they may turn out to be that."""

    def __init__(self, owner: ItemOwner) -> None:
        self._owner = owner
        self._server, self._host = "\n", ""  # what the last link began with, and its host

    def make(self, item: Item, *, now_ns: int) -> SmallItem | None:
        """The item as a small one; None if it is to be compared with something, or is fetched otherwise."""
        link = item.link
        if item.checksum or item.size >= 0:
            return None
        if not link.startswith(self._server):
            if not link.startswith(("http://", "https://")):
                return None
            self._host = authority_of(link)
            self._server = link[: link.index("://") + 3] + self._host + "/"
        return SmallItem(self._owner, item, self._host, now_ns=now_ns)
