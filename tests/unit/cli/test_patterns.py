"""Many files in one word."""

from pathlib import Path

import click
import pytest

from aisle.cli.locations import parse_location
from aisle.cli.patterns import matched, names_of_template, pattern_of
from aisle.errors import BadRequest


def planned(word: str, destination: str) -> dict[str, str]:
    pattern = pattern_of(word)
    assert pattern is not None
    return {source.path: source.key.decode() for source in matched(pattern, parse_location(destination))}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("set/a.jpg", "set/b.jpg", "set/c.txt", "set/deep/d.jpg", "odd{0..1}.x", "odd[1].x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_templates_are_named_behind_what_all_have_in_common() -> None:
    assert planned("in/s{0..1}/x{00..01}", "b/to") == {
        "in/s0/x00": "to/s0/x00",
        "in/s0/x01": "to/s0/x01",
        "in/s1/x00": "to/s1/x00",
        "in/s1/x01": "to/s1/x01",
    }


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("set/*.jpg", ["x/a.jpg", "x/b.jpg"]),
        ("set/**/*.jpg", ["x/a.jpg", "x/b.jpg", "x/deep/d.jpg"]),
        ("*/c.tx?", ["x/set/c.txt"]),
    ],
)
def test_wildcards_find_files(word: str, keys: list[str]) -> None:
    assert sorted(planned(word, "b/x/").values()) == keys


@pytest.mark.parametrize("name", ["odd{0..1}.x", "odd[1].x", "set", "set/a.jpg", "missing", "a{b}"])
def test_what_is_a_name_is_no_pattern(name: str) -> None:
    assert pattern_of(name) is None


def test_what_stands_for_nothing_is_told() -> None:
    with pytest.raises(click.UsageError, match="no file matches"):
        planned("*.none", "b")
    with pytest.raises(BadRequest, match="start"):
        planned("f{3..1}", "b")
    with pytest.raises(click.UsageError, match="no template"):
        names_of_template("plain")
