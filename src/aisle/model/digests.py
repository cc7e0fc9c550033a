"""Names of digests that depend on more than the bytes."""

GIT_BLOB = "gitblob"
"""Git's id of a file's content: the SHA-1 of a header, which holds the size, and the bytes."""

_SIZED = f"{GIT_BLOB}-"


def git_blob_kind(size: int) -> str:
    """The kind of digest that computes git's id of a blob of `size` bytes: it begins with the size."""
    return f"{_SIZED}{size}"


def git_blob_size(kind: str) -> int | None:
    """The size of the blob that a kind of digest is for, in bytes; None if it is another kind."""
    text = kind.removeprefix(_SIZED)
    return int(text) if text != kind and text.isascii() and text.isdigit() else None


def plain_kind(kind: str) -> str:
    """The kind as users know it: without a blob's size."""
    return GIT_BLOB if kind.startswith(_SIZED) else kind
