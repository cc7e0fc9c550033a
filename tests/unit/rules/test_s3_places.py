"""Where signed requests about a bucket can have been signed for."""

import pytest

from aisle.rules.s3_places import PATH_STYLE, VIRTUAL_STYLE, places_of, plain_authority


def shown(bucket: str, endpoint: str = "", region: str = "us-west-2") -> list[str]:
    found = places_of(bucket, endpoint=endpoint, region=region, has_hosts=True)
    return [f"{place.base}{place.root.decode()}" for place in found if place.is_usual]


def test_amazons_hosts_follow_from_the_region() -> None:
    assert shown("data") == [
        "https://data.s3.us-west-2.amazonaws.com",
        "https://s3.us-west-2.amazonaws.com/data",
    ]
    assert "https://data.s3.amazonaws.com" in shown("data", region="us-east-1")
    unusual = [place.authority for place in places_of("data", endpoint="", region="us-west-2")]
    assert {"data.s3.amazonaws.com", "data.s3.dualstack.us-west-2.amazonaws.com"} < set(unusual)
    assert shown("a.b") == ["https://s3.us-west-2.amazonaws.com/a.b"]


def test_an_endpoint_is_the_only_host_there_is() -> None:
    assert shown("data", "http://minio:9000") == ["http://minio:9000/data", "http://data.minio:9000"]
    assert shown("data", "https://Store.example:443/s3/") == [
        "https://store.example/s3/data",
        "https://data.store.example/s3",
    ]
    for address in ("http://10.0.0.1:9000", "http://[::1]:9000"):
        assert shown("data", address) == [f"{address}/data"]
    assert shown("My_Data", "http://minio:9000") == ["http://minio:9000/My_Data"]


def test_an_endpoint_has_no_hosts_for_buckets_unless_that_is_said() -> None:
    # It might take the path's first element for the bucket.
    (place,) = places_of("data", endpoint="http://minio:9000", region="")
    assert place.style == PATH_STYLE


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (b"/data/a//b", b"/a//b"),
        (b"/data/", b"/"),
        (b"/data", b""),
        (b"/data2/a", None),
        (b"/dat", None),
        (b"/DATA/a", None),
    ],
)
def test_what_stands_behind_a_bucket(path: bytes, rest: bytes | None) -> None:
    by_path, by_host = places_of("data", endpoint="http://minio:9000", region="", has_hosts=True)
    assert (by_path.style, by_host.style) == (PATH_STYLE, VIRTUAL_STYLE)
    assert by_path.rest_of(path) == rest
    assert by_host.rest_of(path) == path


def test_ports_that_follow_from_the_scheme_say_nothing() -> None:
    assert plain_authority("Host:443", "https") == plain_authority("host", "https")
    assert plain_authority("host:443", "http") == "host:443"
    assert plain_authority("host:80", "HTTP") == "host"
