import pytest

from aisle.errors import BadRequest, InvalidName
from aisle.rules.download_names import (
    authority_of,
    base_name,
    host_of,
    is_packed,
    normal_link,
    object_key,
    public_link,
)


@pytest.mark.parametrize(
    ("link", "normal"),
    [
        ("http://h/a", "http://h/a"),
        ("h.example/a", "http://h.example/a"),
        ("h:8080/a", "http://h:8080/a"),
        ("HTTPS://H/a", "HTTPS://H/a"),
        ("http://h/a b", "http://h/a%20b"),
        ("http://h/caf\u00e9", "http://h/caf%C3%A9"),
        ("http://h/a%20b?x=1&y=[2]#z", "http://h/a%20b?x=1&y=[2]#z"),
        ("http://u:p@h/a", "http://u:p@h/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ('http://h/a"<>\\^`{|}', "http://h/a%22%3C%3E%5C%5E%60%7B%7C%7D"),
    ],
)
def test_a_link_is_made_fit_for_a_request_line(link: str, normal: str) -> None:
    assert normal_link(link) == normal
    assert normal_link(normal) == normal


@pytest.mark.parametrize(
    "link",
    [
        "",
        "ftp://h/a",
        "file:///etc/passwd",
        "http:///a",
        "http://h:x/a",
        "http://h/a\nb",
        "http://[::1/a",
        "dict://h",
    ],
)
def test_other_links_are_refused(link: str) -> None:
    with pytest.raises(BadRequest):
        normal_link(link)


def test_an_endless_link_is_refused() -> None:
    with pytest.raises(BadRequest, match="characters, at most"):
        normal_link("http://h/" + "a" * 9_000)


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("http://h/a?b=1", "http://h/a?b=1"),
        ("http://user:pass@h/a", "http://h/a"),
        ("http://h/a#frag", "http://h/a"),
        (
            "http://h/a?X-Amz-Date=1&X-Amz-Signature=abc&x=2",
            "http://h/a?X-Amz-Date=1&X-Amz-Signature=...&x=2",
        ),
        ("http://h/a?token=abc", "http://h/a?token=..."),
        ("http://h/a?sv=1&sig=abc%3D", "http://h/a?sv=1&sig=..."),
        ("h/a?api_key=k", "h/a?api_key=..."),
        ("http://h/a@b", "http://h/a@b"),
        ("http://h/monkey=1?donkey=2", "http://h/monkey=1?donkey=2"),
    ],
)
def test_secrets_of_a_link_are_not_shown(link: str, shown: str) -> None:
    assert public_link(link) == shown


@pytest.mark.parametrize(
    ("link", "host"),
    [
        ("http://H.Example/a", "h.example:80"),
        ("https://h/a", "h:443"),
        ("http://u:p@h:81/a", "h:81"),
        ("http://[::1]:82/a", "::1:82"),
    ],
)
def test_links_to_one_server_have_one_host(link: str, host: str) -> None:
    assert host_of(link) == host


def test_the_authority_is_what_stands_before_the_path() -> None:
    assert authority_of("http://h:8/a/b") == "h:8"
    assert authority_of("http://h") == "h"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a/b.tar", b"a/b.tar"),
        ("a%20b", b"a b"),
        ("a?x=1", b"a"),
        ("a#x", b"a"),
        ("caf\u00e9", "caf\u00e9".encode()),
        ("%E2%98%83", "\u2603".encode()),
        ("a//b", b"a//b"),
        ("100%", b"100%"),
        ("...", b"..."),
    ],
)
def test_a_name_is_decoded(name: str, key: bytes) -> None:
    assert object_key(name) == key


@pytest.mark.parametrize(
    "name", ["", "?x", "a/", "a/../b", "./a", "..", "~/a", "%FF", "a%2F..%2Fb", "x" * 1025]
)
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        object_key(name)


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("http://h/a/b.tar?x=/y", "b.tar"),
        ("http://h/a", "a"),
        ("http://h/a%2Fb", "a%2Fb"),
        ("http://h//a", "a"),
        ("s3://#space/b/d/a%23b", "a%23b"),
        ("s3://#space/b/a#b", "a"),
    ],
)
def test_the_base_name_is_the_last_element(link: str, name: str) -> None:
    assert base_name(link) == name


@pytest.mark.parametrize(
    "link", ["http://h", "http://h/", "http://h/a/", "http://h?x=/a", "http://h/.", "http://h/a/.."]
)
def test_a_link_without_a_last_element_gives_no_name(link: str) -> None:
    with pytest.raises(InvalidName):
        base_name(link)


def test_packed_files_are_told_by_their_names() -> None:
    assert is_packed("http://h/a.tar.GZ?x=.txt")
    assert is_packed("http://h/a.tgz")
    assert not is_packed("http://h/a.txt?x=.gz")
