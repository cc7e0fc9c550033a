from aisle.jobs.tally import Tally
from aisle.model.job import KEPT_ERRORS, KEPT_FINISHED, FinishedItem, JobProgress, decode_progress, encode_job


def item(number: int, size: int = 10) -> FinishedItem:
    return FinishedItem(f"o{number}", size, size, 1, 2)


def test_counts_and_spans_agree_after_any_number_of_restarts() -> None:
    kept = JobProgress(id="j", total=100)
    for start in range(0, 100, 10):
        tally = Tally(kept)
        for number in range(start, start + 10):
            if number % 5 == 0:
                tally.gave_up(number, item(number, 0), "why")
            elif number % 5 == 1:
                tally.unchanged(number, item(number))
            else:
                tally.stored(number, item(number), updated=number % 5 == 2)
            # Told twice, counted once.
            assert not tally.stored(number, item(number), updated=True)
            assert not tally.unchanged(number, item(number))
        kept = decode_progress(encode_job(tally.progress()))
    assert (kept.finished, kept.failed, kept.skipped, kept.updated) == (80, 20, 20, 20)
    assert kept.received == 600
    assert kept.done == ((0, 100),)
    assert [error.name for error in kept.errors] == [f"o{number}" for number in range(0, 100, 5)]


def test_lists_are_bounded() -> None:
    tally = Tally(JobProgress(id="j", total=10_000))
    for number in range(5_000):
        tally.gave_up(number, item(number), "x" * 100)
    kept = tally.progress()
    assert (len(kept.errors), len(kept.recent), kept.failed) == (KEPT_ERRORS, KEPT_FINISHED, 5_000)
    assert kept.errors[0].name == "o0"
    assert kept.recent[-1].name == "o4999"
    assert len(encode_job(kept)) < 700_000


def test_the_rate_is_that_of_the_last_seconds() -> None:
    tally = Tally(JobProgress(id="j", total=1))
    rates = [
        tally.live(
            (), bytes_received=min(second, 10) * 100, bytes_total=-1, now_s=float(second)
        ).bytes_per_second
        for second in range(20)
    ]
    assert rates[0] == 0.0
    assert rates[1] == rates[10] == 100.0
    assert 0.0 < rates[12] < 100.0
    assert rates[15] == 0.0


def test_a_job_keeps_the_largest_document_below_what_stores_take() -> None:
    tally = Tally(JobProgress(id="j", total=10**7))
    for number in range(0, 4_000, 2):  # holes: many waiting for another attempt
        tally.gave_up(number, FinishedItem("\N{SNOWMAN}" * 341, 10, 10, 1, 2), "\N{SNOWMAN}" * 500)
    assert len(encode_job(tally.progress())) < 1024 * 1024
