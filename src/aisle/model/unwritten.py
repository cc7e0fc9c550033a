"""What is newer here than at its source: how such objects are marked, and what is kept of each change.

A change of a bucket with `write_policy.backend=delayed` is acknowledged when it is durable here, and reaches
the source later. Until then the object's record carries a mark, and an entry of the same name in the bucket's
queue, which storage keeps as a bucket of its own, says what is to be done.
"""

from typing import Final

import msgspec

from aisle.model.record import Attributes

_MARK: Final = "unwritten"
"""Among an object's fields; no header field of an answer has this name."""


MARK: Final = _MARK.encode()
"""As it stands in the encoded record of such an object; in those of few others, by chance."""


def is_unwritten(attributes: Attributes) -> bool:
    """Whether an object is newer here than at its source: it must not be dropped."""
    return _MARK in attributes.fields


def marked(attributes: Attributes) -> Attributes:
    """The same, of an object that its source does not have yet."""
    return msgspec.structs.replace(attributes, fields={**attributes.fields, _MARK: ""})


def unmarked(attributes: Attributes) -> Attributes:
    """The same, of an object that its source has, or of a copy that has no source."""
    if not is_unwritten(attributes):
        return attributes
    fields = {name: value for name, value in attributes.fields.items() if name != _MARK}
    return msgspec.structs.replace(attributes, fields=fields)


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """What was about to be sent to a source: by this it is known again where no answer has come."""

    generation: bytes
    """That of the object's record."""
    size: int
    kind: str
    """Kind of the digest, empty where none is known."""
    digest: str
    """Lower-case hex."""


class QueueEntry(msgspec.Struct, frozen=True, array_like=True):
    """A change that its source does not have yet."""

    generation: bytes
    """That of the object's record which is to be written, or removed; empty if there was none."""
    is_removal: bool = False
    noted_ns: int = 0
    """When the change was made, Unix nanoseconds."""
    base: str = ""
    """Entity tag of the object at the source that the change replaces; empty where it is not known."""
    sent: tuple[Sent, ...] = ()
    """What may have arrived at the source by now, the latest last."""
    conflict: str = ""
    """What keeps it from being written until somebody decides; empty for nothing."""
    found: str = ""
    """Entity tag of what the source has instead of `base`, in a conflict."""
    replaces_removal: bool = False
    """Whether a removal came before that its source does not have yet; it holds if the write never comes."""


encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(QueueEntry).decode
