import msgspec
import pytest

from aisle.errors import AisleError, BadRequest, Unsupported
from aisle.model.job import DownloadSpec
from aisle.model.names import Bucket
from aisle.rules.download_plan import Plan
from aisle.rules.download_request import parse_duration, read_request


def read(**body: object) -> DownloadSpec:
    return read_request(msgspec.json.encode({"bucket": {"name": "b"}, **body})).spec


def test_single() -> None:
    spec = read(
        type="single",
        link="h.example/d/x%20y.iso?s=1",
        timeout="1h",
        limits={"connections": 2, "bytes_per_hour": 1000},
        progress_interval="10s",
        unknown="is ignored",
    )
    assert spec == DownloadSpec(
        kind="single",
        bucket=Bucket("b"),
        link="http://h.example/d/x%20y.iso?s=1",
        object_name="x y.iso",
        description="h.example/d/x%20y.iso?s=1 -> ais://b/x y.iso",
        timeout_s=3600,
        connections=2,
        bytes_per_hour=1000,
    )
    assert read(type="single", link="http://h/x", object_name="n/m", description="d").object_name == "n/m"
    assert read(type="single", link="http://h/x", object_name="n", description="d").description == "d"


def test_range() -> None:
    spec = read(type="range", template="http://h/d/o{1..3}", subdir="s/t/", timeout="0s")
    assert (spec.template, spec.subdir, spec.timeout_s) == ("http://h/d/o{1..3}", "s/t/", 0)
    assert spec.description == "http://h/d/o{1..3} -> ais://b"


def test_multi_map_and_list() -> None:
    spec = read(type="multi", objects={"m1": "http://h/1", "d/m2": "h/2"})
    assert spec.objects == (("m1", "http://h/1"), ("d/m2", "http://h/2"))
    assert spec.description == "multi-download -> ais://b"
    spec = read(type="multi", objects=["http://h/1", "http://h/d/2?x", "http://h/1"])
    assert spec.objects == (("1", "http://h/1"), ("2", "http://h/d/2?x"))


def test_buckets_of_every_form() -> None:
    body = {"type": "single", "link": "http://h/x"}
    assert read(**body, bucket={"name": "b", "provider": "s3"}).bucket == Bucket("b", "aws")
    spaced = {"name": "b", "provider": "ais", "namespace": {"uuid": "U", "name": "N"}}
    assert read(**body, bucket=spaced).bucket == Bucket("b", "ais", "@U#N")


STARTING = "Error starting download: "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"type": "single", "bucket": {}}, "bucket name is missing"),
        ({"type": "zzz"}, f"{STARTING}input does not match any of the supported formats"),
        ({"type": "single"}, f"{STARTING}missing 'link' in the request body"),
        ({"type": "range"}, f"{STARTING}missing 'template' in the request body"),
        ({"type": "multi"}, f"{STARTING}body should not be empty"),
        ({"type": "multi", "objects": []}, f"{STARTING}body should not be empty"),
        (
            {"type": "multi", "objects": {"a": 1}},
            f"{STARTING}values in map should be strings, found: float64",
        ),
        (
            {"type": "multi", "objects": ["h/a", None]},
            f"{STARTING}values in list should be strings, found: nil",
        ),
        ({"type": "multi", "objects": "h/a"}, "failed to unmarshal"),
        ({"type": "multi", "objects": ["h/"]}, f"{STARTING}cannot derive a valid object name"),
        ({"type": "multi", "objects": ["h/a/x", "h/b/x"]}, 'would both become object "x"'),
        ({"type": "single", "link": "h/x", "timeout": "soon"}, f"{STARTING}failed to parse timeout field"),
        ({"type": "single", "link": "h/x", "timeout": "9999999h"}, f"{STARTING}failed to parse timeout"),
        (
            {"type": "single", "link": "h/x", "limits": {"connections": 2**63}},
            f"{STARTING}'limit.connections' may be 9223372036854775807 at most",
        ),
        (
            {"type": "single", "link": "h/x", "limits": {"bytes_per_hour": 10**30}},
            f"{STARTING}'limit.bytes_per_hour' may be 9223372036854775807 at most",
        ),
        ({"type": "single", "link": "h/x", "progress_interval": "zz"}, 'invalid progress interval "zz"'),
        (
            {"type": "single", "link": "h/x", "limits": {"connections": -1}},
            "'limit.connections' must be non-neg",
        ),
        (
            {"type": "single", "link": "h/x", "limits": {"bytes_per_hour": -1}},
            "'limit.bytes_per_hour' must be",
        ),
        ({"type": "single", "link": "h/x", "object_name": "a/"}, "cannot derive a valid object name"),
        ({"type": "single", "link": "ftp://h/x"}, 'scheme "ftp" is not supported'),
        ({"type": "range", "template": "h/x"}, f"{STARTING}not a 'bash' template"),
        ({"type": "range", "template": "h/{4..0}"}, f"{STARTING}errTemplateInvalid: invalid 'bash' template"),
        ({"type": "range", "template": "h/{1..3}/"}, "cannot derive a valid object name"),
        ({"type": "range", "template": "h/{1..3}", "subdir": "../up"}, "cannot derive a valid object name"),
        ({"type": "single", "link": "h/x", "bucket": {"name": "b/c"}}, "bucket name"),
        (
            {"type": "single", "link": "h/x", "bucket": {"name": "b", "provider": "zz"}},
            "invalid backend provider",
        ),
    ],
)
def test_wrong_requests_are_refused_with_the_reason(body: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read(**body)
    assert message in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"type":5}', b"\xff"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="failed to unmarshal"):
        read_request(body)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "backend", "extract": True, "bucket": {"name": "b", "provider": "s3"}},
        {"type": "single", "link": "h/x", "etl_name": "e"},
    ],
)
def test_what_is_not_built_is_said(body: dict[str, object]) -> None:
    with pytest.raises(Unsupported) as raised:
        read(**body)
    assert isinstance(raised.value, AisleError)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1h", 3600),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5m", 90),
        (".5s", 0.5),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_duration(text, what="x") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "s", "-1s", "1 s", "1h 3m", "1d", "\u0663s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid x"):
        parse_duration(text, what="x")


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ({"type": "single", "link": "hf://o/m/a b.bin"}, ["http://hub/o/m/resolve/main/a%20b.bin"]),
        (
            {"type": "multi", "objects": {"x": "hf://datasets/d@v1/a", "y": "https://h/y"}},
            ["http://hub/datasets/d/resolve/v1/a", "https://h/y"],
        ),
        ({"type": "multi", "objects": ["hf://o/m/a"]}, ["http://hub/o/m/resolve/main/a"]),
        (
            {"type": "range", "template": "hf://o/m/a-{0..1}"},
            [f"http://hub/o/m/resolve/main/a-{number}" for number in range(2)],
        ),
    ],
)
def test_addresses_of_the_hub_become_links(body: dict[str, object], links: list[str]) -> None:
    spec = read_request(msgspec.json.encode({"bucket": {"name": "b"}, **body}), hub="http://hub").spec
    plan = Plan(spec)
    assert [plan.item(number).link for number in range(plan.total)] == links


def test_an_address_of_no_file_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"Error starting download: .* names no file"):
        read(type="single", link="hf://o/m")
