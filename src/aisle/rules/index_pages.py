"""Pages that list a folder, as nginx, Apache, `http.server` and others make them: which of their links count.

Only what lies below the folder where a walk began is of interest: links that lead up or elsewhere, that
sort the page anew, or that name one of its own places are passed over. A link that ends with a slash is a
folder, any other is a file.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from aisle.errors import BadRequest
from aisle.model.names import OBJECT_NAME_BYTES_MAX
from aisle.rules.download_names import host_of, normal_link, public_link

PATTERN_CHARS_MAX: Final = 1024
PATTERNS_MAX: Final = 1000
_PAGE_TYPES: Final = ("text/html", "application/xhtml+xml")
# Pages come from anywhere: what is looked for here is found, or not, in one pass over them.
_MARKS: Final = re.compile(r"<(?:(!--)|(script|style)\b|a\s)", re.IGNORECASE)
_HIDDEN_ENDS: Final = {
    "script": re.compile(r"</script", re.IGNORECASE),
    "style": re.compile(r"</style", re.IGNORECASE),
}
_TAG_CHARS_MAX: Final = 16 * 1024
_HREF: Final = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
# Names that need nothing done to them: nearly all.
_PLAIN_HREF: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~%+,=@-]*/?")

_Matches = Callable[[str], bool]


class Entry(NamedTuple):
    """A link of a page that counts. Its path is decoded and relative to where the walk began."""

    link: str
    path: str
    """That of a folder ends with a slash."""
    error: str = ""
    """Why it cannot be had; else empty."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.endswith("/")


class StartFolder:
    """Where a walk began: what lies below it, and under which path."""

    def __init__(self, link: str) -> None:
        """`link` leads to the folder, with or without a slash at its end. Raises BadRequest."""
        parts = urlsplit(normal_link(link))
        if parts.query or parts.fragment:
            raise BadRequest(f'link "{public_link(link)}": a folder has neither a query nor a fragment')
        path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
        self.link = f"{parts.scheme.lower()}://{parts.netloc}{path}"
        self._scheme = parts.scheme.lower()
        self._host = host_of(self.link)
        self._path = unquote_to_bytes(path)

    def entry(self, link: str) -> Entry | None:
        """What a link is; None if it does not lie below the folder, or names no single file or folder."""
        link = link.partition("#")[0]
        if "?" in link:
            return None
        try:
            link = normal_link(link)  # pages have links with blanks and letters as they are, too
            parts = urlsplit(link)
            if parts.scheme.lower() != self._scheme or host_of(link) != self._host:
                return None
        except (BadRequest, ValueError):
            return None
        raw = parts.path
        path = unquote_to_bytes(raw)
        if not path.startswith(self._path) or len(path) == len(self._path):
            return None
        relative = path[len(self._path) :]
        elements = relative.removesuffix(b"/").split(b"/")
        if b"" in elements or b"." in elements or b".." in elements:
            return None
        try:
            text = relative.decode()
        except UnicodeDecodeError:
            shown = relative.decode("utf-8", "backslashreplace")
            return Entry(link, shown, "its name is not valid UTF-8")
        if "%2f" in raw.lower():
            return Entry(link, text, "its name holds a slash")
        if len(relative) > OBJECT_NAME_BYTES_MAX:
            return Entry(link, text, f"its path has more than {OBJECT_NAME_BYTES_MAX} bytes")
        return Entry(link, text)


def is_page(content_type: str) -> bool:
    """Whether an answer of this type may be a page with links."""
    return content_type.partition(";")[0].strip().lower() in _PAGE_TYPES


def page_text(body: bytes, content_type: str) -> str:
    """A page as text. What is not in the encoding that it claims to be in stays recognisable."""
    charset = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9._-]+)", content_type)
    try:
        return body.decode(charset[1] if charset else "utf-8", "backslashreplace")
    except LookupError:
        return body.decode("utf-8", "backslashreplace")


def page_entries(text: str, page: str, start: StartFolder) -> Iterator[Entry]:
    """The entries of the page at the link `page` that lie in its own folder or below, each once, in order."""
    own = start.entry(page)
    folder = own.path[: own.path.rfind("/") + 1] if own is not None else ""
    is_plain = page.endswith("/")  # then names are just put behind it
    hrefs: set[str] = set()
    seen = {folder}
    for href in _hrefs(text):
        if not href or href in hrefs:
            continue
        hrefs.add(href)
        if is_plain and "%" not in href and _PLAIN_HREF.fullmatch(href):
            entry: Entry | None = Entry(page + href, folder + href)
        else:
            entry = _other_entry(href, page, start)
        if entry is not None and entry.path not in seen and entry.path.startswith(folder):
            seen.add(entry.path)
            yield entry


def _hrefs(text: str) -> Iterator[str]:
    """Where the links of a page lead, as they are written; not those in comments and scripts."""
    at = 0
    while (mark := _MARKS.search(text, at)) is not None:
        if mark[1]:
            at = text.find("-->", mark.end())
        elif mark[2]:
            end = _HIDDEN_ENDS[mark[2].lower()].search(text, mark.end())
            at = end.start() if end is not None else -1
        else:
            at = text.find(">", mark.end())
            tag = text[mark.start() : at]
            found = _HREF.search(tag) if at >= 0 and len(tag) <= _TAG_CHARS_MAX else None
            if found is not None:
                yield html.unescape(found[1] or found[2] or found[3] or "").strip()
        if at < 0:
            return  # it never ends, so nothing more is shown


def _other_entry(href: str, page: str, start: StartFolder) -> Entry | None:
    scheme = href.partition(":")[0].lower()
    if ":" in href.partition("/")[0] and scheme not in ("http", "https"):
        return None  # mailto:, javascript: and the like
    try:
        return start.entry(urljoin(page, href))
    except ValueError:
        return None


class Wanted:
    """Which files and folders are wanted, by glob patterns.

    A pattern without a slash is compared with a file's own name, one with a slash with its whole path, where
    `*` stands for slashes too. A file must match one of `include`, if there is any, and none of `exclude`. A
    folder is not even looked into when `exclude` has it: as `name/` wherever it is, as `/name/` where the
    walk began, or as all that is in it, `path/*`.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [_file_pattern(text) for text in include]
        self._exclude = [_file_pattern(text) for text in exclude]
        self._folders = [match for text in exclude for match in _folder_patterns(text)]

    def file(self, path: str) -> bool:
        """Whether a file is wanted."""
        if self._include and not any(matches(path) for matches in self._include):
            return False
        if self._folders and not all(map(self.folder, _folders_of(path))):
            return False
        return not any(matches(path) for matches in self._exclude)

    def folder(self, path: str) -> bool:
        """Whether there may be wanted files in a folder; its path ends with a slash."""
        return not any(matches(path) for matches in self._folders)


def _file_pattern(pattern: str) -> _Matches:
    matches = re.compile(translate(pattern.removeprefix("/"))).match
    if "/" in pattern:
        return lambda path: matches(path) is not None
    return lambda path: matches(path.rpartition("/")[2]) is not None


def _folder_patterns(pattern: str) -> list[_Matches]:
    """What finds the folders that a pattern leaves out; nothing if it is about files."""
    if pattern.endswith("/*"):
        globs = [pattern[:-1].removeprefix("/")]
    elif pattern.endswith("/"):
        globs = [pattern[1:]] if pattern.startswith("/") else [pattern, f"*/{pattern}"]
    else:
        return []
    patterns = [re.compile(translate(text)) for text in globs]
    return [lambda path: any(one.match(path) is not None for one in patterns)]


def _folders_of(path: str) -> Iterator[str]:
    """The folders that a file is in, the outermost first."""
    at = path.find("/") + 1
    while at:
        yield path[:at]
        at = path.find("/", at) + 1


def checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Glob patterns that may be used. Raises BadRequest for too many and too long ones."""
    if len(patterns) > PATTERNS_MAX or any(len(pattern) > PATTERN_CHARS_MAX for pattern in patterns):
        raise BadRequest(
            f"at most {PATTERNS_MAX} patterns of at most {PATTERN_CHARS_MAX} characters are allowed"
        )
    if not all(patterns):
        raise BadRequest("a pattern is empty")
    return tuple(patterns)
