from typing import Any

import click
import pytest

from aisle.cli.download_options import JobOptions
from aisle.cli.folders import FolderOptions, folder_order, refuse_patterns
from aisle.cli.locations import parse_location

JOB = JobOptions(
    description="",
    download_timeout=0,
    connections=None,
    bytes_per_hour=0,
    header=(),
    priority=0,
    extract=True,
    sync=False,
)


def message(source: str, destination: str, **more: Any) -> dict[str, object]:
    own = FolderOptions(**{"recursive": True, "include": (), "exclude": (), **more})
    return folder_order(source, parse_location(destination), JOB, own).request.message()


def test_a_folder_becomes_an_index_job() -> None:
    told = message("host/d/", "ais://b/in/here/", include=("*.tar",), exclude=("old/",))
    wanted = {
        "type": "index",
        "link": "https://host/d/",
        "subdir": "in/here",
        "include": ["*.tar"],
        "exclude": ["old/"],
        "extract": True,
    }
    assert {name: told[name] for name in wanted} == wanted


@pytest.mark.parametrize("source", ["https://h/{1..2}/", "https://h/d?x"])
def test_a_folder_is_one(source: str) -> None:
    with pytest.raises(click.UsageError):
        message(source, "ais://b")


def test_patterns_need_a_folder() -> None:
    refuse_patterns(FolderOptions(recursive=False, include=(), exclude=()))
    with pytest.raises(click.UsageError, match="add -r"):
        refuse_patterns(FolderOptions(recursive=False, include=("x",), exclude=()))
