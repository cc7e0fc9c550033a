import json

import pytest

from aisle.cli.output import JsonList, Table, count_text, printable, size_text, width


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (12, "12B"),
        (1023, "1023B"),
        (1024, "1.00KiB"),
        (3_000_000, "2.86MiB"),
        (14_459_863, "13.79MiB"),
        (5 * 1024**4, "5.00TiB"),
        (3 * 1024**7, "3072.00EiB"),
    ],
)
def test_sizes_are_written_as_aistore_writes_them(size: int, text: str) -> None:
    assert size_text(size) == text


def test_counts_agree_with_their_noun() -> None:
    assert [count_text(count, "file") for count in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b+%", "a b+%"),
        ("日本/😀", "日本/😀"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9bred", r"\x9bred"),
    ],
)
def test_names_cannot_move_the_cursor(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert [width(text) for text in ("ab", "日本", "😀", "e\u0301")] == [2, 4, 2, 1]


def test_columns_line_up_and_only_grow(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(["name", "size"])
    table.add([["a", "1B"], ["日本", "2B"]])
    table.add([["longer name", "3B"]])
    table.add([["b", ""]])
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SIZE",
        "a     1B",
        "日本  2B",
        "longer name  3B",
        "b",
    ]


def test_no_header_is_printed_twice_or_when_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    Table(["name", "size"], headers=False).add([["a", "1B"]])
    assert capsys.readouterr().out == "a  1B\n"


def test_a_growing_json_list_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonList("objects", {"bucket": "ais://b"}) as objects:
        objects.add({"name": 'quote " and 😀'})
        objects.add({"name": "b"})
        objects.tail["failed"] = []
    assert json.loads(capsys.readouterr().out) == {
        "bucket": "ais://b",
        "objects": [{"name": 'quote " and 😀'}, {"name": "b"}],
        "failed": [],
    }


def test_an_empty_json_list_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonList("objects"):
        pass
    assert json.loads(capsys.readouterr().out) == {"objects": []}


def test_a_json_list_that_was_broken_off_is_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    objects = JsonList("objects")
    objects.add(1)
    objects.__exit__(KeyError, KeyError(), None)
    with pytest.raises(json.JSONDecodeError):
        json.loads(capsys.readouterr().out)
