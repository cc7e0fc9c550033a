"""`ais download --dry-run`: what a job would fetch, and how much that is, without starting it.

Names and links are worked out as the node would. Sizes are those that a list tells; the others are
asked of the servers from here, of so many files that it stays a matter of seconds: what the node
may reach, and so whether it gets the same answers, only the node can tell.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http.client import HTTPException
from itertools import islice
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

import click
import msgspec

from aisle.cli import output
from aisle.cli.download_order import Order
from aisle.cli.exit_codes import FAILED
from aisle.cli.locations import object_uri
from aisle.cli.parallel import in_parallel
from aisle.errors import BadRequest
from aisle.rules.download_list import ListReader
from aisle.rules.download_names import have_one_server, public_link
from aisle.rules.download_plan import Plan
from aisle.rules.download_request import read_request
from aisle.rules.provider_links import is_provider_link

SHOWN_MAX = 20
ASKED_MAX = 100
THREADS = 8
TIMEOUT_S = 10.0

_GONE = (404, 410)
# Answers of servers, or to links signed for GET alone, that say nothing about a GET.
_UNKNOWING = (401, 403, 405, 501)


class Planned(NamedTuple):
    """A file that would be fetched; `size` in bytes is negative while it is not known."""

    name: str
    link: str
    size: int = -1
    error: str = ""


def tell_orders(orders: Sequence[Order], *, as_json: bool) -> None:
    """Print what the orders would fetch; ends with an exit code if some of it cannot be had."""
    told = [_tell(order, as_json=as_json) for order in orders]
    if as_json:
        output.print_json(told[0] if len(told) == 1 else {"jobs": told})
    if any(document["failed"] for document in told):
        raise click.exceptions.Exit(FAILED)


def _tell(order: Order, *, as_json: bool) -> dict[str, object]:
    """Tell one order in words, unless JSON is wanted; the document that tells it."""
    items, total = planned(order)
    first = with_sizes(list(islice(items, ASKED_MAX)), order.request.headers)
    count, size = len(first), sum(max(0, item.size) for item in first)
    unknown = sum(item.size < 0 for item in first)
    if total is not None:  # a template: nobody tells the sizes of the others
        unknown, count = unknown + total - count, total
    else:
        for item in items:
            count += 1
            size += max(0, item.size)
            unknown += item.size < 0
    failed = [item for item in first if item.error]
    known = len(first) - sum(item.size < 0 for item in first)
    is_estimate = bool(unknown) and count > len(first) and known > 0
    estimate = round(size / (count - unknown) * count) if is_estimate else size
    if not as_json:
        if order.found:
            click.echo(order.found)
        _print(order, first, count)
        about = "about " if is_estimate else "at least " if unknown else ""
        by = f" (by the sizes of {known:,})" if is_estimate else ""
        size_text = f"{about}{output.size_text(estimate)}{by}" if known or not unknown else "sizes unknown"
        click.echo(f"Would download {output.count_text(count, 'file')}, {size_text}")
        for item in failed[:SHOWN_MAX]:
            output.fail(output.printable(f"{public_link(item.link)}: {item.error}"))
        if failed:
            output.note("Asked from this machine: what the node can reach, and how, may differ.")
    return {
        "bucket": order.destination.bucket.cname,
        "total": count,
        "total_bytes": estimate,
        "is_estimate": is_estimate or bool(unknown),
        "failed": [{"name": item.name, "error": item.error} for item in failed],
        "files": [{"name": item.name, "link": public_link(item.link), "size": item.size} for item in first],
    }


def _print(order: Order, first: Sequence[Planned], count: int) -> None:
    table = output.Table(["object", "size", "link"])
    table.add(
        [
            object_uri(order.destination.bucket, item.name),
            output.size_text(item.size) if item.size >= 0 else "-",
            public_link(item.link),
        ]
        for item in first[:SHOWN_MAX]
    )
    if count > SHOWN_MAX:
        click.echo(f"… and {count - SHOWN_MAX:,} more")


def planned(order: Order) -> tuple[Iterator[Planned], int | None]:
    """The files of an order, and how many there are; None for a list, which is read to know that.

    Raises BadRequest, InvalidName for what the node would refuse, and so does the iterator.
    """
    if order.lines is not None:
        return _listed(order.lines, order.request.name), None
    bucket = order.destination.bucket
    # Headers are not needed to know what is fetched, and are nobody else's business.
    message = msgspec.structs.replace(order.request, headers={}).message()
    asked = read_request(
        msgspec.json.encode(message | {"bucket": {"name": bucket.name, "provider": bucket.provider}})
    )
    plan = Plan(asked.spec)
    items = map(plan.item, range(plan.total))
    return (Planned(item.key.decode(), item.link, item.size) for item in items), plan.total


def _listed(lines: Iterable[bytes], folder: str) -> Iterator[Planned]:
    reader = ListReader(subdir=folder)
    for line in lines:
        for listed in reader.feed(line.rstrip(b"\n") + b"\n"):
            yield Planned(listed.key.decode(), listed.link, listed.size)


def with_sizes(items: Sequence[Planned], headers: Mapping[str, Sequence[str]]) -> list[Planned]:
    """The same files, with the sizes that their servers tell where none was known."""
    found = list(items)
    wanted = [number for number, item in enumerate(found) if item.size < 0]
    with_headers = {name: ", ".join(values) for name, values in headers.items()}

    def ask(number: int) -> Planned:
        return head(found[number], with_headers)

    for outcome in in_parallel(wanted, ask, threads=THREADS):
        found[outcome.item] = outcome.result
    return found


def head(item: Planned, headers: Mapping[str, str]) -> Planned:
    """The file with the size that its server tells, or why it cannot be had."""
    if is_provider_link(item.link):
        return item  # the node has the credentials, and asks when the job runs
    link, headers = _without_user(item.link, headers)
    request = Request(link, headers=dict(headers), method="HEAD")  # noqa: S310 - http and https only
    try:
        with _opener(headers).open(request, timeout=TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length", "")
    except HTTPError as error:
        if error.code in _UNKNOWING:
            return item
        what = "the server has nothing of that name" if error.code in _GONE else _first_line(error.reason)
        return item._replace(error=f"status {error.code}: {what}")
    except (URLError, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        text = reason.strerror or str(reason) if isinstance(reason, OSError) else str(reason)
        return item._replace(error=f"no answer: {text.lower()}")
    except (HTTPException, ValueError) as error:
        text = _first_line(error) or type(error).__name__
        return item._replace(error=f"the answer cannot be read: {text}")
    return item._replace(size=int(length)) if length.isascii() and length.isdigit() else item


def _first_line(text: object) -> str:
    return str(text).strip().partition("\n")[0]


def _without_user(link: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """A link as this library takes it, with what its user and password become: a header field."""
    parts = urlsplit(link)
    user, found, server = parts.netloc.rpartition("@")
    if not found:
        return link, headers
    name, _, password = user.partition(":")
    encoded = b64encode(unquote_to_bytes(name) + b":" + unquote_to_bytes(password)).decode()
    return parts._replace(netloc=server).geturl(), {"Authorization": f"Basic {encoded}", **headers}


class Redirects(HTTPRedirectHandler):
    """Follows with HEAD; what is private to the first server is shown to no other, nor without TLS."""

    def __init__(self, private: Mapping[str, str]) -> None:
        self._private = {name.capitalize() for name in private}

    def redirect_request(self, req: Request, *answer: Any) -> Request:
        """The next request. Raises URLError for what is not HTTP."""
        newurl = str(answer[-1])
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise URLError("it redirects to something other than http and https")
        try:
            stays = have_one_server(newurl, req.full_url)
        except BadRequest as error:
            raise URLError(f"it redirects to a {error}") from error
        kept = {name: value for name, value in req.headers.items() if stays or name not in self._private}
        return Request(newurl, headers=kept, method="HEAD")  # noqa: S310


def _opener(private: Mapping[str, str]) -> OpenerDirector:
    return build_opener(Redirects(private))
