import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest
from aisle.rules.templates import NAMES_MAX, TemplateInvalid, parse_template


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a{1..3}b", ["a1b", "a2b", "a3b"]),
        ("{0008..0010}", ["0008", "0009", "0010"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{08..1000..500}", ["08", "508"]),
        ("{008..10}", ["08", "09", "10"]),  # the shorter bound gives the width
        ("{1..10..4}x", ["1x", "5x", "9x"]),
        ("{0..1}-{0..1}", ["0-0", "0-1", "1-0", "1-1"]),
        ("{1..2}/{01..02}/{5..5}", ["1/01/5", "1/02/5", "2/01/5", "2/02/5"]),
        ("{7..7}", ["7"]),
        ("{00..00}", ["00"]),
        ("plain", ["plain"]),
        ("", [""]),
        ("caf\u00e9-{1..2}.tar", ["caf\u00e9-1.tar", "caf\u00e9-2.tar"]),
    ],
)
def test_a_template_stands_for_these_names(text: str, names: list[str]) -> None:
    template = parse_template(text)
    assert list(template.names()) == names
    assert template.count == len(names)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a{1..2", "braces do not match"),
        ("a1..2}", "'}' without '{'"),
        ("a{1..2}}", "braces do not match"),
        ("a{{1..2}}", "braces do not match"),
        ("a{}", "want {start..end}"),
        ("a{1}", "want {start..end}"),
        ("a{1..2..3..4}", "want {start..end}"),
        ("a{1,2,3}", "want {start..end}"),
        ("a{a..z}", '"a" is not a whole number'),
        ("a{1.5..2}", '"1.5" is not a whole number'),
        ("a{1..}", '"" is not a whole number'),
        ("a{-1..3}", '"-1" is negative'),
        ("a{+1..3}", '"+1" is not a whole number'),
        ("a{1..\u0663}", "is not a whole number"),
        ("a{4..0}", "'start' cannot be greater than 'end'"),
        ("a{0..4..0}", "'step' must be 1 or more"),
        ("a{0..4..-1}", '"-1" is negative'),
        ("a{0..9999999999999999999}", "is not a whole number"),
        ("a{1..10000001}", "10000001 names, at most"),
        ("a{1..10000}{1..10000}", "100000000 names, at most"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, reason: str) -> None:
    with pytest.raises(TemplateInvalid) as raised:
        parse_template(text)
    assert isinstance(raised.value, BadRequest)
    assert str(raised.value).startswith(f"errTemplateInvalid: invalid 'bash' template \"{text}\": ")
    assert reason in str(raised.value)


def test_as_many_names_as_are_allowed_cost_nothing() -> None:
    template = parse_template("{1..10000000}")
    assert template.count == NAMES_MAX
    assert template.name(NAMES_MAX - 1) == "10000000"


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 5), st.text("ab/.", max_size=3)),
        min_size=1,
        max_size=3,
    )
)
def test_the_nth_name_is_the_nth_of_nested_loops(groups: list[tuple[int, int, int, str]]) -> None:
    expected = ["p"]
    text = "p"
    for start, more, step, after in groups:
        text += f"{{{start}..{start + more}..{step}}}{after}"
        expected = [
            f"{name}{number}{after}" for name in expected for number in range(start, start + more + 1, step)
        ]
    template = parse_template(text)
    assert template.count == len(expected)
    assert [template.name(index) for index in range(template.count)] == expected
