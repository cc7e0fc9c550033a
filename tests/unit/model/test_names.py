"""Names of buckets as they come over the wire."""

import pytest

from aisle.model.names import Bucket, parse_bucket


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("", ""),
        ("@", ""),
        ("#", ""),
        ("@#", ""),
        ("#team", "#team"),
        ("@#team", "#team"),
        ("@cluster", "@cluster"),
        ("@cluster#team", "@cluster#team"),
    ],
)
def test_a_namespace_has_one_form_however_it_is_written(text: str, namespace: str) -> None:
    assert parse_bucket("b", "", text) == Bucket("b", "ais", namespace)


def test_a_namespace_of_this_cluster_is_nowhere_else() -> None:
    assert not parse_bucket("b", "ais", "@#team").is_remote
    assert parse_bucket("b", "ais", "@#team").uname == "ais/@#team/b/"
    assert parse_bucket("b", "ais", "@cluster#team").is_remote
