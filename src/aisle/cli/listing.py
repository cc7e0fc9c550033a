"""`ais ls`: buckets, and objects page by page."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import click

from aisle.cli import output
from aisle.cli.lazy import suggestion
from aisle.cli.locations import Location, parse_location, parse_provider_only
from aisle.cli.parameters import complete_location, json_option, no_headers_option, units_option
from aisle.cli.presence import DIFF_COLUMNS, presence_flags, presence_options
from aisle.cli.session import Session, pass_session
from aisle.client.listing import (
    FLAG_ARCHIVES,
    FLAG_NAME_ONLY,
    FLAG_NAME_SIZE,
    FLAG_NO_DIRECTORIES,
    FLAG_NO_RECURSION,
    ListedObject,
)
from aisle.errors import BadRequest
from aisle.model.names import SCHEMES, Bucket

_CLUSTER = re.compile(r"ais://(@[^/#]+)/?")
"""Another cluster, without a bucket of it."""

Show = Callable[[ListedObject], str]
Tell = Callable[[ListedObject], object]


def _size_of(entry: ListedObject) -> str:
    return "" if entry.is_directory else output.size_text(entry.size)


# Property -> (its table cell, its JSON value, the JSON member); what the wire can list (§5.1).
PROPERTIES: Mapping[str, tuple[Show, Tell]] = {
    "size": (_size_of, lambda entry: entry.size),
    "checksum": (lambda entry: entry.checksum, lambda entry: entry.checksum),
    "atime": (lambda entry: entry.accessed, lambda entry: entry.accessed),
    "version": (lambda entry: entry.version, lambda entry: entry.version),
    "copies": (lambda entry: str(entry.copies or ""), lambda entry: entry.copies),
    "custom": (lambda entry: entry.custom or "-", lambda entry: entry.custom),
    "location": (lambda entry: entry.location, lambda entry: entry.location),
    "chunked": (lambda entry: "yes" if entry.is_chunked else "", lambda entry: entry.is_chunked),
    "cached": (lambda entry: "yes" if entry.is_cached else "no", lambda entry: entry.is_cached),
    "status": (lambda entry: "" if entry.is_directory else entry.status, lambda entry: entry.status),
}
ALL_PROPERTIES = (
    *("size", "checksum", "atime", "version", "copies", "custom", "location", "chunked", "status"),
)
LAST_PROPERTIES = ("cached", "status")
"""Stand behind the others, in this order, wherever they were named."""


@click.command("ls", short_help="List buckets, or the objects of a bucket.")
@click.argument("what", default="", metavar="[BUCKET[/PREFIX]]", shell_complete=complete_location)
@click.option("--prefix", default="", help="List names that start with this text.")
@click.option("--regex", default="", help="List names that match this regular expression, anywhere in them.")
@click.option(
    "--props",
    default="size",
    show_default=True,
    help=f"Columns: all, or of {', '.join(PROPERTIES)}; name for none.",
)
@click.option("--name-only", is_flag=True, help="The same as --props name.")
@click.option("--all", "everything", is_flag=True, help="All that there are, with the column status.")
@presence_options
@click.option("--limit", type=click.IntRange(1), help="Stop after this many names.")
@click.option("--paged", is_flag=True, expose_value=False, help="Print page by page, as is done anyway.")
@click.option("--page-size", type=click.IntRange(1), default=None, help="Names of one page.")
@click.option("--max-pages", type=click.IntRange(1), help="Stop after this many pages.")
@click.option("--start-after", default="", help="List names behind this one.")
@click.option(
    "--recursive/--no-recursion",
    " /--non-recursive",
    " /--nr",
    default=True,
    help="All names below (as is usual), or names up to the next slash as folders.",
)
@click.option("--no-dirs", is_flag=True, help="Leave out what stands for folders.")
@click.option("--archive", "archives", is_flag=True, help="List what is inside archives, too.")
@click.option("--count-only", is_flag=True, help="Print how many names there are.")
@click.option("--summary", is_flag=True, help="Print how much there is in each bucket.")
@units_option
@no_headers_option
@json_option
@pass_session
def ls(
    session: Session,
    /,
    *,
    what: str,
    prefix: str,
    regex: str,
    props: str,
    name_only: bool,
    everything: bool,
    limit: int | None,
    page_size: int | None,
    max_pages: int | None,
    start_after: str,
    recursive: bool,
    no_dirs: bool,
    archives: bool,
    count_only: bool,
    summary: bool,
    no_headers: bool,
    as_json: bool,
    **presence: bool,
) -> None:
    """List buckets, or the objects of a bucket in byte order of their names.

    Without an argument, or with a scheme such as `ais:`, it lists buckets. Of a remote bucket it lists what
    its source has and what is here, which --diff compares.
    """
    if summary:
        from aisle.cli.summary import print_brief

        cached = presence["cached"]
        print_brief(session, what, prefix, cached=cached, headers=not no_headers, as_json=as_json)
        return
    pattern = _pattern(regex)
    location, whose = _place(what, prefix) if "://" not in what else _named(session, what, prefix)
    if location is None:
        buckets = _Buckets(session, whose, pattern, everything=everything)
        buckets.print(headers=not no_headers, as_json=as_json)
        return
    flags = presence_flags(presence, everything=everything) | (0 if recursive else FLAG_NO_RECURSION)
    flags |= (FLAG_ARCHIVES if archives else 0) | (FLAG_NO_DIRECTORIES if no_dirs else 0)
    always = DIFF_COLUMNS if presence["diff"] else ("status",) * everything
    columns = ["name"] if count_only or name_only else _properties(props, always=always)
    listing = Listing(
        session,
        location,
        properties=columns,
        limit=limit or 0,
        after=start_after,
        flags=flags,
        pattern=pattern,
        paging=(page_size or 0, max_pages or 0),
    )
    if count_only:
        listing.print_count(as_json=as_json)
    elif as_json:
        listing.print_json()
    else:
        listing.print_table(headers=not no_headers)


def _named(session: Session, what: str, prefix: str) -> tuple[Location | None, "_Whose"]:
    """The same for what has a scheme: it may be a folder of a web server, too."""
    from aisle.cli.web_datasets import web_address

    address = web_address(what)
    if address is None:
        return _place(what, prefix)
    bucket, path = address.location(session.client, is_folder=True)
    return Location(bucket, path + prefix), _Whose()


class _Whose(NamedTuple):
    """Whose buckets are listed: those of a provider, or of another cluster; empty for all."""

    provider: str = ""
    cluster: str = ""


def _place(what: str, prefix: str) -> tuple[Location | None, _Whose]:
    """Where to list, or whose buckets. Raises click's usage errors."""
    if match := _CLUSTER.fullmatch(what):
        return None, _Whose("ais", match[1])
    try:
        provider = parse_provider_only(what) if what else ""
        location = None if provider is not None else parse_location(what)
    except BadRequest as error:
        raise click.BadParameter(str(error), param_hint="BUCKET") from error
    if location is None:
        return None, _Whose(provider or "")
    if location.path and prefix:
        raise click.UsageError("a prefix is given twice: behind the bucket and with --prefix")
    return Location(location.bucket, location.path or prefix), _Whose()


def _pattern(regex: str) -> re.Pattern[str] | None:
    try:
        return re.compile(regex) if regex else None
    except re.error as error:
        raise click.BadParameter(str(error), param_hint="--regex") from error


class Listing:
    """What is listed, and the ways to print it."""

    def __init__(
        self,
        session: Session,
        location: Location,
        *,
        properties: list[str],
        limit: int = 0,
        after: str = "",
        flags: int = 0,
        pattern: re.Pattern[str] | None = None,
        paging: tuple[int, int] = (0, 0),
    ) -> None:
        """`paging` is how many names a page has and how many pages there are at most; 0 is no limit."""
        self._session = session
        self._bucket, self._prefix = location
        self._columns = [name for name in properties if name != "name"]
        self._limit = limit
        self._after = after
        self._flags = flags
        self._pattern = pattern
        self._page_size, self._pages_max = paging

    def pages(self) -> Iterator[list[ListedObject]]:
        """The entries that are wanted, a page at a time."""
        flags = self._flags
        if not self._columns:
            flags |= FLAG_NAME_ONLY
        elif self._columns == ["size"]:
            flags |= FLAG_NAME_SIZE
        pages = self._session.client.pages(
            self._bucket,
            prefix=self._prefix,
            after=self._after,
            # Where some are left out, it is not known beforehand how many are needed.
            limit=0 if self._leaves_out else self._limit,
            page_size=self._page_size,
            properties=",".join(["name", *self._columns]),
            flags=flags,
        )
        left = self._limit
        for number, page in enumerate(pages, 1):
            entries = page.entries or []
            if self._leaves_out:
                entries = [entry for entry in entries if self._is_wanted(entry)]
                if self._limit:
                    entries = entries[:left]
                    left -= len(entries)
            yield entries
            if number == self._pages_max or (self._limit and left <= 0):
                return

    @property
    def _leaves_out(self) -> bool:
        """Whether some of what the node lists is not wanted."""
        return bool(self._pattern or self._flags & FLAG_NO_DIRECTORIES)

    def _is_wanted(self, entry: ListedObject) -> bool:
        # AIStore lists folders in spite of its flag, and so do nodes.
        if entry.is_directory and self._flags & FLAG_NO_DIRECTORIES:
            return False
        return not self._pattern or self._pattern.search(entry.name) is not None

    def print_count(self, *, as_json: bool) -> None:
        """Print how many names there are."""
        count = sum(len(page) for page in self.pages())
        if as_json:
            output.print_json({"bucket": self._bucket.cname, "prefix": self._prefix, "count": count})
        else:
            click.echo(str(count))

    def print_table(self, *, headers: bool) -> None:
        """Print one line for each name."""
        table = output.Table(["name", *self._columns], headers=headers)
        shows = [PROPERTIES[column][0] for column in self._columns]
        found = False
        for page in self.pages():
            table.add(zip([entry.name for entry in page], *(map(show, page) for show in shows), strict=True))
            found = found or bool(page)
        if not found:
            behind = f' that start with "{output.printable(self._prefix)}"' if self._prefix else ""
            behind += f' that match "{self._pattern.pattern}"' if self._pattern else ""
            output.note(f"No objects in {self._bucket.cname}{behind}.")

    def print_json(self) -> None:
        """Print one JSON document with a list of objects."""
        tells = [(column, PROPERTIES[column][1]) for column in self._columns]

        def told(entry: ListedObject) -> dict[str, object]:
            if entry.is_directory:
                return {"name": entry.name, "directory": True}
            return {"name": entry.name} | {column: tell(entry) for column, tell in tells}

        with output.JsonList("objects", {"bucket": self._bucket.cname, "prefix": self._prefix}) as objects:
            for page in self.pages():
                objects.add(*map(told, page))


def _properties(text: str, *, always: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return ["name", *ALL_PROPERTIES]
    for name in names:
        if name != "name" and name not in PROPERTIES:
            help_text = suggestion(name, PROPERTIES) or f" There are: all, {', '.join(PROPERTIES)}"
            raise click.BadParameter(f'"{name}".{help_text}', param_hint="--props")
    last = [name for name in LAST_PROPERTIES if name in names or name in always]
    return [name for name in names if name not in LAST_PROPERTIES] + last


class _Buckets:
    """Buckets that are listed, and the ways to print them."""

    def __init__(
        self, session: Session, whose: _Whose, pattern: re.Pattern[str] | None, *, everything: bool
    ) -> None:
        self._whose, self._pattern = whose, pattern
        self._known = self._asked(session, everything=False)
        # Without a name nobody elsewhere is asked: one that does not answer would hide all others.
        self._is_all = everything and bool(whose.provider)
        self._found = self._asked(session, everything=True) if self._is_all else self._known

    def _asked(self, session: Session, *, everything: bool) -> list[Bucket]:
        provider, cluster = self._whose
        found = session.client.buckets(provider=provider, namespace=cluster, everything=everything)
        return [bucket for bucket in found if not self._pattern or self._pattern.search(bucket.name)]

    def print(self, *, headers: bool, as_json: bool) -> None:
        """Print them as a table, as AIStore does for one provider, or as JSON."""
        buckets, provider = self._found, self._whose.provider
        if as_json:
            output.print_json({"buckets": [_bucket_json(bucket) for bucket in buckets]})
            return
        if not buckets and (self._is_all or not (provider and headers)):
            of_provider = f'"{SCHEMES[provider]}://" ' if provider else ""
            which = f'that match "{self._pattern.pattern}" ' if self._pattern else ""
            output.note(f"No {of_provider}buckets {which}in the cluster. Create one with: ais create NAME")
            return
        if provider and headers and not self._is_all:
            # As AIStore lists the buckets of one provider.
            click.echo(f"{provider.upper()} Buckets ({len(buckets)})")
            for bucket in buckets:
                click.echo(f"  {bucket.cname}")
            return
        known = set(self._known)
        rows = ([bucket.cname, "yes" if bucket in known else "no"] for bucket in buckets)
        output.Table(["name", "present"], headers=headers).add(rows)
        if headers:
            totals = _totals(buckets, known if self._is_all else None)
            click.echo(f"Total: [{', '.join(totals)}] ========")


def _totals(buckets: list[Bucket], known: set[Bucket] | None) -> list[str]:
    """How many there are of each provider, and of those that are not all known how many are."""
    counts: dict[str, list[bool]] = {}
    for bucket in buckets:
        far = "Remote " if bucket.namespace.startswith("@") else ""
        counts.setdefault(f"{far}{bucket.provider.upper()}", []).append(known is None or bucket in known)
    return [
        f"{kind} bucket{'s' if len(are_known) != 1 else ''}: {len(are_known)}"
        + (f" ({sum(are_known)} present)" if known is not None else "")
        for kind, are_known in counts.items()
    ]


def _bucket_json(bucket: Bucket) -> dict[str, str]:
    return {
        "uri": bucket.cname,
        "name": bucket.name,
        "provider": bucket.provider,
        "namespace": bucket.namespace,
    }
