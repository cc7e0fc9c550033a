"""Keeping what goes by: an object on its way between a client and its source becomes the copy here.

Whoever passes the bytes on is never held up by what fails here: then they are not kept. What is kept is
whole and what its source says that it is.
"""

import logging
from collections.abc import Sequence
from typing import Final

from aisle.backends.provider import RemoteObject
from aisle.errors import AisleError, ConditionFailed, NotFound, OutOfSpace
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Attributes, Condition, Record
from aisle.storage.engine import Draft, StorageEngine
from aisle.target.filling import undisturbed
from aisle.target.room import cache_room

_log = logging.getLogger(__name__)

MD5: Final = "md5"
_LOOK_BYTES: Final = 1024 * 1024
"""After how many bytes of a write it is looked anew whether there is room for more."""


class Keeping:
    """One object that goes by."""

    def __init__(
        self,
        engine: StorageEngine,
        bucket: BucketInfo,
        key: bytes,
        *,
        digests: Sequence[str],
        size: int,
        since: int,
        is_judged: bool = True,
    ) -> None:
        """`digests` are the kinds to compute, `size` is how many bytes are expected.

        `is_judged` says that the object's source has accepted the request, and told the size; else room is
        neither held nor made for what a client announces, and looked for as it comes in.
        `since` is the engine's place from before the source was asked: what is removed behind it stays so.
        """
        self._engine = engine
        self._name = ObjectName(bucket.number, key)
        self._since = since
        self._room = cache_room()
        self._shown = display(bucket.bucket, key)
        self._digests = tuple(dict.fromkeys(digests))
        self._draft: Draft | None = None
        self._looked_at = None if is_judged else 0
        try:
            if self._room is not None and is_judged:
                self._room.hold(self, self._name, size)
            elif self._room is not None:
                self._room.check(self._name, 0)
            self._draft = engine.draft(self._name, size=size, digests=self._digests, sync=bucket.payload_sync)
        except AisleError as error:
            self._give_up(error)

    @property
    def is_kept(self) -> bool:
        """Whether it still can be kept."""
        return self._draft is not None

    @property
    def size(self) -> int:
        """Bytes that have gone by, as long as it can be kept."""
        return self._draft.size if self._draft is not None else 0

    async def take(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._draft is None:
            return
        try:
            self._look(self._draft.size)
            pending = self._draft.write(chunk)
            if pending is not None:
                await pending
        except AisleError as error:
            self._give_up(error)

    def _look(self, size: int) -> None:
        """Raise OutOfSpace if there is no room for more of what nobody has judged yet."""
        if self._room is None or self._looked_at is None or size - self._looked_at < _LOOK_BYTES:
            return
        self._looked_at = size
        self._room.check(self._name, _LOOK_BYTES)

    async def finish(self) -> dict[str, str]:
        """All bytes have gone by; their digests by kind, none if they are not kept."""
        if self._draft is None:
            return {}
        try:
            pending = self._draft.finish()
            if pending is not None:
                await pending
        except AisleError as error:
            self._give_up(error)
            return {}
        return {kind: self._draft.digest(kind) for kind in self._digests}

    async def commit(self, attributes: Attributes, *, condition: Condition, written_ns: int) -> Record | None:
        """Make it the copy here, if that is as `condition` wants it; None if it is not kept."""
        draft, self._draft = self._draft, None
        if draft is None:
            return None
        try:
            condition = condition._replace(since=self._since)
            committing = self._engine.commit(
                self._name, draft, attributes, condition=condition, written_ns=written_ns
            )
            return await undisturbed(committing)
        except (ConditionFailed, NotFound):
            return None  # it was written meanwhile, or its bucket is gone: what is there now counts
        except AisleError as error:
            _log.warning("%s went by and could not be kept: %s", self._shown, error)
            return None
        finally:
            self._release()

    def drop(self) -> None:
        """Do not keep it; harmless when it was committed."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.abort()
        self._release()

    def _release(self) -> None:
        if self._room is not None:
            self._room.release(self)

    def _give_up(self, error: AisleError) -> None:
        # A full disk is told by the node itself, and goes on for long.
        level = logging.DEBUG if isinstance(error, OutOfSpace) else logging.WARNING
        _log.log(level, "%s goes by and cannot be kept: %s", self._shown, error)
        self.drop()


def contradicts(about: RemoteObject, size: int, computed: dict[str, str]) -> bool:
    """Whether bytes of this size with these digests are not those that their source tells of."""
    if about.size != size:
        return True
    return any(computed[kind] != about.digests[kind].lower() for kind in computed if about.digests.get(kind))
