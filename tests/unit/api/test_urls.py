"""Percent-encoding is undone once, byte for byte."""

import pytest

from aisle.api.urls import decode_path, is_true, parse_query
from aisle.errors import BadRequest


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"plain", b"plain"),
        (b"a%20b", b"a b"),
        (b"a+b", b"a+b"),
        (b"%252F", b"%2F"),
        (b"%2f%2F", b"//"),
        (b"%FF%00", b"\xff\x00"),
        (b"%C3%BC", "ü".encode()),
        (b"\xc3\xbc", "ü".encode()),
    ],
)
def test_paths_are_decoded_once(raw: bytes, decoded: bytes) -> None:
    assert decode_path(raw) == decoded


@pytest.mark.parametrize("raw", [b"%", b"a%2", b"%zz", b"%%41", b"%2"])
def test_broken_escapes_are_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="escape"):
        decode_path(raw)
    with pytest.raises(BadRequest, match="escape"):
        parse_query(b"a=" + raw)


def test_queries_are_read_as_go_reads_them() -> None:
    query = b"provider=ais&x=a+b%2Bc&empty=&flag&x=second&&%61=1&namespace=%40u%23n"
    assert parse_query(query) == {
        "provider": "ais",
        "x": "a b+c",
        "empty": "",
        "flag": "",
        "a": "1",
        "namespace": "@u#n",
    }
    assert parse_query(b"") == {}


def test_yes_has_many_spellings() -> None:
    assert all(is_true(text) for text in ("1", "t", "True", "Y", "yes", "ON"))
    assert not any(is_true(text) for text in ("", "0", "false", "no", "off", "2"))
