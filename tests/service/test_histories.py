"""Whatever is written under whatever names, listings and reads say the same as a dictionary would."""

from collections.abc import Iterator
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.calling import Native

PARTS = st.text(alphabet="ab/.é😀%+ ", min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
NAMES = st.lists(PARTS, unique=True, max_size=12)


def pages(native: Native, size: int, **value: str) -> Iterator[list[str]]:
    """A listing, page by page."""
    token = ""
    while True:
        page = native.page("h", pagesize=size, continuation_token=token, **value)
        yield [entry["n"] for entry in page["Entries"]]
        token = page["ContinuationToken"]
        if not token:
            return


def expected(names: list[str], prefix: str, *, recursive: bool) -> list[str]:
    """What a listing shows of these names."""
    shown = set()
    for name in names:
        if name.startswith(prefix):
            folder, slash, _ = name[len(prefix) :].partition("/")
            shown.add(name if recursive or not slash else f"{prefix}{folder}/")
    return sorted(shown, key=str.encode)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=NAMES, prefix=st.text(alphabet="ab/é", max_size=2), size=st.integers(1, 5), recursive=st.booleans()
)
def test_listings_are_what_a_dictionary_would_show(
    native: Native, names: list[str], prefix: str, size: int, recursive: bool
) -> None:
    native.bucket("h")
    for name in names:
        native.put(f"h/{quote(name)}", name.encode())
    flags = "0" if recursive else "2048"
    listed = list(pages(native, size, prefix=prefix, flags=flags))
    assert [name for page in listed for name in page] == expected(names, prefix, recursive=recursive)
    assert all(len(page) == size for page in listed[:-1])
    for name in names[::2]:
        native("DELETE", f"/v1/objects/h/{quote(name)}?provider=ais")
    assert native.names("h") == sorted(names[1::2], key=str.encode)
    native("DELETE", "/v1/buckets/h?provider=ais", {"action": "destroy-bck"})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    body=st.binary(max_size=300),
)
def test_any_name_and_any_bytes_come_back(native: Native, name: str, body: bytes) -> None:
    native.put(f"b/{quote(name)}", body)
    got = native("GET", f"/v1/objects/b/{quote(name)}?provider=ais")
    assert (got.status, got.body) == (200, body)
    head = native("HEAD", f"/v1/objects/b/{quote(name)}?provider=ais")
    assert head.response.length == len(body)
    assert all(value.isprintable() or max(value) >= "\x80" for value in head.headers.values())
    assert name in native.names("b", prefix=name.rstrip("*"))
