import io

import pytest
from rich.console import Console

from aisle.cli.download_advice import advice
from aisle.cli.download_view import LineView, bars, state_text
from aisle.cli.pace import Pace
from aisle.client.downloads import EPOCH, DownloadJob, Failure, Task

MIB = 1024 * 1024
ENDED = EPOCH.replace(year=2026)


def state(**told: object) -> DownloadJob:
    return DownloadJob(id="dnl-x", **told)  # type: ignore[arg-type]


def drawn(job: DownloadJob, *, rows: int = 20, width: int = 100) -> list[str]:
    pace = Pace()
    pace.update(job, 0.0)
    console = Console(file=io.StringIO(), width=width)
    console.print(bars(job, pace, rows=rows))
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_first_line_tells_all_of_a_job() -> None:
    job = state(total=141, done=45, errors=1, bytes=30 * MIB, total_bytes=100 * MIB, rate=7 * MIB)
    line = drawn(job)[0]
    for word in ("46/141", "1 failed", "30%", "30.00MiB/100.00MiB", "7.00MiB/s", "ETA 10s"):
        assert word in line


def test_each_file_that_is_under_way_has_a_line() -> None:
    tasks = [Task(name="a", downloaded=MIB, total=4 * MIB), Task(name="b\x1b[2J", downloaded=5)]
    lines = drawn(state(total=3, current_tasks=tasks))
    assert len(lines) == 3
    assert lines[1].split()[0] == "a"
    assert "25%" in lines[1]
    assert "1.00MiB/4.00MiB" in lines[1]
    assert "b\\x1b[2J" in lines[2]


@pytest.mark.parametrize(("files", "rows", "lines"), [(50, 10, 10), (9, 10, 10), (10, 10, 10), (50, 1, 1)])
def test_bars_stay_within_their_rows(files: int, rows: int, lines: int) -> None:
    tasks = [Task(name=f"file-{number}", downloaded=1, total=2) for number in range(files)]
    seen = drawn(state(total=100, current_tasks=tasks), rows=rows)
    assert len(seen) == lines
    if files > rows > 1:
        assert seen[-1].strip() == f"… and {files - rows + 2} more"


def test_what_waits_for_another_attempt_is_told_with_its_reason() -> None:
    tasks = [Task(name=f"file-{number}", downloaded=1, total=2) for number in range(50)]
    job = state(total=100, retrying=2, trouble="o1: cannot connect", current_tasks=tasks)
    lines = drawn(job, rows=10)
    assert len(lines) == 10
    assert lines[-1] == "2 files to be tried again: o1: cannot connect"
    pace = Pace()
    pace.update(job, 0.0)
    assert "2 to be tried again" in state_text(job, pace)


def test_the_reason_for_another_attempt_is_told_when_it_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    view = LineView(interval_s=1.0, now_s=lambda: now[0])
    for name, reason in (("o1", "cannot connect"), ("o2", "cannot connect"), ("o2", "status 503")):
        now[0] += 2
        trouble = f"{name}: failed to download http://h/{name}: {reason}"
        view.show(state(total=9, done=int(now[0]), retrying=1, trouble=trouble))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith("dnl-x")] == [
        "1 file to be tried again: o1: cannot connect",
        "  Nothing answers there: check host and port, and that the server runs.",
        "1 file to be tried again: o2: status 503",
        "  The server is asked too much: try again later, with fewer --max-conns.",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_names_do_not_break_lines(width: int) -> None:
    tasks = [Task(name="dir/" * 100, downloaded=1, total=2)]
    assert len(drawn(state(total=1, current_tasks=tasks), width=width)) == 2


def test_an_ended_job_has_no_files_under_way() -> None:
    job = state(total=1, done=1, finished=ENDED, current_tasks=[Task(name="a")])
    assert len(drawn(job)) == 1


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    view = LineView(interval_s=2.0, now_s=lambda: now[0])
    for quarter in range(17):
        now[0] = quarter / 4
        view.show(state(total=100, done=quarter))
    view.show(state(total=100, done=100, finished=ENDED))
    view.stop()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "dnl-x: 0/100 files",
        "dnl-x: 8/100 files",
        "dnl-x: 16/100 files",
        "dnl-x: 100/100 files",
    ]
    assert "ETA" in lines[1]
    assert "ETA" not in lines[3]


def test_the_state_in_one_line() -> None:
    pace = Pace()
    job = state(total=141, done=45, bytes=MIB, total_bytes=4 * MIB, rate=MIB)
    pace.update(job, 0.0)
    assert state_text(job, pace) == "45/141 files, 1.00MiB/4.00MiB (25%), 1.00MiB/s, ETA 3s"
    assert state_text(state(total=9, said_state="paused", rate=MIB), Pace()) == "0/9 files, paused"
    unknown = state(total=-1, done=4)
    pace = Pace()
    pace.update(unknown, 0.0)
    assert state_text(unknown, pace) == "4 files"
    assert state_text(state(total=-1, scheduled=1234), Pace()) == "0/1,234+ files"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ErrNotFound: http://h/x does not exist", "check the link"),
        ("ErrNotFound: http://h/x-%7B0..5.bin does not exist", "no template"),
        ("failed to download http://h/x: status 401", "-H 'Authorization"),
        ("failed to download http://h/x: status 403", "-H 'Authorization"),
        ("failed to download http://h/x: status 429", "--max-conns"),
        ("failed to download http://h/x: status 503", "--max-conns"),
        ("failed to download http://h/x: status 500", "try again later"),
        ("failed to download http://h/x: cannot connect (refused)", "that the server runs"),
        ("failed to download https://h/x: the transfer failed (TLS: wrong version number)", "write http://"),
        ("cannot resolve nohost: not known", "name is not known"),
        ("failed to download https://h/x: the server's certificate is not valid", "authorities"),
        ("BAD DATA CHECKSUM: md5(a != b) (context: ais://b/o)", "was not kept"),
        ("egress to 10.0.0.1 (private address) is refused: set …", "administrator"),
        ("no bytes for 30 s", "connection broke"),
    ],
)
def test_what_helps_is_said(error: str, said: str) -> None:
    [text] = advice([Failure(name="x", error=error), Failure(name="y", error=error)])
    assert said in text


def test_what_nobody_knows_a_remedy_for_is_left_alone() -> None:
    assert advice([Failure(name="x", error="strange")]) == []
