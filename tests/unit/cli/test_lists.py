import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aisle.cli.download_options import JobOptions
from aisle.cli.lists import ListOptions, format_of, list_lines, list_order
from aisle.cli.locations import parse_location
from aisle.errors import BadRequest

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def options(path: str, **more: Any) -> ListOptions:
    empty = {"url_column": "", "name_column": "", "checksum_column": "", "size_column": ""}
    return ListOptions(**{"list_file": path, "list_format": None, **empty, **more})


def read(path: Path | str, base: str = "", **more: Any) -> list[dict[str, object]]:
    own = options(str(path), **more)
    lines = list_lines(own, own.list_format or format_of(str(path)), base)
    return [json.loads(line) for line in lines]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_text_has_a_link_and_perhaps_a_name_on_each_line(tmp_path: Path) -> None:
    text = "\ufeff# my files\nhttps://h/a\r\n\n  h/b  \nhttps://h/c d/my file.bin \ngs://bucket/e\n"
    assert read(written(tmp_path, "x.txt", text)) == [
        {"link": "https://h/a", "name": "a"},
        {"link": "https://h/b", "name": "b"},
        {"link": "https://h/c", "name": "d/my file.bin"},
        {"link": "gs://bucket/e", "name": "e"},
    ]


def test_columns_of_csv_are_chosen_by_name(tmp_path: Path) -> None:
    text = f'id,URL,caption,md5,bytes\n1,https://h/a,"x, ""y""\nz",{MD5},5\n2,https://h/b,,,\n'
    path = written(tmp_path, "x.csv", text)
    assert read(path, checksum_column="md5", size_column="bytes") == [
        {"link": "https://h/a", "name": "a", "checksum": f"md5:{MD5}", "size": 5},
        {"link": "https://h/b", "name": "b"},
    ]
    assert [row["name"] for row in read(path, name_column="id")] == ["1", "2"]


def test_columns_that_look_useful_and_are_not_used_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "x.csv", f"url,name,md5,caption\nhttps://h/a,b,{MD5},x\n")
    read(path, name_column="name")
    assert capsys.readouterr().err == 'Column "md5" is not used; to use it: --checksum-column md5\n'
    read(path, name_column="name", checksum_column="md5")
    assert capsys.readouterr().err == ""


def test_a_table_with_one_column_needs_no_choice(tmp_path: Path) -> None:
    assert read(written(tmp_path, "x.csv", "where\nhttps://h/a\n\n")) == [
        {"link": "https://h/a", "name": "a"}
    ]
    assert len(read(written(tmp_path, "x.tsv", "url\tn\nhttps://h/a\t1\n"))) == 1


def test_lines_of_json_are_as_in_a_request_or_chosen(tmp_path: Path) -> None:
    own = {"link": "https://h/a", "name": "n", "checksum": f"md5:{MD5}", "size": 7}
    assert read(written(tmp_path, "x.jsonl", json.dumps({**own, "more": [1]}) + "\n\n")) == [own]
    other = {"u": "https://h/a", "k": 5, "s": "7", "h": MD5.upper()}
    columns = {"url_column": "u", "name_column": "k", "size_column": "s", "checksum_column": "h"}
    found = read(written(tmp_path, "y.ndjson", json.dumps(other)), **columns)
    assert found == [{"link": "https://h/a", "name": "5", "checksum": f"md5:{MD5}", "size": 7}]


def test_parquet_is_read_by_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    count = 10_000
    table = pyarrow.table(
        {
            "url": [f"https://h/{number}" for number in range(count)],
            "hash": [MD5] * count,
            "image": [b"x"] * count,
            "length": list(range(count)),
        }
    )
    path = tmp_path / "x.parquet"
    parquet.write_table(table, path, row_group_size=3000)
    found = read(path, checksum_column="hash", size_column="length")
    assert len(found) == count
    assert found[-1] == {
        "link": f"https://h/{count - 1}",
        "name": str(count - 1),
        "checksum": f"md5:{MD5}",
        "size": count - 1,
    }
    with pytest.raises(BadRequest, match='there is no column "x", only url, hash'):
        read(path, url_column="x")
    with pytest.raises(BadRequest, match=r"row 1: column \"image\": expected|row 1"):
        read(path, size_column="image")


def test_without_its_library_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadRequest, match=r"pip install '\.\[parquet\]'"):
        read(written(tmp_path, "x.parquet", "PAR1"))


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"url\nhttps://h/a\n"))
    assert read(tmp_path / "x.csv.gz") == [{"link": "https://h/a", "name": "a"}]
    (tmp_path / "y.txt.gz").write_bytes(gzip.compress(b"https://h/a\n")[:-9])
    with pytest.raises(BadRequest, match="cannot be read"):
        read(tmp_path / "y.txt.gz")


def test_standard_input_is_text_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    given(b"https://h/a\n")
    assert read("-") == [{"link": "https://h/a", "name": "a"}]
    given(b"url,x\nhttps://h/a,1\n")
    assert read("-", list_format="csv") == [{"link": "https://h/a", "name": "a"}]


def test_paths_are_taken_below_a_base(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", "a/b.jpg\n/c%20.jpg\nhttps://other/d\n")
    assert read(path, base="https://h/base/") == [
        {"link": "https://h/base/a/b.jpg", "name": "a/b.jpg"},
        {"link": "https://h/base/c%2520.jpg", "name": "c%20.jpg"},
        {"link": "https://other/d", "name": "d"},
    ]


@pytest.mark.parametrize(
    ("name", "text", "columns", "reason"),
    [
        ("x.txt", "https://h/a\nhttps://h/\n", {}, "x.txt, line 2: cannot derive"),
        ("x.txt", "https://h/a\nftp://b/c\n", {}, 'x.txt, line 2: cannot download from "ftp://"'),
        ("x.txt", "https://h/a ../b\n", {}, 'x.txt, line 1: "../b"'),
        ("x.csv", "a,b\n1,2\n", {}, "x.csv: which column has the links? Say --url-column, one of a, b"),
        ("x.csv", "url\nhttps://h/a\nhttps://h/b,c\n", {}, "x.csv, line 3: 2 columns, while"),
        ("x.csv", 'url\n"https://h/a\n', {}, "x.csv, line "),
        ("x.csv", "", {}, "x.csv: a first line"),
        ("x.csv", "url,n\nhttps://h/a,x\n", {"size_column": "n"}, 'x.csv, line 2: "x" is not a size'),
        ("x.csv", "url,n\nhttps://h/a,x\n", {"checksum_column": "n"}, 'x.csv, line 2: checksum "x"'),
        ("x.csv", "url,n\n,x\n", {}, "x.csv, line 2: 'link' is missing"),
        ("x.jsonl", '{"link": "https://h/a"}\n[]\n', {}, "x.jsonl, line 2: expected an object"),
        ("x.jsonl", '{"link": "https://h/a"}\n{\n', {}, "x.jsonl, line 2: "),
        ("x.jsonl", '{"link": "https://h/a"}\n{"url": "h/b"}\n', {}, "x.jsonl, line 2: 'link' is missing"),
        ("x.jsonl", '{"link": ["https://h/a"]}\n', {}, 'x.jsonl, line 1: column "link": expected text'),
        ("x.jsonl", '{"link": "https://h/a", "size": true}\n', {}, 'x.jsonl, line 1: "True" is not a size'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, columns: dict[str, str], reason: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        read(written(tmp_path, name, text), **columns)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(reason)


def test_what_is_no_text_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"https://h/a\n\xff\xfe\n")
    with pytest.raises(BadRequest, match="not text in UTF-8"):
        read(tmp_path / "x.txt")
    with pytest.raises(BadRequest, match=r"no\.txt cannot be read: no such file"):
        read(tmp_path / "no.txt")


def test_a_list_is_read_while_it_is_sent(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", "https://h/a\nhttps://h/\n")
    lines = list_lines(options(str(path)), "text")
    assert json.loads(next(lines)) == {"link": "https://h/a", "name": "a"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.TXT", "text"),
        ("a", "text"),
        ("a.csv.gz", "csv"),
        ("a.pq", "parquet"),
        ("-", "text"),
        ("a.jsonl", "jsonl"),
    ],
)
def test_a_name_tells_the_format(name: str, found: str) -> None:
    assert format_of(name) == found


def test_an_order_names_its_source(tmp_path: Path) -> None:
    path = written(tmp_path, "x.txt", "https://h/a\n")
    job = JobOptions(
        description="",
        download_timeout=0,
        connections=None,
        bytes_per_hour=0,
        header=(),
        priority=0,
        extract=False,
        sync=False,
    )
    order = list_order("", parse_location("ais://b/in/"), job, options(str(path)))
    message = order.request.message()
    assert (message["type"], message["subdir"]) == ("list", "in")
    assert message["description"] == f"{path} -> ais://b/in/"
    assert [json.loads(line)["name"] for line in order.lines or ()] == ["a"]
