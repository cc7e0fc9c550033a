import json
from urllib.error import URLError
from urllib.request import Request

import pytest

from aisle.cli.download_order import Order
from aisle.cli.dry_run import Redirects, planned, tell_orders
from aisle.cli.locations import parse_location
from aisle.client.downloads import DownloadRequest
from aisle.errors import BadRequest
from support.cli import run_ais
from support.fake_node import FakeNode

MIB = 1024 * 1024


def order(path: str = "", lines: list[dict[str, object]] | None = None, **request: object) -> Order:
    encoded = None if lines is None else [json.dumps(line).encode() for line in lines]
    return Order(parse_location(f"ais://b/{path}"), DownloadRequest(**request), encoded)  # type: ignore[arg-type]


def test_a_template_is_planned_as_the_node_would() -> None:
    items, total = planned(order(link="http://h/x/o{8..10}?v=1", name="dir"))
    assert total == 3
    assert [(item.name, item.link) for item in items] == [
        (f"dir/o{number}", f"http://h/x/o{number}?v=1") for number in (8, 9, 10)
    ]


def test_headers_do_not_matter_to_the_plan() -> None:
    [item], _ = planned(order(link="http://h/a%20b", headers={"Authorization": ["x"]}))
    assert item.name == "a b"


def test_lists_are_planned_line_by_line() -> None:
    lines: list[dict[str, object]] = [{"link": "http://h/a"}, {"link": "h/b", "name": "dir/c", "size": 5}]
    items, _ = planned(order(lines=lines))
    assert [(item.name, item.link, item.size) for item in items] == [
        ("a", "http://h/a", -1),
        ("dir/c", "http://h/b", 5),
    ]


def test_what_the_node_would_refuse_is_refused() -> None:
    with pytest.raises(BadRequest):
        planned(order(link="http://h/o{3..1}"))


def test_known_sizes_are_summed_without_asking_anybody(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[dict[str, object]] = [
        {"link": f"http://h/o{number:03}", "size": MIB} for number in range(150)
    ]
    tell_orders([order("dir/", lines)], as_json=False)
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["OBJECT", "SIZE", "LINK"]
    assert told[1].split() == ["ais://b/o000", "1.00MiB", "http://h/o000"]
    assert told[-2:] == ["… and 130 more", "Would download 150 files, 150.00MiB"]


def test_a_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tell_orders([order(lines=[{"link": "http://u:secret@h/o?token=t", "size": 7}])], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "bucket": "ais://b",
        "total": 1,
        "total_bytes": 7,
        "is_estimate": False,
        "failed": [],
        "files": [{"name": "o", "link": "http://h/o?token=...", "size": 7}],
    }


def test_a_dry_run_asks_the_node_for_nothing() -> None:
    node = FakeNode({"nnn": {}})
    result = run_ais(node, "download", "http://h/o{3..1}", "nnn", "-n")
    assert result.exit_code == 1
    assert "'start' cannot be greater" in result.stderr
    assert node.calls == []


@pytest.mark.parametrize(
    ("target", "is_shown"),
    [
        ("https://h/b", True),
        ("https://H:443/b", True),
        ("http://h/b", False),  # without TLS everybody on the way would see it
        ("https://h:8443/b", False),
        ("https://other/b", False),
    ],
)
def test_private_fields_follow_to_the_same_server_alone(target: str, is_shown: bool) -> None:
    fields = {"Authorization": "secret", "Accept": "*/*"}
    request = Request("https://h/a", headers=fields)
    following = Redirects({"Authorization": "secret"}).redirect_request(request, None, 302, "", {}, target)
    assert dict(following.header_items()) == (fields if is_shown else {"Accept": "*/*"})


@pytest.mark.parametrize("target", ["ftp://h/b", "http://h:port/b"])
def test_redirects_to_what_cannot_be_asked_are_told(target: str) -> None:
    with pytest.raises(URLError, match="it redirects to"):
        Redirects({}).redirect_request(Request("http://h/a"), None, 302, "", {}, target)
