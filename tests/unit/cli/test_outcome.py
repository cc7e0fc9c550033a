"""Among many items: which failure is one item's own, and which ends the command."""

import pytest

from aisle import errors
from aisle.cli.outcome import Failures


def test_what_a_source_refuses_is_told_and_the_others_go_on() -> None:
    failures = Failures("read")
    failures.add("s3://b/secret", errors.SourceDenied("403 for s3://b/secret"))
    assert failures.told == [{"item": "s3://b/secret", "error": "403 for s3://b/secret"}]


@pytest.mark.parametrize("error", [errors.Denied("not you"), errors.OutOfSpace("full")])
def test_what_would_end_all_others_the_same_way_ends_the_command(error: errors.AisleError) -> None:
    with pytest.raises(type(error)):
        Failures("read").add("ais://b/o", error)
