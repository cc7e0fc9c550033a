import pytest

from aisle.transfer.rates import TokenBucket, together


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


def test_a_bucket_tells_whether_it_is_overdrawn() -> None:
    bucket = TokenBucket(1000.0)
    bucket.reserve(1000, 100.0)
    assert not bucket.is_overdrawn(100.0)
    bucket.reserve(100, 100.0)
    assert bucket.is_overdrawn(100.0)
    assert not bucket.is_overdrawn(100.1)


def test_of_several_throttles_the_slowest_decides() -> None:
    slow, fast = TokenBucket(100.0), TokenBucket(1000.0)
    both = together(None, slow, fast)
    assert both is not None
    assert both.reserve(200, 100.0) == 1.0
    assert both.is_overdrawn(100.5)
    assert not both.is_overdrawn(101.0)
    # The other one has counted them too.
    assert fast.reserve(900, 100.0) == pytest.approx(0.1)


def test_no_throttle_or_one_is_what_it_is() -> None:
    bucket = TokenBucket(1.0)
    assert together(None, None) is None
    assert together(bucket, None) is bucket
