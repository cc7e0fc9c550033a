"""Hugging Face: how its repositories are addressed, and which of their files become which objects.

A repository is a dataset or a model with an id such as `rajpurkar/squad` (old ones have no owner:
`gpt2`). A revision is a branch, a tag, a reference such as `refs/pr/3`, or a commit; only a commit
stays what it is, so links that are kept carry one. Beside its own files a dataset may have a Parquet
conversion, which the hub keeps under a reference of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote, unquote

from aisle.errors import BadRequest

SCHEME = "hf://"
ENDPOINT = "https://huggingface.co"
"""The public hub; a mirror has another."""
MAIN = "main"
"""The branch that is meant when nobody names a revision."""
PARQUET_REVISION = "refs/convert/parquet"
"""Where the hub keeps the Parquet conversion of a dataset."""

DATASET = "dataset"
MODEL = "model"
_KINDS = (DATASET, MODEL)

_ID_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID = re.compile(rf"{_ID_PART}(?:/{_ID_PART})?")
_REVISION = re.compile(r"[A-Za-z0-9._/+~#@-]{1,255}")
# References hold slashes, and people write them as they are.
_REFERENCE = re.compile(r"(refs/(?:convert|pr|heads|tags)/[^/]+)(?:/(.*))?", re.DOTALL)
# What the filesystem of Hugging Face calls the conversions.
_REFERENCE_NAMES = {"~parquet": PARQUET_REVISION, "~duckdb": "refs/convert/duckdb"}
_BOOKKEEPING = ".gitattributes"
_PARTIAL = "partial-"
"""What the hub puts before a split of which only the beginning was converted."""


class Repository(NamedTuple):
    """A repository of the hub."""

    kind: str
    """`dataset` or `model`."""
    id: str

    @property
    def path(self) -> str:
        """Its path behind the endpoint: `datasets/rajpurkar/squad`, `gpt2`."""
        return f"datasets/{self.id}" if self.kind == DATASET else self.id

    def page(self, endpoint: str = ENDPOINT) -> str:
        """The page that people see."""
        return f"{endpoint.rstrip('/')}/{self.path}"

    def link(self, revision: str, path: str, endpoint: str = ENDPOINT, *, unquoted: str = "") -> str:
        """Where a file's bytes are had: the hub sends them, or says who does.

        Characters of the path that are `unquoted` stay as they are.
        """
        return f"{self.page(endpoint)}/resolve/{quote(revision, safe='')}/{quote(path, safe=f'/{unquoted}')}"


class Source(NamedTuple):
    """What an `hf://` address names."""

    repository: Repository
    revision: str = ""
    """Empty if none was named."""
    path: str = ""
    """A file or a folder; empty for the whole repository."""


class RepositoryFile(NamedTuple):
    """A file as the hub lists it."""

    path: str
    size: int = -1
    """Bytes, -1 if not told."""
    checksum: str = ""
    """What its bytes have, `sha256:HEX` or `gitblob:HEX`; empty if not told."""


class HubFile(NamedTuple):
    """A file to fetch: where from, the object's name below the destination, and what must come."""

    name: str
    link: str
    size: int = -1
    checksum: str = ""


def repository(kind: str, name: str) -> Repository:
    """The repository of that kind and id. Raises BadRequest if there can be none of that name."""
    assert kind in _KINDS, kind
    if not _ID.fullmatch(name) or "--" in name or ".." in name:
        raise BadRequest(f'"{name}" is not the name of a {kind}: want NAME or OWNER/NAME')
    return Repository(kind, name)


def checked_revision(revision: str) -> str:
    """The revision itself, an alias replaced. Raises BadRequest if there can be none of that name."""
    revision = _REFERENCE_NAMES.get(revision, revision)
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.startswith("/"):
        raise BadRequest(f'"{revision[:100]}" is not the name of a revision')
    return revision


def parse_source(text: str) -> Source:
    """Read `hf://datasets/NAME[@REVISION][/PATH]` or `hf://NAME[@REVISION][/PATH]` (a model).

    NAME without an owner needs the revision, because `hf://a/b` is the model `b` of `a`. The path is
    taken as it stands; only a revision may be percent-encoded. Raises BadRequest.
    """
    if not text.startswith(SCHEME):
        raise BadRequest(f'"{text[:200]}" does not begin with {SCHEME}')
    rest = text.removeprefix(SCHEME)
    kind = MODEL
    for prefix, meant in (("datasets/", DATASET), ("models/", MODEL)):
        if rest.startswith(prefix):
            kind, rest = meant, rest.removeprefix(prefix)
    if rest.startswith(("spaces/", "buckets/")):
        raise BadRequest(f'"{text[:200]}": only datasets and models can be downloaded')
    owner, slash, behind = rest.partition("/")
    if "@" not in owner and slash:
        name, at, behind = _divide(behind)
        name = f"{owner}/{name}"
    else:
        name, at, behind = _divide(rest)
    found = repository(kind, name)
    if not at:
        return Source(found, "", behind)
    reference = _REFERENCE.fullmatch(behind)
    if reference is not None:
        return Source(found, checked_revision(unquote(reference[1])), reference[2] or "")
    revision, _, path = behind.partition("/")
    return Source(found, checked_revision(unquote(revision)), path)


def _divide(text: str) -> tuple[str, str, str]:
    """A name, the `@` if it follows, and what comes then (without the slash that follows a name)."""
    name, slash, behind = text.partition("/")
    if "@" not in name:
        return name, "", behind
    name, at, revision = name.partition("@")
    return name, at, f"{revision}{slash}{behind}"


def web_link(text: str, endpoint: str = ENDPOINT, *, is_template: bool = False) -> str:
    """A link as it is, or the one that an `hf://` address stands for; see `hub_link`."""
    return hub_link(text, endpoint, is_template=is_template) if text.startswith(SCHEME) else text


def hub_link(address: str, endpoint: str = ENDPOINT, *, is_template: bool = False) -> str:
    """The link to the one file that an `hf://` address names; of a template, with its braces.

    Raises BadRequest for what is no such address, or names no file.
    """
    source = parse_source(address)
    if not source.path or source.path.endswith("/"):
        raise BadRequest(
            f'"{address[:200]}" names no file: want {SCHEME}datasets/OWNER/NAME/PATH, '
            f"or {SCHEME}datasets/NAME@{MAIN}/PATH for one without an owner"
        )
    if not {"", ".", ".."}.isdisjoint(source.path.split("/")):
        raise BadRequest(f'"{address[:200]}" names no file: its path has a part that no file can have')
    braces = "{}" if is_template else ""
    return source.repository.link(source.revision or MAIN, source.path, endpoint, unquoted=braces)


def selected(
    names: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> frozenset[str]:
    """The names that one of the `include` globs matches (all if there is none) and no `exclude`.

    As in Hugging Face's own tools `*` matches slashes too, and `folder/` stands for all below it. Git's
    own bookkeeping file is left out unless it is included by a glob.
    """

    def matches(name: str, globs: Sequence[str]) -> bool:
        return any(fnmatchcase(name, f"{glob}*" if glob.endswith("/") else glob) for glob in globs)

    return frozenset(
        name
        for name in names
        if (matches(name, include) if include else name.rpartition("/")[2] != _BOOKKEEPING)
        and not matches(name, exclude)
    )


def original_files(
    found: Repository, commit: str, files: Iterable[RepositoryFile], endpoint: str = ENDPOINT
) -> list[HubFile]:
    """The repository's own files: each keeps its path as its name."""
    return [
        HubFile(file.path, found.link(commit, file.path, endpoint), file.size, file.checksum)
        for file in files
    ]


class ParquetPlan(NamedTuple):
    """The files of a Parquet conversion, and the splits that it holds only the beginning of."""

    files: list[HubFile]
    partial: tuple[str, ...]


def parquet_files(
    found: Repository,
    commit: str,
    *,
    listing: Mapping[str, Mapping[str, Sequence[str]]],
    tree: Iterable[RepositoryFile],
    endpoint: str = ENDPOINT,
) -> ParquetPlan:
    """The files of a dataset's Parquet conversion: `SPLIT/N.parquet`, behind `CONFIG/` if it has several.

    `listing` tells which there are: by config and split a link to each. `tree` lists the files at
    `commit` of the conversion's reference, and so tells sizes and checksums; where the two do not
    agree (a conversion is under way), the link goes by number and nothing is known of the bytes.
    """
    folders: dict[str, list[RepositoryFile]] = {}
    for file in sorted(tree, key=lambda file: (len(file.path), file.path)):
        folders.setdefault(file.path.rpartition("/")[0], []).append(file)
    files: list[HubFile] = []
    partial: list[str] = []
    for config, splits in listing.items():
        for split, links in splits.items():
            known = folders.get(f"{config}/{split}", [])
            if not known and f"{config}/{_PARTIAL}{split}" in folders:
                known = folders[f"{config}/{_PARTIAL}{split}"]
            if any(f"/{_PARTIAL}" in file.path for file in known) or any(_PARTIAL in link for link in links):
                partial.append(f"{config}/{split}")
            folder = f"{config}/{split}" if len(listing) > 1 else split
            for number in range(len(links)):
                name = f"{folder}/{number}.parquet"
                if len(known) == len(links):
                    file = known[number]
                    link = found.link(commit, file.path, endpoint)
                    files.append(HubFile(name, link, file.size, file.checksum))
                else:
                    place = quote(f"{config}/{split}/{number}.parquet")
                    base = f"{endpoint.rstrip('/')}/api/datasets/{found.id}/parquet"
                    files.append(HubFile(name, f"{base}/{place}"))
    return ParquetPlan(files, tuple(partial))


def batches(files: Sequence[HubFile], threshold_bytes: int) -> list[list[HubFile]]:
    """Jobs to make of the files: each of at least `threshold_bytes` has its own, the rest one together.

    Without a threshold (0) all go together, and so do those whose size is not known.
    """
    large = [file for file in files if 0 < threshold_bytes <= file.size]
    alone = set(large)
    rest = [file for file in files if file not in alone]
    return ([rest] if rest else []) + [[file] for file in large]
