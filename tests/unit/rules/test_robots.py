"""Which paths a `robots.txt` allows."""

import time

import pytest

from aisle.rules.robots import Robots


def allowed(text: str, *paths: str) -> list[str]:
    rules = Robots(text, "aisle")
    return [path for path in paths if rules.allows(f"https://host{path}")]


def test_what_nothing_forbids_is_allowed() -> None:
    for text in ("", "nonsense", "User-agent: *\nDisallow:\n", "Disallow: /\n", "Sitemap: https://host/x\n"):
        assert allowed(text, "/", "/a") == ["/", "/a"]


def test_the_longest_rule_decides_wherever_it_stands() -> None:
    for text in (
        "User-agent: *\nDisallow: /\nAllow: /pub/\n",
        "User-agent: *\nAllow: /pub/\nDisallow: /\n",
    ):
        assert allowed(text, "/", "/x", "/pub", "/pub/", "/pub/a") == ["/pub/", "/pub/a"]
    assert allowed("User-agent: *\nDisallow: /a\nAllow: /a\n", "/a") == ["/a"]


def test_stars_and_the_end() -> None:
    text = "User-agent: *\nDisallow: /*.zip$\nDisallow: /a*b*c\nDisallow: *?\n"
    paths = ("/x.zip", "/d/x.zip", "/x.zip2", "/.zip", "/axxbxxcxx", "/acb", "/x?y", "/x%3Fy")
    assert allowed(text, *paths) == ["/x.zip2", "/acb", "/x%3Fy"]
    assert allowed("User-agent: *\nDisallow: /a$\n", "/a", "/ab") == ["/ab"]
    assert allowed("User-agent: *\nDisallow: /ab*b$\n", "/ab", "/abb") == ["/ab"]
    assert allowed("User-agent: *\nDisallow: *\n", "/", "/a") == []


def test_characters_may_be_encoded_in_either() -> None:
    text = "User-agent: *\nDisallow: /\u00e4 x\nDisallow: /%7Euser/\nDisallow: /(a)\n"
    paths = ("/%C3%A4%20x", "/~user/a", "/%28a%29", "/b")
    assert allowed(text, *paths) == ["/b"]


def test_whose_rules_they_are() -> None:
    text = (
        "\ufeffUser-agent: other\nUser-agent: Aisle/2\n\n# a remark\nDisallow: /mine # here\n"
        "User-agent: *\nDisallow: /\n"
        "user-agent : aisle\r\ndisallow : /too\r\n"
    )
    assert allowed(text, "/mine", "/too", "/x") == ["/x"]
    assert allowed("User-agent: ais\nDisallow: /\nUser-agent: aisles\nDisallow: /\n", "/a") == ["/a"]
    assert allowed("User-agent: *\nDisallow: /\nUser-agent: aisle\n", "/a") == ["/a"]
    assert allowed(
        "User-agent: *\nDisallow: /a\nUser-agent: x\nDisallow: /\nUser-agent: *\nDisallow: /b",
        "/a",
        "/b",
        "/c",
    ) == ["/c"]


def test_how_slowly_to_ask() -> None:
    assert (
        Robots("User-agent: *\nCrawl-delay: 2\nUser-agent: aisle\nCrawl-delay: 0.5\n", "aisle").delay_s == 0.5
    )
    assert Robots("User-agent: *\nCrawl-delay: soon\n", "aisle").delay_s == 0
    with pytest.raises(ValueError, match="convert"):
        Robots("User-agent: *\nCrawl-delay: \u00b2\n", "aisle")


def test_no_rule_takes_long() -> None:
    text = "User-agent: *\nDisallow: /" + "*a" * 2000 + "b$\n"
    began_s = time.process_time()
    assert allowed(text, "/" + "a" * 8000) == ["/" + "a" * 8000]
    assert time.process_time() - began_s < 1
