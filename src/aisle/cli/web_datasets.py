"""Folders of web servers as users write them: `https://host/folder/` stands for a bucket `ht://NAME`.

The bucket whose folder is the innermost around an address is meant; where there is none yet, one is made.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import click

from aisle.cli.locations import Location
from aisle.cli.parameters import LocationType
from aisle.errors import BadRequest, BucketExists, BucketNotFound, NotFound
from aisle.model.names import Bucket
from aisle.rules.download_names import normal_link, public_link
from aisle.rules.http_datasets import bucket_name, dataset_url

if TYPE_CHECKING:
    from aisle.client import Client

Tree = dict[str, object]


class WebAddress(NamedTuple):
    """A file or a folder of a web server."""

    link: str

    def location(self, client: "Client", *, is_folder: bool = False) -> Location:
        """The bucket and the name in it, or the folder's, that the address means.

        Raises BadRequest for an address with a query, NotFound for one of nothing, and what the node says.
        """
        link = f"{self.link.rstrip('/')}/" if is_folder else self.link
        known = max(
            (found for found in _datasets(client) if link.startswith(found[1])),
            key=lambda found: len(found[1]),
            default=None,
        )
        if known is None:
            url = dataset_url(link[: link.rindex("/") + 1])
            known = Bucket(bucket_name(url), "ht"), url
            _create(client, *known)
            click.echo(f'"{known[0].cname}" created: it is {url}', err=True)
        return Location(known[0], unquote(link[len(known[1]) :]))


class SourceType(LocationType):
    """A bucket with or without something behind it, or the address of a file on a web server."""

    def convert(  # type: ignore[override]
        self,
        value: str | Location | WebAddress,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Location | WebAddress:
        """Parse it, or end with a usage error."""
        if isinstance(value, WebAddress):
            return value
        try:
            address = web_address(value) if isinstance(value, str) else None
        except BadRequest as error:
            self.fail(str(error), param, ctx)
        return address or super().convert(value, param, ctx)


def web_address(text: str) -> WebAddress | None:
    """The address that a text is; None for other text. Raises BadRequest for one that is none of a file."""
    if not text.lower().startswith(("http://", "https://")):
        return None
    link = normal_link(text)
    parts = urlsplit(link)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise BadRequest(f"{public_link(link)}: what has a query or a password is read by: ais download")
    return WebAddress(f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path or '/'}")


def with_url(url: str, properties: Tree) -> Tree:
    """The properties of the bucket of a folder. Raises BadRequest for what is no URL of one."""
    from aisle.model.trees import laid_over

    return laid_over(properties, {"extra": {"http": {"original_url": dataset_url(url)}}})


def _create(client: "Client", bucket: Bucket, url: str) -> None:
    """Make the bucket of a folder; fine if it is there.

    Raises NotFound if there is no such folder, BucketExists if the bucket is another folder's.
    """
    try:
        client.create_bucket(bucket, with_url(url, {}))
    except BucketExists:
        if (bucket, url) not in _datasets(client):
            raise
    except BucketNotFound as error:
        raise NotFound(f"{url}: its server answers that there is no such folder") from error


def _datasets(client: "Client") -> Iterator[tuple[Bucket, str]]:
    """The buckets of folders, and which they are."""
    for bucket in client.buckets(provider="ht"):
        extra = client.bucket_properties(bucket).get("extra")
        http = extra.get("http") if isinstance(extra, dict) else None
        url = http.get("original_url") if isinstance(http, dict) else None
        if isinstance(url, str) and url:
            yield bucket, dataset_url(url)
