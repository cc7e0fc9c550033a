"""Pages of names, as the wire lists them (ais-native-api.md §5).

Pages are asked for in MessagePack, one at a time, so that a million names never sit in memory.
"""

import msgspec

FLAG_CACHED = 1
FLAG_MISSING = 2
FLAG_ARCHIVES = 8
FLAG_NAME_ONLY = 16
FLAG_NAME_SIZE = 32
FLAG_NOT_CACHED = 512
FLAG_NO_RECURSION = 2048
FLAG_DIFFERENT = 4096
FLAG_NO_DIRECTORIES = 8192
ENTRY_CACHED = 64
ENTRY_DIRECTORY = 256
ENTRY_CHANGED = 1024
ENTRY_REMOVED = 2048
ENTRY_CHUNKED = 8192
ENTRY_STATUS_BITS = 0b11111

STATUSES = ("ok", "misplaced(cluster)", "misplaced(mountpath)", "replica", "replica(object-is-missing)")


class ListedObject(msgspec.Struct, frozen=True, gc=False):
    """A name in a listing, and what was asked for beside it; the rest is empty."""

    name: str = msgspec.field(name="n")
    size: int = msgspec.field(name="s", default=0)
    checksum: str = msgspec.field(name="cs", default="")
    accessed: str = msgspec.field(name="a", default="")
    """As the node formats it: `20 Nov 26 16:10 UTC`."""
    version: str = msgspec.field(name="v", default="")
    location: str = msgspec.field(name="t", default="")
    custom: str = msgspec.field(name="m", default="")
    copies: int = msgspec.field(name="c", default=0)
    flags: int = msgspec.field(name="f", default=0)

    @property
    def is_directory(self) -> bool:
        """Whether it stands for all names below it, which ends with a slash."""
        return bool(self.flags & ENTRY_DIRECTORY)

    @property
    def is_cached(self) -> bool:
        """Whether the cluster holds its bytes."""
        return bool(self.flags & ENTRY_CACHED)

    @property
    def is_chunked(self) -> bool:
        """Whether it was made of parts."""
        return bool(self.flags & ENTRY_CHUNKED)

    @property
    def status(self) -> str:
        """AIStore's word for where it stands, `ok` where it should; `n/a` for what is only at a source."""
        number = self.flags & ENTRY_STATUS_BITS
        if not number and not self.is_cached:
            return "n/a"
        if not number and self.flags & (ENTRY_CHANGED | ENTRY_REMOVED):
            return "deleted" if self.flags & ENTRY_REMOVED else "version-changed"
        return STATUSES[number] if number < len(STATUSES) else str(number)


class ListedPage(msgspec.Struct, frozen=True, gc=False):
    """One page; `token` asks for the next and is empty on the last."""

    id: str = msgspec.field(name="UUID")
    token: str = msgspec.field(name="ContinuationToken")
    entries: list[ListedObject] | None = msgspec.field(name="Entries", default=None)


decode_page = msgspec.msgpack.Decoder(ListedPage).decode
