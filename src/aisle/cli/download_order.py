"""What a command line asks the node to download, whichever kind of source it names."""

from collections.abc import Iterable
from typing import NamedTuple

from aisle.cli.locations import Location
from aisle.client.downloads import DownloadRequest


class Order(NamedTuple):
    """One job to be."""

    destination: Location
    request: DownloadRequest
    lines: Iterable[bytes] | None = None
    """Of a list job: its items, each a line of JSON with `link`, and perhaps `name`, `checksum`, `size`."""
    found: str = ""
    """What is told before it is started: `Found 2 parquet files in dataset 'squad'`."""
