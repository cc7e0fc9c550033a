"""Names of Azure's metadata, and signatures, which are those of Microsoft's own library."""

import re
from base64 import b64encode
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import example, given
from hypothesis import strategies as st

from aisle.backends.azure_protocol import API_VERSION, Ask, about_of, can_be_named, metadata_name, user_name
from aisle.backends.azure_signing import Signable, authorization

KEY = b"a key of some length"
DATE = "Sat, 21 Nov 2026 20:30:00 GMT"


@given(st.text(min_size=1))
@example("_x002d-")
@example("_x0001f600_")
@example("__x002d__")
@example("a_x")
def test_names_of_metadata_are_identifiers_and_come_back(name: str) -> None:
    kept = metadata_name(name)
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", kept)
    assert user_name(kept) == name


@pytest.mark.parametrize("name", ["author", "shard_1", "_", "a_x", "x002d", "max_xy"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert metadata_name(name) == name


@pytest.mark.parametrize(
    ("name", "shown"), [("_xd800_", "_xd800_"), ("_x00110000_", "_x00110000_"), ("a_x002d_b", "a-b")]
)
def test_what_stands_for_no_character_is_left_alone(name: str, shown: str) -> None:
    assert user_name(name) == shown


@pytest.mark.parametrize(
    ("key", "is_possible"),
    [
        ("a/b", True),
        ("...", True),
        (".a/b.", True),
        ("a//b", True),
        ("a\\b", False),
        ("a/..", False),
        (".", False),
    ],
)
def test_names_that_azure_takes_for_others(key: str, is_possible: bool) -> None:
    assert can_be_named(key) is is_possible


def test_of_a_part_only_the_whole_is_told() -> None:
    fields = {
        "content-range": "bytes 1-2/10",
        "content-length": "2",
        "content-md5": b64encode(bytes(16)).decode(),
    }
    assert about_of("k", 206, fields).digests == {}
    whole = fields | {"x-ms-blob-content-md5": b64encode(bytes([1] * 16)).decode()}
    assert (about_of("k", 206, whole).size, about_of("k", 206, whole).digests) == (10, {"md5": "01" * 16})


def signed_by_microsoft(ask: Ask, fields: dict[str, str], *, base: str) -> str:
    """The `Authorization` of Microsoft's client for the same request."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in ask.query)
    request = HttpRequest(ask.method, f"{base}{ask.path}{'?' if query else ''}{query}", headers=fields)
    context = cast("Any", SimpleNamespace(transport=None))
    SharedKeyCredentialPolicy("account", b64encode(KEY).decode()).on_request(
        PipelineRequest(request, context)
    )
    return str(request.headers["Authorization"])


names = st.text("abcxyz0189_", min_size=1).map(metadata_name)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\"), max_size=20).filter(
    can_be_named
)


@given(
    key=keys,
    metadata=st.dictionaries(names, values, max_size=6),
    length=st.integers(0, 10**12),
    etag=st.sampled_from(["", '"0x8DE"']),
    query=st.dictionaries(st.sampled_from(["comp", "restype", "prefix", "marker"]), st.text(min_size=1)),
)
def test_signatures_are_those_of_microsofts_own_client(
    key: str, metadata: dict[str, str], length: int, etag: str, query: dict[str, str]
) -> None:
    try:
        quote("".join(query.values()))
    except UnicodeEncodeError:
        return  # half a surrogate pair
    ask = Ask("PUT", "data", key, tuple(query.items()))
    fields = {f"x-ms-meta-{name}": value for name, value in metadata.items()}
    fields |= {"x-ms-version": API_VERSION, "x-ms-date": DATE, "x-ms-blob-type": "BlockBlob"}
    fields |= {"content-md5": "abc==", "content-type": "text/plain", "if-match": etag}
    fields |= {"x-ms-blob-content-type": "x/y", "x-ms-range": "bytes=1-2"}
    fields = {name: value for name, value in fields.items() if value}
    if length:
        fields["content-length"] = str(length)
    for base, path in (("https://account.blob.example", ""), ("http://127.0.0.1:1/account", "/account")):
        ours = authorization(Signable(ask.method, f"{path}{ask.path}", ask.query, fields), "account", KEY)
        assert ours == signed_by_microsoft(ask, fields, base=base)


def test_a_signature_is_that_of_its_request_alone() -> None:
    request = Signable("GET", "/data/k", (("comp", "list"),), {"x-ms-date": DATE})
    mine = authorization(request, "account", KEY)
    assert mine.startswith("SharedKey account:")
    for other in (
        request._replace(method="PUT"),
        request._replace(path="/data/l"),
        request._replace(query=()),
        request._replace(fields={"x-ms-date": "later"}),
    ):
        assert authorization(other, "account", KEY) != mine
    assert authorization(request, "other", KEY) != mine
    assert authorization(request, "account", b"another") != mine
