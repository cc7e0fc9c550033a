"""`ais prefetch`: what it asks for, and what it tells."""

import json

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode, error, snapshot


@pytest.fixture
def node() -> FakeNode:
    return FakeNode({"data": {}})


@pytest.mark.parametrize(
    ("arguments", "selected", "told"),
    [
        (["s3://data"], {"template": ""}, "prefetch s3://data"),
        (["s3://data/train/"], {"template": "train/"}, 'prefetch "train/" from s3://data'),
        (["s3://data", "--prefix", "tr"], {"template": "tr"}, 'prefetch "tr" from s3://data'),
        (["s3://data/a.tar"], {"objnames": ["a.tar"]}, "[a.tar] prefetch from s3://data"),
        (
            ["s3://data", "--list", "1,2,3,4,5"],
            {"objnames": ["1", "2", "3", "4", "5"]},
            "[1, 2, 3, 4, …] prefetch from s3://data",
        ),
        (
            ["s3://data", "--template", "x{1..3}"],
            {"template": "x{1..3}"},
            'prefetch "x{1..3}" from s3://data',
        ),
    ],
)
@pytest.mark.parametrize("form", [["prefetch"], ["start", "prefetch"], ["job", "start", "prefetch"]])
def test_what_is_chosen_is_asked_for(
    node: FakeNode, form: list[str], arguments: list[str], selected: dict[str, object], told: str
) -> None:
    result = run_ais(node, *form, *arguments)
    assert result.stdout == (
        f"prefetch-objects[new-job]: {told}. To monitor the progress, run 'ais show job new-job'\n"
    )
    usual = {"latest-ver": False, "non-recurs": False, "num-workers": 0, "blob-threshold": 0, "coer": False}
    assert node.messages == [{"action": "prefetch-listrange", "name": "", "value": selected | usual}]
    assert "provider=aws" in node.calls[0].target


def test_how_it_is_done_can_be_chosen(node: FakeNode) -> None:
    told = run_ais(node, "prefetch", "s3://data", "--latest", "--nr", "--num-workers", "-1", "--json")
    assert json.loads(told.stdout) == {"id": "new-job"}
    wanted = {"template": "", "latest-ver": True, "non-recurs": True, "num-workers": -1, "coer": False}
    wanted["blob-threshold"] = 0
    assert node.messages[0]["value"] == wanted


def test_its_end_is_waited_for(node: FakeNode) -> None:
    result = run_ais(node, "prefetch", "s3://data", "--wait")
    assert result.stdout == "prefetch-objects[new-job]: prefetch s3://data ...\nDone.\n"
    told = json.loads(run_ais(node, "prefetch", "s3://data", "--wait", "--json").stdout)
    assert (told["kind"], told["state"], told["objects"]) == ("prefetch-listrange", "finished", 3)
    node.others["new-job"] = [snapshot("new-job", "prefetch-listrange", objects=1, err="x: access denied")]
    result = run_ais(node, "prefetch", "s3://data", "--wait")
    assert (result.exit_code, result.stderr) == (1, "Error: x: access denied\n")
    assert "Done." not in result.stdout


def test_a_bucket_that_nothing_is_behind_is_refused(node: FakeNode) -> None:
    node.answers = [error(400, "bucket ais://data is not remote")]
    result = run_ais(node, "prefetch", "ais://data")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not remote" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["s3://data/x", "--template", "a{1..2}"],
        ["s3://data", "--prefix", "a", "--list", "b"],
        ["s3://data", "--prefix", "a{1..2}"],
        ["s3://data", "--num-workers", "65"],
        ["s3://data", "--template", ""],
    ],
)
def test_contradictions_are_refused_before_anything_is_asked(node: FakeNode, arguments: list[str]) -> None:
    assert run_ais(node, "prefetch", *arguments).exit_code == 2
    assert node.calls == []
