"""Requests for lists and folders, and for unpacking: what is checked before a job is accepted."""

import json
from typing import Any

import pytest

from aisle.errors import BadRequest
from aisle.model.job import DownloadSpec
from aisle.rules.download_plan import Item, Plan
from aisle.rules.download_request import read_request


def read(**request: Any) -> DownloadSpec:
    return read_request(json.dumps({"bucket": {"name": "b"}, **request}).encode()).spec


def test_a_list_has_a_folder_and_a_name() -> None:
    spec = read(type="list", subdir="in/", limits={"connections": 3})
    assert (spec.kind, spec.subdir, spec.connections, spec.description) == (
        "list",
        "in/",
        3,
        "list -> ais://b/in/",
    )
    assert Plan(spec).total == 0


def test_a_folder_is_a_link_with_a_slash() -> None:
    spec = read(type="index", link="host/d e", subdir="in", include=["*.tar"], exclude=["old/"])
    assert (spec.kind, spec.link, spec.subdir) == ("index", "http://host/d%20e/", "in")
    assert (spec.include, spec.exclude) == (("*.tar",), ("old/",))
    assert spec.description == "host/d e -> ais://b/in/"
    assert Plan(spec).total == -1


@pytest.mark.parametrize("kind", ["single", "multi", "range", "list", "index"])
def test_all_types_can_unpack(kind: str) -> None:
    wanted = {"link": "http://h/x.tar", "template": "http://h/{1..2}.tar", "objects": ["http://h/x.tar"]}
    assert read(type=kind, extract=True, **wanted).extract
    assert not read(type=kind, **wanted).extract


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"type": "index"}, "missing 'link'"),
        ({"type": "index", "link": "ftp://h/d"}, "not supported"),
        ({"type": "index", "link": "http://h/d/?x"}, "neither a query nor a fragment"),
        ({"type": "index", "link": "http://h/d/", "include": [""]}, "a pattern is empty"),
        ({"type": "index", "link": "http://h/d/", "include": "*"}, "include"),
        ({"type": "index", "link": "http://h/d/", "subdir": "a/../b"}, "subdir"),
        ({"type": "list", "subdir": "../b"}, "subdir"),
        ({"type": "list", "subdir": "x" * 1025}, "subdir"),
        ({"type": "list", "extract": "yes"}, "extract"),
    ],
)
def test_what_is_wrong_is_told(request_: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read(**request_)


class Kept:
    """Two items that are kept elsewhere, of which one is damaged."""

    total = 2

    def item(self, number: int) -> Item:
        if number == 1:
            raise BadRequest("damaged")
        return Item(number, b"a", "http://h/a")

    def label(self, number: int) -> str:
        return f"label of {number}"


def test_a_plan_takes_items_from_where_they_are_kept() -> None:
    plan = Plan(read(type="index", link="http://h/"), Kept())
    assert (plan.total, plan.item(0).key, plan.label(1)) == (2, b"a", "label of 1")
    with pytest.raises(BadRequest, match="damaged"):
        plan.item(1)


def test_items_that_are_kept_nowhere_are_missing() -> None:
    plan = Plan(DownloadSpec(kind="list", bucket=read(type="list").bucket, list_file="x", list_items=5))
    assert (plan.total, plan.label(3)) == (5, "item 4")
    with pytest.raises(Exception, match="is not there"):
        plan.item(3)
