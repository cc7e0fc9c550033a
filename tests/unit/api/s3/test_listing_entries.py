"""How names stand in listings."""

from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from aisle.api.s3.listing_entries import Spelling, common_prefixes, contents
from aisle.model.record import Attributes, Inline, Record, encode_record
from aisle.storage.engine import Entry

KEYS = st.lists(
    st.one_of(st.text(alphabet="ab/&<\0é%", min_size=1), st.text(min_size=1)).map(
        lambda text: text.encode("utf-8", "ignore") or b"x"
    ),
    min_size=1,
)


@given(KEYS)
def test_percent_encoding_carries_any_name(keys: list[bytes]) -> None:
    names = Spelling(is_url=True).names(keys)
    assert [unquote_to_bytes(name) for name in names] == keys
    assert all(name.isascii() and name.isprintable() and " " not in name for name in names)


@given(KEYS)
def test_xml_carries_any_name_that_it_knows(keys: list[bytes]) -> None:
    known = [bytes(byte for byte in key if byte >= 32) or b"x" for key in keys]
    known = [key for key in known if b"\xef\xbf\xbe" not in key and b"\xef\xbf\xbf" not in key] or [b"x"]
    names = Spelling(is_url=False).names(known)
    assert [(ElementTree.fromstring(f"<a>{name}</a>").text or "").encode() for name in names] == known


def test_the_storage_class_is_the_one_that_the_writer_named() -> None:
    attributes = Attributes(fields={"x-amz-storage-class": "STANDARD_IA"})
    encoded = encode_record(Record(1, 0, attributes, b"g" * 16, 1, Inline(1, b"x" * 8)))
    shown = contents([Entry(b"k", encoded)], "<Owner/>", Spelling(is_url=False))[0]
    assert "<Owner/><StorageClass>STANDARD_IA</StorageClass>" in shown
    assert "<LastModified>1970-01-01T00:00:00.000Z</LastModified>" in shown


def test_records_of_before_there_were_fields_are_shown() -> None:
    import msgspec

    old = [7, 1_000_000, ["xxhash2", "ab", "", {}, {}, {}, "1"], b"g" * 16, 1, [0, 1, b"x" * 8], ""]
    shown = contents([Entry(b"k", msgspec.msgpack.encode(old))], "", Spelling(is_url=False))[0]
    assert "<ETag>&quot;ab-1&quot;</ETag><Size>7</Size>" in shown
    assert "00.001Z" in shown


def test_nothing_is_nothing() -> None:
    assert contents([], "", Spelling(is_url=False)) == []
    assert common_prefixes([], Spelling(is_url=False)) == []
    assert common_prefixes([b"a&/"], Spelling(is_url=False)) == [
        "<CommonPrefixes><Prefix>a&amp;/</Prefix></CommonPrefixes>"
    ]
