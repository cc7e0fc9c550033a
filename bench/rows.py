"""What a row of the table is: a measurement, its bar, and the lines it yields."""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench import node as nodes
from bench.ballast import Ballast
from bench.measure import Pairs, Sample, interleave, median
from bench.peers import Certificate
from bench.sampling import Sampler


@dataclass(frozen=True, slots=True)
class Bar:
    """The limit a value must keep; `aim` is what would be better still."""

    limit: float
    aim: float | None = None
    at_least: bool = True
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether `value` keeps the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def show(self, value: float) -> str:
        """A value in the bar's unit."""
        digits = 0 if value >= 1000 else 1 if value >= 20 else 2
        return f"{value:,.{digits}f} {self.unit}"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the results."""

    work: str
    value: float
    bar: Bar
    ours: str = ""
    peer: str = ""
    cpu: str = ""
    p99: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every row receives: where to work, how long, how often."""

    scratch: Path
    pairs: int
    seconds: float
    """Of one turn of one side, where the work is not of a fixed size."""
    quick: bool
    ballast: Ballast | None = None
    sampler: Sampler | None = None

    def node(
        self,
        *,
        workers: int = 1,
        mountpaths: int = 1,
        certificate: Certificate | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[nodes.Node]:
        """A node under measurement."""
        return nodes.node(
            self.scratch,
            workers=workers,
            mountpaths=mountpaths,
            certificate=certificate,
            environment=environment,
        )

    def interleave(
        self, node: nodes.Node, ours: Callable[[], Sample], peer: Callable[[], Sample], *, most: int = 1000
    ) -> Pairs:
        """The pairs asked for, at most `most`; the node is sampled in its turns if that was asked for."""

        def sampled() -> Sample:
            with self.sampled(node):
                return ours()

        return interleave(min(self.pairs, most), sampled, peer, prepare=self.settle)

    def settle(self) -> None:
        """Leave nothing of the last turn to the next one, and the machine as it is after hours of work.

        A peer that does not sync would otherwise leave its writing to the side that runs next.
        """
        os.sync()
        if self.ballast is not None:
            self.ballast.fill()

    def sampled(self, node: nodes.Node) -> AbstractContextManager[None]:
        """Samples the node during the block, if that was asked for."""
        return self.sampler.over(node.pid) if self.sampler else nullcontext()


@dataclass(frozen=True, slots=True)
class Row:
    """A named measurement; it is skipped when a program it needs is missing."""

    name: str
    measure: Callable[[Bench], list[Line]]
    needs: Sequence[str] = ()


def compare(work: str, pairs: Pairs, bar: Bar, *, unit: str, cpu_unit: str = "µs") -> Line:
    """A line that compares the rates of both sides."""
    return Line(
        work,
        pairs.ratio(),
        bar,
        ours=_rates(pairs.ours, unit),
        peer=_rates(pairs.peer, unit),
        cpu=_both(pairs, "cpu", cpu_unit),
        p99=_both(pairs, "p99_ms", "ms"),
    )


def _rates(samples: Sequence[Sample], unit: str) -> str:
    """The median rate and, behind it, the range."""
    rates = [sample.rate for sample in samples]
    middle, low, high = statistics.median(rates), min(rates), max(rates)
    digits = 0 if middle >= 100 else 2
    return f"{middle:,.{digits}f} {unit} ({low:,.{digits}f}–{high:,.{digits}f})"


def _both(pairs: Pairs, attribute: str, unit: str) -> str:
    """The medians of an attribute, ours and the peer's; empty where neither was measured."""
    values = [median(pairs.ours, attribute), median(pairs.peer, attribute)]
    if values == [None, None]:
        return ""
    return " / ".join("–" if value is None else f"{value:.3g} {unit}" for value in values)
