"""How soon a node is ready: on a new data folder, and on the folder of an earlier run."""

import statistics

from bench.rows import Bar, Bench, Line, Row

_ROUNDS = 5


def start(bench: Bench) -> list[Line]:
    """From the start of the process to its ready line, which it prints when it accepts requests."""
    bar = Bar(1.0, 0.5, at_least=False, unit="s")
    first, again = [], []
    for _ in range(_ROUNDS):
        with bench.node() as node:
            first.append(node.ready_s)
            node.stop()
            node.start()
            again.append(node.ready_s)
    return [
        Line("start to ready, new data folder", statistics.median(first), bar, _range(first)),
        Line("start to ready, known data folder", statistics.median(again), bar, _range(again)),
    ]


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"


ROWS = [Row("start", start)]
