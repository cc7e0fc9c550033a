"""Paths are matched element by element; object names keep their slashes."""

from typing import Any

import pytest

from aisle.api.gate import Action
from aisle.api.router import Choice, Route, Router, split


def row(method: str, path: str, verb: str = "") -> Route:
    return Route(method, path, Action.GET, lambda *_: None, verb)  # type: ignore[arg-type, return-value]


ROUTER = Router(
    [
        row("GET", "/"),
        row("GET", "/v1/things"),
        row("GET", "/v1/things/{bucket}", "action=list"),
        row("GET", "/v1/things/{bucket}", "action=other"),
        row("PUT", "/v1/things/{bucket}"),
        row("GET", "/v1/things/{bucket}/{name}"),
        row("GET", "/v1/things/special"),
        row("*", "/{bucket}"),
    ],
    reserved=[b"mine"],
)


def found(path: bytes) -> Any:
    return ROUTER.find(split(path))


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (b"/", "/"),
        (b"/v1/things", "/v1/things"),
        (b"/v1/things/", "/v1/things"),
        (b"/v1/things/special", "/v1/things/special"),
        (b"/v1/things/b/a/b/c", "/v1/things/{bucket}/{name}"),
        (b"/v1/things/b//a", "/v1/things/{bucket}/{name}"),
        (b"/v1/things/b/", "/v1/things/{bucket}/{name}"),
    ],
)
def test_a_path_leads_to_its_row(path: bytes, template: str) -> None:
    assert found(path)["GET"].path == template


def test_rows_of_one_path_are_chosen_by_their_verbs() -> None:
    choice = found(b"/v1/things/b")["GET"]
    assert isinstance(choice, Choice)
    assert choice.by == "action"
    assert set(choice.routes) == {"list", "other"}
    assert found(b"/v1/things/b")["PUT"].path == "/v1/things/{bucket}"


def test_the_name_of_an_object_is_the_rest_of_the_path() -> None:
    assert split(b"/v1/things/b/a//b/")[4] == b"a//b/"
    assert split(b"/v1/things/b//a")[4] == b"/a"


def test_reserved_and_short_first_elements_are_never_placeholders() -> None:
    assert found(b"/data")["*"].path == "/{bucket}"
    for path in (b"/mine", b"/v2", b"/x", b"/v1", b"/v1/none"):
        assert found(path) == {}


@pytest.mark.parametrize(
    "rows",
    [
        [row("GET", "/a"), row("GET", "/a")],
        [row("GET", "/a", "what=x"), row("GET", "/a", "what=x")],
    ],
)
def test_two_rows_for_the_same_request_are_a_mistake(rows: list[Route]) -> None:
    with pytest.raises(AssertionError):
        Router(rows)
