import click
import pytest

from aisle.cli.locations import Location, parse_bucket_location, parse_location, parse_provider_only
from aisle.cli.parameters import BUCKET, DURATION, LOCATION, OBJECT, SIZE
from aisle.errors import BadRequest, InvalidName
from aisle.model.names import Bucket


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("ais://b", Location(Bucket("b"), "")),
        ("ais://b/", Location(Bucket("b"), "")),
        ("b/a/b", Location(Bucket("b"), "a/b")),
        ("ais://b//a", Location(Bucket("b"), "/a")),
        ("ais://b/a//b", Location(Bucket("b"), "a//b")),
        ("ais://b/dir/", Location(Bucket("b"), "dir/")),
        ("ais://b/100%+ 😀?#", Location(Bucket("b"), "100%+ 😀?#")),
        ("ais://b/ais://b", Location(Bucket("b"), "ais://b")),
        ("s3://b/o", Location(Bucket("b", "aws"), "o")),
        ("aws://b/o", Location(Bucket("b", "aws"), "o")),
        ("ais://#space/b/o", Location(Bucket("b", "ais", "#space"), "o")),
        ("ais://@uuid#space/b/o", Location(Bucket("b", "ais", "@uuid#space"), "o")),
    ],
)
def test_what_follows_the_bucket_is_the_name_byte_for_byte(text: str, location: Location) -> None:
    assert parse_location(text) == location


@pytest.mark.parametrize("text", ["", "ais://", "/a", "ais:///a", "b c/o", "nfs://b/o", "ais://../o"])
def test_what_cannot_be_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_location(text)


def test_a_bucket_has_nothing_behind_it() -> None:
    assert parse_bucket_location("ais://b/") == Bucket("b")
    with pytest.raises(BadRequest, match="the bucket is ais://b"):
        parse_bucket_location("ais://b/o")


@pytest.mark.parametrize(
    ("text", "provider"), [("ais:", "ais"), ("s3://", "aws"), ("gs:", "gcp"), ("b", None), ("ais://b", None)]
)
def test_a_scheme_alone_names_a_provider(text: str, provider: str | None) -> None:
    assert parse_provider_only(text) == provider


def test_names_have_at_most_1024_bytes_not_characters() -> None:
    assert parse_location("b/" + "😀" * 256).key == ("😀" * 256).encode()
    with pytest.raises(InvalidName):
        _ = parse_location("b/" + "😀" * 257).key


def test_a_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidName):
        _ = parse_location("b/\udcff").key


def test_arguments_that_cannot_be_are_usage_errors() -> None:
    for kind, text in [(BUCKET, "a b"), (LOCATION, "b/" + "x" * 1025), (OBJECT, "ais://b")]:
        with pytest.raises(click.UsageError):
            kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64KiB", 65536),
        ("64k", 65536),
        ("1.5GiB", 1610612736),
        ("10 mb", 10485760),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_sizes_count_in_steps_of_1024(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "-1", "KiB", "1 apple", "1e3", "9000P", "9" * 19, "9" * 400])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SIZE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("1.5m", 90)]
)
def test_time_spans_are_those_of_aistore(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1h x", "-5s", "m5", "36501d", "9" * 400])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)
