"""`python -m bench [--quick] [--pairs N] [--data DIR] [--output FILE] [--profile] [ROW ...]`."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import (
    batch,
    churn,
    download,
    download_special,
    get,
    listing,
    machine,
    memory,
    put,
    remote,
    report,
    s3_listing,
    s3_objects,
    start,
)
from bench.ballast import Ballast
from bench.disk import spread
from bench.measure import LOAD_CORE, SERVER_CORE, Failed
from bench.rows import Bench, Line, Row
from bench.sampling import Sampler

_HERE = Path(__file__).parent
_ROWS: dict[str, Row] = {
    row.name: row
    for module in (
        get,
        batch,
        put,
        listing,
        s3_listing,
        s3_objects,
        churn,
        download,
        download_special,
        remote,
        memory,
        start,
    )
    for row in module.ROWS
}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a node beside its peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one or more of: {', '.join(_ROWS)}")
    parser.add_argument("--quick", action="store_true", help="short turns, smaller buckets")
    parser.add_argument("--pairs", type=int, help="interleaved pairs (default 5, quick 2)")
    parser.add_argument(
        "--data", type=Path, help="folder on the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--output", type=Path, help="results page (default: RESULTS.md when all rows run)")
    parser.add_argument("--profile", action="store_true", help="sample the node with py-spy into bench/out")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.rows if name not in _ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(_ROWS)}")
    if chosen.profile and Sampler.program() is None:
        parser.error("--profile needs py-spy: pip install py-spy")
    if LOAD_CORE == SERVER_CORE:
        parser.error("two processor cores are needed: one for servers, one for load")
    return chosen


def _missing(row: Row) -> str:
    """Why the row cannot be measured on this machine; empty if it can."""
    missing = [name for name in row.needs if machine.program(name) is None]
    remedy = "`python tests/system_programs.py --bench` installs it"
    return f"{row.name}: {', '.join(missing)} missing; {remedy}" if missing else ""


def _measure(row: Row, bench: Bench) -> tuple[list[Line], str]:
    """The row's lines, or why it failed."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{row.name}-", dir=bench.scratch))
    spread(scratch)
    bench.settle()
    began = time.monotonic()
    try:
        lines = row.measure(replace(bench, scratch=scratch))
    except (Failed, OSError) as error:
        return [], f"{row.name}: {error}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"# {row.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return lines, ""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit status is 1 if a row failed (a missed bar or peer is no failure)."""
    chosen = _parse(arguments)
    # Ended politely, it must still end the servers and remove what they wrote.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    names = chosen.rows or list(_ROWS)
    os.sched_setaffinity(0, {LOAD_CORE})
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=chosen.data))
    spread(scratch)
    pairs = chosen.pairs or (2 if chosen.quick else 5)
    ballast = None if chosen.quick else Ballast(scratch)
    seconds = 1.0 if chosen.quick else 3.0
    bench = Bench(scratch, pairs, seconds=seconds, quick=chosen.quick, ballast=ballast)
    lines: list[Line] = []
    remarks: list[str] = []
    failed = False
    try:
        facts = machine.describe(scratch)
        print("\n".join(facts), flush=True)
        for name in names:
            sampler = Sampler(_HERE / "out", name) if chosen.profile else None
            found: list[Line] = []
            remark = _missing(_ROWS[name])
            if not remark:
                found, remark = _measure(_ROWS[name], replace(bench, sampler=sampler))
                failed = failed or bool(remark)
            lines += found
            remarks += [remark] if remark else []
            for text in [*map(report.show, found), *([f"not measured: {remark}"] if remark else [])]:
                print(text, flush=True)
    finally:
        if ballast is not None:
            ballast.close()
        shutil.rmtree(scratch, ignore_errors=True)
    output = chosen.output or (
        None if chosen.rows or chosen.quick or chosen.profile else _HERE / "RESULTS.md"
    )
    if output:
        report.write(output, facts, lines, remarks)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
