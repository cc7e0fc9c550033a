"""Archives as AIStore knows them: formats, names of members, and how members are selected.

A format follows from what the client says, else from the object's name, else from the first bytes
(ais-native-api.md §6.2, §6.8).
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from aisle.errors import BadRequest
from aisle.rules.expressions import expression

MEMBER_NAME_BYTES_MAX: Final = 4096
PATTERN_CHARS_MAX: Final = 1024
MAGIC_BYTES: Final = 262
"""How many of an object's first bytes tell its format."""


class ArchiveInvalid(BadRequest):
    """An object is not the archive that it is taken for, or is damaged."""


class ArchiveFormat(Enum):
    """A format, by its usual extension."""

    TAR = ".tar"
    TGZ = ".tgz"
    TAR_LZ4 = ".tar.lz4"
    ZIP = ".zip"

    @property
    def content_type(self) -> str:
        """Its media type."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES: Final = {
    ArchiveFormat.TAR: "application/x-tar",
    ArchiveFormat.TGZ: "application/gzip",
    ArchiveFormat.TAR_LZ4: "application/x-lz4",
    ArchiveFormat.ZIP: "application/zip",
}
_EXTENSIONS: Final = {
    ".tar": ArchiveFormat.TAR,
    ".tgz": ArchiveFormat.TGZ,
    ".tar.gz": ArchiveFormat.TGZ,
    ".tar.lz4": ArchiveFormat.TAR_LZ4,
    ".zip": ArchiveFormat.ZIP,
}
_SUFFIXES: Final = tuple(extension.encode() for extension in _EXTENSIONS)
_SPOKEN: Final = {
    **_EXTENSIONS,
    **{extension[1:]: format_ for extension, format_ in _EXTENSIONS.items()},
    **{text: format_ for format_, text in _CONTENT_TYPES.items()},
    "application/x-gzip": ArchiveFormat.TGZ,
    "application/x-tar+gzip": ArchiveFormat.TGZ,
}


def parse_format(text: str) -> ArchiveFormat:
    """The format that a client names: by extension with or without its dot, or by media type.

    Raises BadRequest for any other text.
    """
    found = _SPOKEN.get(text.strip().lower())
    if found is None:
        known = ", ".join(_EXTENSIONS)
        raise BadRequest(f'unknown archive format "{text[:80]}" (expecting one of [{known}])')
    return found


def is_archive_name(key: bytes) -> bool:
    """Whether an object's name ends as those of archives do."""
    return key.endswith(_SUFFIXES)


def format_of_name(key: bytes) -> ArchiveFormat | None:
    """The format that an object's name promises, None if it promises none."""
    text = key[-8:].decode("latin-1").lower()
    return next((found for extension, found in _EXTENSIONS.items() if text.endswith(extension)), None)


def format_of_bytes(head: bytes) -> ArchiveFormat | None:
    """The format of which these are the first MAGIC_BYTES bytes, None if it is none of ours."""
    if head[257:262] == b"ustar":
        return ArchiveFormat.TAR
    if head.startswith(b"\x1f\x8b"):
        return ArchiveFormat.TGZ
    if head.startswith(b"\x04\x22\x4d\x18"):
        return ArchiveFormat.TAR_LZ4
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ArchiveFormat.ZIP
    return None


def writable_format(key: bytes, spoken: str) -> ArchiveFormat:
    """The format to write an archive of this name in. Raises BadRequest if neither name nor text tell."""
    if spoken:
        return parse_format(spoken)
    found = format_of_name(key)
    if found is None:
        name = key.decode("utf-8", "backslashreplace")
        known = ", ".join(_EXTENSIONS)
        raise BadRequest(f'"{name}" is not the name of an archive (expecting one of [{known}])')
    return found


def parse_member_name(text: str) -> str:
    """The name of a member that is to be written, without a leading slash.

    Raises BadRequest for one that would lead out of the folder in which the archive is unpacked, and for
    one that cannot be a file's.
    """
    name = text.removeprefix("/")
    parts = name.split("/")
    if not name or not parts[-1] or ".." in parts or "." in parts or "\0" in name or name.startswith("/"):
        raise BadRequest(f'"{text[:200]}" cannot be the name of a file in an archive')
    if len(name.encode("utf-8", "surrogatepass")) > MEMBER_NAME_BYTES_MAX:
        raise BadRequest(f"the name of a file in an archive has at most {MEMBER_NAME_BYTES_MAX} bytes")
    return name


def same_member(name: str) -> str:
    """What names of one member have in common, however they begin: `./a`, `/a` and `a` are one."""
    if name[:2] == "./":
        name = name[2:]
    return name.lstrip("/")


Match = Callable[[str], bool]


def member_filter(mode: str, pattern: str) -> Match:
    """Whether a member is meant by AIStore's `archmode` and `archregx` (§6.2).

    An empty mode is `prefix`, an empty pattern means every member. Raises BadRequest for an unknown mode
    or an expression that cannot be read.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadRequest(f"archregx has at most {PATTERN_CHARS_MAX} characters")
    make = _MODES.get(mode or "prefix")
    if make is None:
        known = " ".join(sorted(_MODES.keys() - {"*"}))
        raise BadRequest(f'invalid archmode "{mode[:80]}" (expecting one of [{known}])')
    if not pattern:
        return lambda _: True
    return make(pattern)


def webdataset_key(name: str) -> str:
    """What the files of one WebDataset sample have in common: the name up to its extensions.

    >>> webdataset_key("train/0001.seg.png")
    'train/0001'
    """
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _expression(pattern: str) -> Match:
    return expression(pattern, what="archregx")


def _prefix(pattern: str) -> Match:
    return lambda name: name.startswith(pattern)


def _suffix(pattern: str) -> Match:
    return lambda name: name.endswith(pattern)


def _part(pattern: str) -> Match:
    return lambda name: pattern in name


def _key(pattern: str) -> Match:
    return lambda name: webdataset_key(name) == pattern


_MODES: Final[dict[str, Callable[[str], Match]]] = {
    "regexp": _expression,
    "prefix": _prefix,
    "*": _prefix,
    "suffix": _suffix,
    "substr": _part,
    "wdskey": _key,
}
