"""The log file that all processes of a node share."""

import logging
from pathlib import Path

from aisle.gateway.logs import LOG_FILES_MAX, log_paths
from aisle.node.log import SharedLogFile, _Formatter


def write(handler: SharedLogFile, text: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "levelname": "INFO"}))


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_lines_of_several_processes_lie_in_one_file(tmp_path: Path) -> None:
    one, two = SharedLogFile(tmp_path), SharedLogFile(tmp_path)
    for number in range(3):
        write(one, f"one {number}")
        write(two, f"two {number}")
    assert lines(tmp_path / "log") == [f"{name} {number}" for number in range(3) for name in ("one", "two")]
    one.close()
    two.close()


def test_a_large_file_is_put_aside_once_and_all_go_on_in_the_new_one(tmp_path: Path) -> None:
    handlers = [SharedLogFile(tmp_path, bytes_max=100) for _ in range(2)]
    for number in range(60):
        write(handlers[number % 2], f"line {number:3}")
    paths = log_paths(tmp_path)
    assert len(paths) == LOG_FILES_MAX
    kept = [line for path in reversed(paths) if path.exists() for line in lines(path)]
    # Nothing of what is kept is missing, twice or out of order.
    assert kept == [f"line {number:3}" for number in range(60 - len(kept), 60)]
    assert all(path.stat().st_size <= 120 for path in paths if path.exists())
    assert len(kept) > 30
    for handler in handlers:
        handler.close()


def test_a_file_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    handler = SharedLogFile(tmp_path)
    write(handler, "before")
    (tmp_path / "log").unlink()
    write(handler, "after")
    assert lines(tmp_path / "log") == ["after"]
    handler.close()


def test_a_folder_that_is_gone_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    handler = SharedLogFile(tmp_path / "none")
    write(handler, "lost")
    handler.close()


def test_a_class_in_the_place_of_an_exception_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    # A TLS client that goes away in the handshake makes aiofastnet report one.
    handler = SharedLogFile(tmp_path)
    handler.setFormatter(_Formatter("%(message)s"))
    wrong = {"exc_info": (type, ConnectionResetError, ConnectionResetError.__traceback__)}
    handler.handle(logging.makeLogRecord({"msg": "handshake", "levelname": "ERROR", **wrong}))
    try:
        raise ValueError("right")
    except ValueError as error:
        right = {"exc_info": (type(error), error, error.__traceback__)}
        handler.handle(logging.makeLogRecord({"msg": "other", "levelname": "ERROR", **right}))
    handler.close()
    told = lines(tmp_path / "log")
    assert told[:3] == ["handshake", "<class 'ConnectionResetError'>", "other"]
    assert told[-1] == "ValueError: right"
