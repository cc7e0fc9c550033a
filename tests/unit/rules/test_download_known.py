"""Which objects may be what their source still has, and which answers say that they are."""

import pytest

from aisle.model.record import Attributes, Inline, Record
from aisle.rules.download_known import has_checksum, known_object
from aisle.rules.download_unchanged import Known, is_confirmed, is_the_same

LINK = "https://h/x"
DATE = "Sat, 21 Nov 2026 01:12:58 GMT"
DATE_S = 1_795_223_578
CUSTOM = {"source": "web", "orig_url": LINK, "Content-Length": "5", "ETag": "v1", "Last-Modified": DATE}


def record(custom: dict[str, str], *, size: int = 5, age_s: float = 100.0, **more: object) -> Record:
    attributes = Attributes(content_type="a/b", custom=custom, **more)  # type: ignore[arg-type]
    return Record(size, int((DATE_S + age_s) * 1e9), attributes, b"g" * 16, 1, Inline(1, b""))


def asked(custom: dict[str, str], link: str = LINK, **more: float) -> tuple[str, str] | None:
    known = known_object(record(custom, **more), link)  # type: ignore[arg-type]
    return known.condition if known else None


def without(*names: str, **more: str) -> dict[str, str]:
    return {name: value for name, value in CUSTOM.items() if name not in names} | more


def test_the_entity_tag_is_asked_about() -> None:
    known = known_object(record(CUSTOM), LINK)
    assert known == Known(b"g" * 16, 5, "a/b", '"v1"', ("If-None-Match", '"v1"'))
    assert asked(without(ETag='W/"v1"')) == ("If-None-Match", 'W/"v1"')


def test_without_a_tag_the_date_is_asked_about_if_no_other_version_can_have_it() -> None:
    dated = without("ETag")
    assert asked(dated) == ("If-Modified-Since", DATE)
    assert asked(dated, age_s=1.5) == ("If-Modified-Since", DATE)
    assert asked(dated, age_s=0.5) is None
    assert asked(dated, age_s=-10) is None
    assert asked(without("ETag", **{"Last-Modified": "yesterday"})) is None
    assert asked(without("ETag", "Last-Modified")) is None


def test_what_is_not_from_the_link_or_not_as_it_came_is_fetched() -> None:
    assert asked(CUSTOM, "https://h/y") is None
    assert asked(without("orig_url")) is None
    assert asked(CUSTOM, size=6) is None
    assert asked(without("Content-Length")) is None
    assert asked(without("Content-Length", orig_size="5")) == ("If-None-Match", '"v1"')
    assert asked(without("Content-Length", orig_size="6")) is None


def test_links_that_differ_in_what_is_secret_need_a_strong_tag() -> None:
    signed = LINK + "?X-Amz-Signature=1"
    custom = without(orig_url=LINK + "?X-Amz-Signature=...")
    assert asked(custom, signed) == ("If-None-Match", '"v1"')
    assert asked({**custom, "ETag": 'W/"v1"'}, signed) is None
    assert asked({name: custom[name] for name in custom if name != "ETag"}, signed) is None


def test_a_tag_that_no_header_can_carry_is_not_sent() -> None:
    assert asked(without("Last-Modified", ETag="\u00e9")) is None


KNOWN = Known(b"", 5, "", '"v1"', ("If-None-Match", '"v1"'))
WEAK = KNOWN._replace(etag='W/"v1"')
DATED = KNOWN._replace(etag="")


@pytest.mark.parametrize(
    ("etag", "known", "confirmed", "same"),
    [
        ('"v1"', KNOWN, True, True),
        ("v1", KNOWN, True, True),
        ('W/"v1"', KNOWN, True, False),
        ('"v2"', KNOWN, False, False),
        ("", KNOWN, True, False),
        ('"v1"', WEAK, True, False),
        ('W/"v1"', WEAK, True, False),
        ('"v1"', DATED, True, False),
    ],
)
def test_answers_tell_whether_it_is_the_same(etag: str, known: Known, confirmed: bool, same: bool) -> None:
    fields = {"ETag": etag} if etag else {}
    assert is_confirmed(fields, known) is confirmed
    assert is_the_same(fields, 5, known) is same
    assert not is_the_same(fields, 6, known)
    assert not is_the_same(fields, None, known)


def test_a_checksum_counts_if_it_was_computed() -> None:
    attributes = Attributes(
        checksum_type="sha256", checksum_value="0f", digests={"md5": "aa"}, custom={"sha1": "bb"}
    )
    assert has_checksum(attributes, "sha256:0F")
    assert not has_checksum(attributes, "sha256:aa")
    assert has_checksum(attributes, "md5:aa")
    assert not has_checksum(attributes, "sha1:bb")
    assert not has_checksum(attributes, "sha512:aa")
