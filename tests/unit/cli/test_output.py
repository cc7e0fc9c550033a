import json

import pytest

from aisle.cli.output import (
    JsonList,
    Table,
    count_text,
    print_json,
    print_json_line,
    printable,
    size_text,
    span_text,
    use_units,
    width,
)


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


@pytest.mark.parametrize(
    ("units", "texts"),
    [
        ("iec", ["999B", "1000B", "1.46KiB", "2.86MiB"]),
        ("si", ["999B", "1.00KB", "1.50KB", "3.00MB"]),
        ("raw", ["999", "1000", "1500", "3000000"]),
    ],
)
def test_sizes_are_in_the_units_that_are_asked_for(units: str, texts: list[str]) -> None:
    use_units(units)
    try:
        assert [size_text(size) for size in (999, 1000, 1500, 3_000_000)] == texts
    finally:
        use_units("iec")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (1.25, "1.25s"),
        (59.9, "59.9s"),
        (230, "3m50s"),
        (3600, "1h0m"),
        (64 * 86_400 + 23 * 3600 + 59 * 60, "64d23h"),
    ],
)
def test_time_spans_have_two_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


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
    assert [width(text) for text in ("ab", "日本", "😀", "e\u0301", "❤\ufe0f", "กำ")] == [2, 4, 2, 1, 1, 2]


def test_json_is_exact_and_holds_nothing_that_a_terminal_acts_upon(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "é\x7f\x9b31m\x1b[2J\u202edesrever\u200b\n日本"
    told: list[str] = []
    print_json({"name": name})
    told.append(capsys.readouterr().out)
    print_json_line({"name": name})
    told.append(capsys.readouterr().out)
    with JsonList("names") as names:
        names.add({"name": name})
        names.add(name)
    told.append(capsys.readouterr().out)
    assert all(character.isprintable() or character == "\n" for text in told for character in text)
    documents = [json.loads(text) for text in told]
    assert documents == [{"name": name}, {"name": name}, {"names": [{"name": name}, name]}]


def test_headings_are_upper_case_but_for_what_explains_them(capsys: pytest.CaptureFixture[str]) -> None:
    Table(["mem used(%)", "size (apparent, objects)"]).add([["1", "2"]])
    assert capsys.readouterr().out.splitlines()[0] == "MEM USED(%)  SIZE (apparent, objects)"


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
