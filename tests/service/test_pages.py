"""What a web page can make a browser do to a node without credentials; each was open once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from aisle.api.gate import Gate
from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import RemoteObject
from aisle.errors import Denied
from aisle.httpd.request import Request
from service.calling import Answer, Native
from support.archives import archive_of

PAGE = b"<script>fetch('/v1/buckets')</script>"
INERT = {
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}
TARGETS = [
    "/v1/objects/x/p.html?provider=ht&original_url=https%3A%2F%2Fevil.example%2Fd%2Fp.html",
    "/v1/objects/x/p.html?provider=aws",
    "/ht/x/p.html",
    "/s3/data/p.html?response-content-type=text%2Fhtml",
    "/data/p.html",
    "/v1/objects/data/p.html?provider=ais",
    "/v1/buckets",
    "/",
]


@pytest.fixture
def native() -> Iterator[Native]:
    providers = {kind: MemoryProvider(["x"]) for kind in ("ht", "aws")}
    for provider in providers.values():
        asyncio.run(_stored(provider))
    node = Native(providers={"ht": lambda _: providers["ht"], "aws": lambda _: providers["aws"]})
    node.bucket("data")
    node.put("data/p.html", PAGE, content_type="text/html")
    yield node
    node.close()


async def _stored(provider: MemoryProvider) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield PAGE

    await provider.put("x", "p.html", once(), RemoteObject("p.html", len(PAGE), content_type="text/html"))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_another_site_leads_a_browser_to_is_refused(native: Native, target: str, site: str) -> None:
    before = native.state()
    # A link, an image and a script are got without an Origin.
    refused = native("GET", target, sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")
    assert refused.status == 403
    assert b"pages of other sites may not use this node" in refused.body
    assert b"type it into the browser yourself" in refused.body
    assert native.state() == before


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_a_person_who_opens_an_address_gets_it(native: Native, site: str) -> None:
    for target in ("/v1/objects/data/p.html?provider=ais", "/s3/data/p.html", "/v1/buckets"):
        assert native("GET", target, sec_fetch_site=site, sec_fetch_mode="navigate").status == 200


def test_requests_that_are_signed_for_others_are_judged_alike() -> None:
    for admit in (Gate().admit_passed, Gate().admit_proxied):
        headers = {"host": "s3.example.com", "sec-fetch-site": "cross-site"}
        with pytest.raises(Denied, match="pages of other sites"):
            admit(Request("GET", b"/x/p.html", b"", headers))
        admit(Request("GET", b"/x/p.html", b"", {"host": "s3.example.com"}))


def inert(answer: Answer) -> bool:
    return INERT.items() <= answer.headers.items()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/objects/data/p.html?provider=ais",
        "/v1/objects/data/p.html?provider=ais&validate-checksum=true",
        "/ais/data/p.html",
        "/s3/data/p.html",
        "/data/p.html",
        "/s3/data/p.html?partNumber=1",
    ],
)
def test_what_is_stored_is_never_a_page_of_the_node(native: Native, target: str) -> None:
    whole = native("GET", target)
    assert (whole.status, whole.body) == (206 if "partNumber" in target else 200, PAGE)
    assert whole.headers["content-type"] == "text/html"
    assert inert(whole)
    if "partNumber" not in target:
        part = native("GET", target, range="bytes=0-9")
        assert (part.status, part.body) == (206, PAGE[:10])
        assert inert(part)


def test_no_wish_about_the_answer_makes_it_a_page(native: Native) -> None:
    native.put("data/plain", PAGE)
    shown = native("GET", "/s3/data/plain?response-content-type=text%2Fhtml")
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html")
    assert inert(shown)


@pytest.mark.parametrize("provider", ["ht", "aws"])
def test_what_is_elsewhere_is_no_page_of_the_node_either(native: Native, provider: str) -> None:
    for fields in ({"range": "bytes=0-9"}, {}, {}):
        target = f"/v1/objects/x/p.html?provider={provider}"
        answer = native("GET", target, **fields)
        assert answer.body in (PAGE, PAGE[:10])
        assert inert(answer), fields
        assert inert(native("GET", f"/s3/x--{provider}/p.html", **fields))


def test_members_of_archives_are_no_pages_of_the_node(native: Native) -> None:
    native.put("data/s.tar", archive_of(".tar", {"p.html": PAGE, "empty": b""}))
    native.put("data/s.tgz", archive_of(".tgz", {"p.html": PAGE}))
    for query in ("archpath=p.html", "archpath=empty", "archregx=p&archmode=prefix"):
        assert inert(native("GET", f"/v1/objects/data/s.tar?provider=ais&{query}"))
    assert inert(native("GET", "/v1/objects/data/s.tgz?provider=ais&archpath=p.html"))


def test_a_browser_does_not_say_where_a_bucket_is(native: Native) -> None:
    target = "/v1/objects/x/p.html?provider=ht&original_url=http%3A%2F%2F127.0.0.1%3A1%2Fd%2Fp.html"
    for field in ("sec_fetch_site", "sec_fetch_mode", "sec_fetch_dest"):
        before = native.state()
        refused = native("GET", target, **{field: "none" if field == "sec_fetch_site" else "navigate"})
        assert (refused.status, b"ais create --url" in refused.body) == (403, True)
        assert native.state() == before
    native("GET", target)
    assert any(key.startswith("bucket/ht/@#/x/") for key in native.state()[0])  # type: ignore[index]
