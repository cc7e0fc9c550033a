import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest
from aisle.rules.provider_links import normal_source
from aisle.rules.range_names import RangeNames
from aisle.rules.templates import TemplateInvalid, parse_template


def names(text: str, subdir: str = "") -> list[str]:
    template = parse_template(text)
    rule = RangeNames(template, subdir)
    rule.refuse_equal(text)
    return [rule.name(normal_source(link)) for link in template.names()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h/d/o{1..2}", ["o1", "o2"]),
        ("http://h/d/o{1..2}?q=/x", ["o1", "o2"]),
        ("http://h/{7..7}/o{1..2}", ["o1", "o2"]),
        ("http://h/d{1..2}/o{1..2}.tar", ["d1/o1.tar", "d1/o2.tar", "d2/o1.tar", "d2/o2.tar"]),
        ("http://h/d{1..2}/o", ["d1/o", "d2/o"]),
        ("h/d{1..2}/o", ["d1/o", "d2/o"]),
        ("http://h/a/b{1..2}/c/o?q=/x", ["b1/c/o", "b2/c/o"]),
        ("http://h{1..2}/d/o", ["h1/d/o", "h2/d/o"]),
        ("h{1..2}/d/o", ["h1/d/o", "h2/d/o"]),
        ("http://h/{1..2}{1..2}", ["11", "12", "21", "22"]),
        ("http://h/{9..10}-{9..10}", ["9-9", "9-10", "10-9", "10-10"]),
        ("http://h/a b{1..2}/o", ["a%20b1/o", "a%20b2/o"]),
        ("s3://#space/b/d/o{1..2}", ["o1", "o2"]),
        ("s3://#space/b/d{1..2}/o", ["d1/o", "d2/o"]),
    ],
)
def test_names_are_last_elements_or_paths_where_these_are_equal(text: str, expected: list[str]) -> None:
    assert names(text) == expected
    assert names(text, "in/") == [f"in/{name}" for name in expected]


def test_a_folder_may_be_none() -> None:
    assert names("http://h/x{1..1}", "/") == ["x1"]
    assert names("http://h/x{1..1}", "a/b//") == ["a/b/x1"]


@pytest.mark.parametrize(
    "text",
    [
        "http://h/o?n={1..2}",
        "http://h/o#{1..2}",
        "http://h/d{1..2}/o?n={1..2}",
        "http://h/{1..11}{1..11}",
        "http://h/{1..11}1{1..11}",
        "http://h/{1..1000}{1..1000}",
    ],
)
def test_links_that_would_become_one_object_are_refused(text: str) -> None:
    with pytest.raises(TemplateInvalid, match="would become one object"):
        names(text)


@pytest.mark.parametrize("subdir", ["x?y", "x#y/"])
def test_a_folder_that_would_cut_names_off_is_refused(subdir: str) -> None:
    with pytest.raises(BadRequest, match="subdir"):
        names("http://h/o{1..2}", subdir)


_number = st.integers(0, 120)
_group = st.tuples(_number, _number).map(lambda pair: f"{{{min(pair)}..{max(pair)}..7}}")


@given(
    st.lists(st.tuples(st.sampled_from(["", "/", "a", "1", "/b", "?", "-"]), _group), min_size=1, max_size=3)
)
def test_what_is_accepted_has_as_many_names_as_links(parts: list[tuple[str, str]]) -> None:
    text = "http://h/d/x" + "".join(literal + group for literal, group in parts)
    try:
        found = names(text)
    except TemplateInvalid:
        return
    assert len(set(found)) == len(found)
