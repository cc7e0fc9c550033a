"""`ais show backend`: a table, and beside it what is missing."""

import json

import pytest

from aisle.model.extras import how_to_install
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, error

AWS = {
    "provider": "aws",
    "scheme": "s3",
    "installed": True,
    "needs_extra": True,
    "settings": ["AWS_PROFILE", "~/.aws/config"],
    "known": 1,
    "reachable": True,
    "buckets": 17,
    "error": "",
    "advice": "",
}
GCP = AWS | {"provider": "gcp", "scheme": "gs", "installed": False, "settings": [], "known": 0}
GCP |= {"reachable": None, "buckets": None, "advice": how_to_install("gcp")}
AZURE = AWS | {"provider": "azure", "scheme": "az", "installed": False, "needs_extra": False, "buckets": None}
AZURE |= {"reachable": False, "error": "403: wrong key"}


def telling(*states: object) -> FakeNode:
    return FakeNode(answers=[FakeAnswer(200, json.dumps({"backends": states}).encode())])


def test_what_there_is_stands_in_a_table_and_what_is_missing_beside_it() -> None:
    result = run_ais(telling(AWS, AZURE, GCP), "show", "backend")
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "BACKEND INSTALLED CONFIGURED BY REACHABLE BUCKETS (known, all)",
        "s3:// yes AWS_PROFILE, ~/.aws/config yes 1 17",
        "az:// in part AWS_PROFILE, ~/.aws/config no 1 n/a",
        "gs:// no - n/a 0 n/a",
    ]
    assert result.stderr.splitlines() == ["az://: 403: wrong key", f"gs://: {how_to_install('gcp')}"]


@pytest.mark.parametrize("name", ["s3", "s3:", "s3://", "aws"])
def test_one_is_asked_for_by_any_of_its_names(name: str) -> None:
    node = telling(AWS)
    told = json.loads(run_ais(node, "show", "backend", name, "--json").stdout)
    assert told == {"backends": [AWS]}
    assert node.calls[0].target == "/v1/cluster?what=backend_status&provider=aws"


def test_mistakes_are_told() -> None:
    assert run_ais(FakeNode(), "show", "backend", "nosuch").exit_code == 2
    node = FakeNode(answers=[error(404, '"ais" is none of the backends')])
    result = run_ais(node, "show", "backend", "ais")
    assert (result.exit_code, "none of the backends" in result.stderr) == (3, True)
    assert run_ais(FakeNode(answers=[FakeAnswer(200, b"[]")]), "show", "backend").exit_code == 1
