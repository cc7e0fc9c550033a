"""XML as it is written and read."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.api.s3.xml import DEPTH_MAX, ELEMENTS_MAX, MalformedXML, document, element, escape, parse_xml

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="￾￿"))


@given(TEXT)
def test_text_that_xml_knows_survives_writing_and_reading(text: str) -> None:
    known = "".join(each for each in text if each >= " " or each in "\t\n\r")
    read = parse_xml(document("Root", [element("Key", known)]), "Root", bytes_max=10_000)
    assert read.value("Key") == known
    assert ElementTree.fromstring(document("Root", [element("Key", known)]))[0].text == (known or None)


def test_control_characters_become_references() -> None:
    assert escape("\x01\r\x7f") == "&#x1;&#xD;&#x7F;"


def test_elements_are_found_by_name_whatever_their_namespace() -> None:
    body = (
        b'<?xml version="1.0"?><D:Delete xmlns:D="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<D:Object><D:Key>a</D:Key></D:Object><Object><Key>b<!-- c --></Key></Object></D:Delete>"
    )
    root = parse_xml(body, "Delete", bytes_max=1000)
    assert [each.value("Key") for each in root.every("Object")] == ["a", "b"]
    assert root.first("Quiet") is None
    assert root.value("Quiet", "false") == "false"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Delete></delete>",
        b"<Other/>",
        b"text",
        b"<Delete/><Delete/>",
        b"\xff\xfe<\x00",
        b'<?xml version="1.0" encoding="nonsense"?><Delete/>',
        b"<!DOCTYPE Delete><Delete/>",
        b'<!DOCTYPE Delete [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete>&b;</Delete>',
        b'<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete/>',
        b"<Delete>&undefined;</Delete>",
        b"<Delete>" + b"<a>" * DEPTH_MAX + b"</a>" * DEPTH_MAX + b"</Delete>",
        b"<Delete>" + b"<a/>" * ELEMENTS_MAX + b"</Delete>",
        b"<Delete>" + b" " * 1_000_000 + b"</Delete>",
    ],
)
def test_documents_that_cannot_be_or_are_too_large_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedXML):
        parse_xml(body, "Delete", bytes_max=900_000)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        assert parse_xml(body, "a", bytes_max=1000).name == "a"
    except MalformedXML:
        pass
