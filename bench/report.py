"""The table: on the terminal while it grows, and as Markdown in `bench/RESULTS.md`."""

from collections.abc import Sequence
from pathlib import Path

from bench.rows import Line

_HEAD = """\
# Results

`make bench` writes this page. Servers run on one core and load on another; both sides take turns, and
the figure is the median of the pairs' ratios. Behind a median stands the range of all turns. CPU is
the processor time of all of a server's processes (µs per request, or s per GiB), ours / the peer's.
The page cache is full before each turn, as on a machine that has served files for hours (`ballast.py`).
"""


def verdict(line: Line) -> str:
    """Whether the bar, and the aim where there is one, is kept."""
    if not line.bar.met(line.value):
        return "**missed**"
    aim = line.bar.aim
    if aim is None:
        return "met"
    reached = line.value >= aim if line.bar.at_least else line.value <= aim
    return "aim met" if reached else f"met (aim {aim:,g})"


def show(line: Line) -> str:
    """A line for the terminal."""
    facts = [f"{line.bar.show(line.value):>16}  {line.bar!s:<16} {verdict(line).strip('*'):<16}"]
    facts += [f"{name} {text}" for name, text in _facts(line) if text]
    return f"{line.work}\n    " + "  ".join(facts)


def _facts(line: Line) -> list[tuple[str, str]]:
    return [("ours", line.ours), ("peer", line.peer), ("CPU", line.cpu), ("p99", line.p99)]


def write(path: Path, machine: Sequence[str], lines: Sequence[Line], remarks: Sequence[str]) -> None:
    """Replace the results page."""
    table = [
        "| work | result | bar | verdict | ours | peer | CPU | p99 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        cells = [line.work, line.bar.show(line.value), str(line.bar), verdict(line)]
        cells += [text for _, text in _facts(line)]
        table.append(f"| {' | '.join(cells)} |")
    parts = [_HEAD, "\n".join(f"- {fact}" for fact in machine), "", "\n".join(table), ""]
    if remarks:
        parts += ["Not measured:", "", "\n".join(f"- {remark}" for remark in remarks), ""]
    path.write_text("\n".join(parts), encoding="utf-8")
