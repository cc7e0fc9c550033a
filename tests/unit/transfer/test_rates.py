from aisle.transfer.rates import TokenBucket


def test_a_seconds_worth_is_free_after_a_pause() -> None:
    bucket = TokenBucket(1000.0)
    assert bucket.reserve(1000, 100.0) == 0.0
    assert bucket.reserve(500, 100.0) == 0.5
    assert bucket.reserve(500, 100.0) == 1.0


def test_waits_add_up_to_the_rate() -> None:
    bucket = TokenBucket(1000.0)
    now_s = 50.0
    for _ in range(100):
        now_s += bucket.reserve(250, now_s)
    assert 24.0 <= now_s - 50.0 <= 25.0  # 25,000 bytes, the first second's worth at once


def test_what_was_not_used_is_lost() -> None:
    bucket = TokenBucket(10.0)
    bucket.reserve(10, 100.0)
    assert bucket.reserve(20, 1_000.0) == 1.0
