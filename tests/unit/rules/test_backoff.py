import pytest

from aisle.rules.backoff import RETRY_AFTER_MAX_S, delay_s, is_transient, parse_retry_after, wished_wait

NOW_S = 1_795_222_378.0  # Sat, 21 Nov 2026 00:52:58 GMT


def test_delays_double_and_end_growing() -> None:
    assert [delay_s(failures, chance=1.0) for failures in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert delay_s(8, chance=1.0) == delay_s(1_000, chance=1.0) == 60.0


def test_half_of_a_delay_is_chance() -> None:
    assert delay_s(3, chance=0.0) == 1.0
    assert delay_s(3, chance=0.5) == 1.5


def test_a_servers_wish_is_a_lower_bound() -> None:
    assert delay_s(1, chance=0.0, retry_after_s=10) == 10
    assert delay_s(1, chance=1.0, retry_after_s=10) == 11
    assert delay_s(8, chance=1.0, retry_after_s=1) == 60
    assert delay_s(1, chance=0.0, retry_after_s=1e9) == RETRY_AFTER_MAX_S


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999999999", 1e9),
        ("Sat, 21 Nov 2026 00:53:58 GMT", 60),
        ("Sat, 21 Nov 2026 00:00:00 GMT", 0),
        ("Saturday, 21-Nov-26 00:53:58 GMT", 60),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, now_s=NOW_S) == seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 599])
def test_these_statuses_may_pass(status: int) -> None:
    assert is_transient(status)


@pytest.mark.parametrize("status", [0, 204, 301, 400, 401, 403, 404, 405, 410, 416, 451, 501, 505, 511])
def test_these_statuses_stay(status: int) -> None:
    assert not is_transient(status)


@pytest.mark.parametrize(
    ("fields", "wish"),
    [
        ({"Retry-After": "7", "RateLimit": '"api";r=0;t=55'}, "7"),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "Wed, 21 Oct 2015 07:28:00 GMT"),
        ({"RateLimit": '"api";r=0;t=55'}, "55"),
        ({"RateLimit": '"resolvers"; r=0; t=243'}, "243"),
        ({"RateLimit": '"api";r=12;t=55'}, ""),
        ({"RateLimit": '"day";r=12;t=9000, "minute";r=0;t=55'}, "55"),
        ({"RateLimit": '"api";r=0'}, ""),
        ({}, ""),
    ],
)
def test_the_end_of_a_rate_limits_window_is_waited_for(fields: dict[str, str], wish: str) -> None:
    assert wished_wait(fields) == wish
