"""Nobody reads what is out of date or torn through a cache, whoever is killed."""

from soak.remotereads import read_while_killed, rounds


def test_reads_through_a_cache_whose_workers_are_killed() -> None:
    print("\n" + read_while_killed(rounds()))
