"""Links as sources of `ais download`: one file, a template, or a list of names or links in JSON."""

import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import click

from aisle.cli.download_options import JobOptions
from aisle.cli.download_order import Order
from aisle.cli.locations import Location, parse_location
from aisle.errors import BadRequest, InvalidName
from aisle.rules.download_names import base_name, object_key, public_link
from aisle.rules.provider_links import UNRESERVED, is_provider_link, provider_base

STANDARD_INPUT = "-"


class LinkOptions(NamedTuple):
    """What can be said about links beside one that is given as it stands."""

    object_list: str | None


link_options = click.option(
    *("--object-list", "--from", "object_list"),
    metavar="FILE",
    help="JSON: a list of links (or, behind a URL, of names), or a map from names to links; - reads it here.",
)


def link_order(source: str, destination: Location, options: JobOptions, own: LinkOptions) -> Order:
    """What a link, a template or a list in JSON asks for. Ends with a usage error for one that is wrong.

    `source` is empty when only a list was given.
    """
    if own.object_list is None:
        if is_provider_link(source) and parse_location(source).path.rstrip("/") == "":
            raise click.BadParameter(
                f'"{source}" is a whole bucket: copy it with: ais cp {source.rstrip("/")} '
                f"{destination.bucket.cname}",
                param_hint="URL",
            )
        link = web_address(source)
        name = wire_name(object_name(link, destination.path))
        return Order(destination, options.request(link=link, name=name))
    folder = f"{destination.path.rstrip('/')}/" if destination.path else ""
    named = _named(_read_list(own.object_list), web_address(source) if source else "")
    objects: dict[str, str] = {}
    for name, link in named:
        key = wire_name(folder) + name
        if objects.setdefault(key, link) != link:
            raise BadRequest(
                f'"{public_link(objects[key])}" and "{public_link(link)}" would both become object '
                f'"{folder}{unquote(name)}": give them names with a map'
            )
    return Order(destination, options.request(objects=objects))


def web_address(source: str) -> str:
    """The URL that the node shall fetch. Ends with a usage error for one that it cannot."""
    scheme, found, rest = source.partition("://")
    if not found:
        return f"https://{source}"
    if scheme in ("http", "https"):
        return source
    if is_provider_link(source):
        return _remote_address(source)
    if scheme == "ais":
        return _object_of_a_node(source, rest)
    raise click.BadParameter(
        f'cannot download from "{scheme}://": use http, https, hf, s3, gs, az, oc, ht or ais://@CLUSTER',
        param_hint="URL",
    )


def _remote_address(source: str) -> str:
    """The link to an object of a remote bucket, or to a bucket: its name is meant as it is written."""
    bucket, path = parse_location(source)
    return provider_base(bucket) + quote(path, safe=f"{UNRESERVED}{{}}")


def _object_of_a_node(source: str, rest: str) -> str:
    """`ais://HOST:PORT/BUCKET/NAME`, an object of another node, by that node's API."""
    host, _, path = rest.partition("/")
    bucket, _, name = path.partition("/")
    # AIStore takes any first part for a host; here it must not be mistaken for a bucket.
    if ":" not in host or not bucket or not name:
        raise click.BadParameter(
            f'"{source}" should be ais://HOST:PORT/BUCKET/NAME, an object of another node; within one node: '
            "ais cp",
            param_hint="URL",
        )
    return f"http://{host}/v1/objects/{path}"


def object_name(link: str, path: str) -> str:
    """What the request calls the object (one file), or the folder of all objects (a template).

    A folder behind the bucket keeps the file's own name: the last part of the link, decoded.
    """
    if "{" in link and "}" in link:
        return path.strip("/")
    if path and not path.endswith("/"):
        return path
    try:
        return f"{path}{object_key(base_name(link)).decode()}"
    except InvalidName as error:
        raise click.BadParameter(
            f'"{public_link(link)}" does not end with a name: give one behind the bucket, or take the folder '
            "with -r",
            param_hint="URL",
        ) from error


def wire_name(name: str) -> str:
    """A name as a request carries it, where it is read like the end of a link."""
    return name.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def _read_list(path: str) -> Any:
    """The JSON of a list; ends with a usage error when there is none."""
    try:
        if path == STANDARD_INPUT:
            return json.loads(sys.stdin.buffer.read(), object_pairs_hook=_once_each)
        with open(path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=_once_each)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.BadParameter(f"{path}: {reason}", param_hint="--object-list") from error
    except ValueError as error:
        raise click.BadParameter(f"{path} is not JSON: {error}", param_hint="--object-list") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A map of these pairs. Raises BadRequest for a name with two links, of which one would be lost."""
    found: dict[str, Any] = {}
    for name, link in pairs:
        if found.setdefault(name, link) != link:
            raise BadRequest(f'"{name}" stands in the map twice, for different links')
    return found


def _named(listed: Any, base: str) -> Iterator[tuple[str, str]]:
    """Names, as requests carry them, and links; behind `base` a list has names, else links.

    Raises InvalidName for a link that has no name at its end.
    """
    values = list(listed.values()) if isinstance(listed, dict) else listed
    if not isinstance(values, list) or not values or not all(isinstance(text, str) for text in values):
        raise click.BadParameter(
            "want a JSON list of texts, or a map from names to links, with something in it",
            param_hint="--object-list",
        )
    if isinstance(listed, dict):
        if base:
            raise click.BadParameter("a map has whole links: leave out the URL", param_hint="--object-list")
        return ((wire_name(name), web_address(link)) for name, link in listed.items())
    if base:
        return ((wire_name(name), f"{base.rstrip('/')}/{quote(name.lstrip('/'))}") for name in values)
    return ((base_name(link), link) for link in map(web_address, values))
