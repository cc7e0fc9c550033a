import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest
from aisle.rules.index_pages import (
    Entry,
    StartFolder,
    Wanted,
    checked_patterns,
    is_page,
    page_entries,
    page_text,
)

START = StartFolder("http://h/d/")

NGINX = """<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><hr><pre>
<a href="../">../</a>
<a href="sub/">sub/</a>                 21-Nov-2026 10:00                   -
<a href="a%20b.txt">a b.txt</a>         21-Nov-2026 10:00                   5
<a href="x.tar">x.tar</a>               21-Nov-2026 10:00                1024
</pre><hr></body></html>"""
APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><html><body><h1>Index of /d</h1><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/">Parent Directory</a></td></tr>
<tr><td><a href="/d/"><img src="/icons/back.gif"></a></td></tr>
<tr><td><A class="i" HREF='sub/'><img src="/icons/folder.gif"></A></td><td><a href="sub/">sub/</a></td></tr>
<tr><td><a href=x.tar>x.tar</a></td></tr><tr><td><a href="/d/a&amp;b.txt">a&amp;b.txt</a></td></tr>
</table><!-- <a href="hidden.txt">no</a> --><script>'<a href="script.txt">'</script>
<address>Apache/2.4 <a href="mailto:a@b">me</a> <a href="https://www.apache.org/x">Apache</a></address></body></html>"""
PYTHON = """<ul><li><a href="sub/">sub/</a></li><li><a href="%5Bx%5D%25.txt">[x]%.txt</a></li>
<li><a href="link/">link@</a></li><li><a href="%E4.bin">latin</a></li></ul>"""


def entries(text: str, page: str = "http://h/d/", start: StartFolder = START) -> list[Entry]:
    return list(page_entries(text, page, start))


def paths(text: str, page: str = "http://h/d/") -> list[str]:
    return [entry.path for entry in entries(text, page)]


def test_pages_of_usual_servers() -> None:
    assert entries(NGINX) == [
        Entry("http://h/d/sub/", "sub/"),
        Entry("http://h/d/a%20b.txt", "a b.txt"),
        Entry("http://h/d/x.tar", "x.tar"),
    ]
    assert entries(APACHE) == [
        Entry("http://h/d/sub/", "sub/"),
        Entry("http://h/d/x.tar", "x.tar"),
        Entry("http://h/d/a&b.txt", "a&b.txt"),
    ]
    assert paths(PYTHON)[:3] == ["sub/", "[x]%.txt", "link/"]


def test_a_page_below_the_start_names_paths_from_there() -> None:
    assert paths(NGINX, "http://h/d/s/t/") == ["s/t/sub/", "s/t/a b.txt", "s/t/x.tar"]
    # A page that is a file of its folder, as index.html is.
    assert paths('<a href="x">', "http://h/d/s/index.html") == ["s/x"]


@pytest.mark.parametrize(
    "href",
    [
        "..", "../", "../../x", "/x", "/dd/x", "//other/d/x", "http://other/d/x", "https://h/d/x", "http://h:81/d/x",
        "?a=b", "x?a=b", "#top", "", "./", ".", "/d/", "/d", "mailto:x@y", "javascript:void(0)", "ftp://h/d/x",
        "%2e%2e/x", "s/%2e%2e/%2E%2e/x", "s/../../x", "http://[/", "x\x00",
    ],
)  # fmt: skip
def test_links_that_lead_elsewhere_do_not_count(href: str) -> None:
    assert entries(f'<a href="{href}">') == []


def test_the_same_place_may_be_written_in_many_ways() -> None:
    start = StartFolder("HTTP://H:80/%64/~me")
    assert start.link == "http://H:80/%64/~me/"
    for link in ("http://h/d/~me/x", "http://h:80/d/%7Eme/x", "http://H/%64/%7eme/x#top"):
        href = f'<a href="{link}">'
        assert [entry.path for entry in page_entries(href, start.link, start)] == ["x"]


def test_each_entry_comes_once() -> None:
    assert paths('<a href="x"><a href="./x"><a href="/d/x"><a href="http://h/d/x">') == ["x"]


def test_names_that_cannot_be_are_told() -> None:
    found = entries('<a href="%ff"><a href="a%2fb"><a href="' + "n" * 1025 + '">')
    assert [entry.error for entry in found][:2] == ["its name is not valid UTF-8", "its name holds a slash"]


def test_a_folder_has_no_query() -> None:
    for link in ("http://h/d/?x", "http://h/d#x", "ftp://h/d"):
        with pytest.raises(BadRequest):
            StartFolder(link)


@given(st.text(max_size=200))
def test_any_text_is_a_page(text: str) -> None:
    for entry in entries(f'<a href="{text}"> {text}'):
        assert entry.path
        assert not entry.path.startswith("/")
        assert ".." not in entry.path.split("/")


@pytest.mark.parametrize(
    "text", ["<a ", "<!--", "<a href=", "<script>", "<a href='x' ", "<style></script>", "<a x>"]
)
def test_pages_that_mean_harm_take_no_time(text: str) -> None:
    # In quadratic time this would take hours, and the test its timeout.
    assert entries(text * 200_000) == []


def test_the_attributes_of_a_link_may_come_in_any_order() -> None:
    page = """<a class="x" href="a"><A\nHREF = 'b' ><a data-href="no" href=c><abbr href="no"><a name="x">"""
    assert paths(page) == ["a", "b", "c"]


def test_pages_are_told_by_their_type() -> None:
    assert is_page("text/html; charset=UTF-8")
    assert is_page("application/xhtml+xml")
    assert not is_page("application/json")
    assert not is_page("")


def test_pages_are_read_in_their_encoding() -> None:
    assert page_text("ä".encode("latin-1"), "text/html; charset=ISO-8859-1") == "ä"
    assert page_text("ä".encode(), "text/html") == "ä"
    assert page_text("ä".encode(), "text/html; charset=nonsense") == "ä"
    assert page_text(b"\xff", "text/html") == "\\xff"


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        ([], [], ["a.tar", "s/b.tar", "s/c.txt", "s/t/d.tar"]),
        (["*.tar"], [], ["a.tar", "s/b.tar", "s/t/d.tar"]),
        (["s/*.tar"], [], ["s/b.tar", "s/t/d.tar"]),
        (["/a.*"], [], ["a.tar"]),
        (["*.tar"], ["s/t/*"], ["a.tar", "s/b.tar"]),
        ([], ["*.t?r"], ["s/c.txt"]),
    ],
)
def test_patterns_choose_files(include: list[str], exclude: list[str], wanted: list[str]) -> None:
    chosen = Wanted(include, exclude)
    assert [path for path in ("a.tar", "s/b.tar", "s/c.txt", "s/t/d.tar") if chosen.file(path)] == wanted


def test_folders_that_are_excluded_are_not_looked_into() -> None:
    chosen = Wanted(exclude=["t/", "u/*", "*.tar", "/v/"])
    folders = ("s/", "t/", "s/t/", "u/", "s/u/", "xt/", "v/", "s/v/")
    assert [path for path in folders if chosen.folder(path)] == ["s/", "s/u/", "xt/", "s/v/"]
    files = ("a", "t/a", "s/t/x/a", "u/a", "s/u/a", "v/a", "s/v/a")
    assert [path for path in files if chosen.file(path)] == ["a", "s/u/a", "s/v/a"]


def test_patterns_have_bounds() -> None:
    assert checked_patterns(["a", "b"]) == ("a", "b")
    for patterns in (["x" * 1025], [""], ["x"] * 1001):
        with pytest.raises(BadRequest):
            checked_patterns(patterns)
