"""Links to objects of remote buckets: how they are written, and what becomes of them where nothing leads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest, Unsupported
from aisle.model.names import Bucket
from aisle.rules.download_list import ItemMaker
from aisle.rules.download_names import public_link
from aisle.rules.download_request import read_request
from aisle.rules.provider_links import (
    SOURCES_MAX,
    is_provider_link,
    normal_source,
    parse_provider_link,
    provider_link,
    reached,
)


def nowhere(bucket: Bucket) -> None:
    raise Unsupported(f"{bucket.cname}: no backend")


@pytest.mark.parametrize(
    ("link", "bucket", "key", "normal"),
    [
        ("s3://b/a/x.tar", Bucket("b", "aws"), b"a/x.tar", "s3://b/a/x.tar"),
        ("AWS://b/a b%2Fc", Bucket("b", "aws"), b"a b/c", "s3://b/a%20b/c"),
        ("gs://b/what?is#this", Bucket("b", "gcp"), b"what?is#this", "gs://b/what%3Fis%23this"),
        ("azure://b//x/", Bucket("b", "azure"), b"/x/", "az://b//x/"),
        ("oci://b/%E4%BD%A0", Bucket("b", "oci"), "你".encode(), "oc://b/%E4%BD%A0"),
        ("s3://#prod/b/k@v", Bucket("b", "aws", "#prod"), b"k@v", "s3://#prod/b/k%40v"),
        ("ais://@other/b/k", Bucket("b", "ais", "@other"), b"k", "ais://@other/b/k"),
    ],
)
def test_a_link_names_a_bucket_and_an_object(link: str, bucket: Bucket, key: bytes, normal: str) -> None:
    assert is_provider_link(link)
    assert parse_provider_link(link) == (bucket, key)
    assert normal_source(link) == normal
    assert public_link(normal) == normal


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.encode("utf-8", "ignore").decode() == text))
def test_any_name_has_one_link_that_leads_back_to_it(name: str) -> None:
    bucket = Bucket("b", "aws")
    link = provider_link(bucket, name.encode())
    assert parse_provider_link(link) == (bucket, name.encode())
    assert normal_source(link) == link
    assert link.isascii()


@pytest.mark.parametrize("link", ["s3://b", "s3://b/", "s3:///k", "s3://b/%FF", "s3://b..c/k", "s3://#x"])
def test_what_names_no_object_is_refused(link: str) -> None:
    with pytest.raises(BadRequest):
        normal_source(link)


@pytest.mark.parametrize("link", ["https://h/x", "h/x", "ais://h:8080/b/x", "s3:b/x", "ftp://h/x"])
def test_other_links_are_none_of_these(link: str) -> None:
    assert not is_provider_link(link)
    assert reached(link, nowhere) == link


def test_public_objects_of_two_clouds_are_on_the_web_too() -> None:
    assert reached("s3://b/a b", nowhere) == "https://s3.amazonaws.com/b/a%20b"
    assert reached("gs://b/k", nowhere) == "https://storage.googleapis.com/b/k"
    for link in ("az://b/k", "ais://@other/b/k", "s3://#prod/b/k"):
        with pytest.raises(Unsupported, match="no backend"):
            reached(link, nowhere)


def test_requests_tell_which_buckets_they_read() -> None:
    body = (
        b'{"type":"multi","bucket":{"name":"d"},"objects":{"x":"s3://b/k","y":"https://h/y","z":"aws://c/z"}}'
    )
    asked = read_request(body)
    assert asked.sources == {Bucket("b", "aws"), Bucket("c", "aws")}
    assert dict(asked.spec.objects) == {"x": "s3://b/k", "y": "https://h/y", "z": "s3://c/z"}
    asked = read_request(body, reaches=nowhere)
    assert asked.sources == set()
    assert dict(asked.spec.objects)["x"] == "https://s3.amazonaws.com/b/k"
    template = b'{"type":"range","bucket":{"name":"d"},"template":"s3://b/x-{1..3}.tar"}'
    assert read_request(template).sources == {Bucket("b", "aws")}
    assert read_request(template, reaches=nowhere).spec.template == "https://s3.amazonaws.com/b/x-{1..3}.tar"


def test_what_leads_to_a_bucket_is_asked_once_for_a_list() -> None:
    asked: list[Bucket] = []

    def reaches(bucket: Bucket) -> None:
        asked.append(bucket)
        if bucket.name == "web":
            nowhere(bucket)

    maker = ItemMaker(reaches=reaches)
    for number in range(5):
        assert maker.item(f"s3://web/{number}").link == f"https://s3.amazonaws.com/web/{number}"
        assert maker.item(f"s3://b/{number}").link == f"s3://b/{number}"
    assert asked == [Bucket("web", "aws"), Bucket("b", "aws")]
    assert maker.sources == {Bucket("b", "aws")}


def test_a_request_leads_to_few_buckets() -> None:
    links = ",".join(f'"s3://b{number}/k{number}"' for number in range(SOURCES_MAX + 1))
    with pytest.raises(BadRequest, match="more than 100 remote buckets"):
        read_request(f'{{"type":"multi","bucket":{{"name":"d"}},"objects":[{links}]}}'.encode())
    maker = ItemMaker()
    for number in range(SOURCES_MAX):
        maker.item(f"s3://b{number}/k")
    with pytest.raises(BadRequest, match="more than 100 remote buckets"):
        maker.item("s3://another/k")


def test_a_template_does_not_count_through_buckets() -> None:
    # Whether their caller may read each of them could not be told in time.
    with pytest.raises(BadRequest, match="numbers may stand in names"):
        read_request(b'{"type":"range","bucket":{"name":"d"},"template":"s3://b{1..3}/x"}')


def test_a_backend_download_is_about_objects_of_a_bucket() -> None:
    for switch in ("sync", "synchronize"):
        body = f'{{"type":"backend","bucket":{{"name":"d","provider":"s3"}},"prefix":"p","{switch}":true}}'
        spec = read_request(body.encode()).spec
        assert (spec.kind, spec.prefix, spec.suffix, spec.synchronize, spec.fills) == (
            "backend",
            "p",
            "",
            True,
            True,
        )
        assert spec.description == "remote bucket prefetch -> s3://d"
