"""What all tests share: hypothesis profiles, markers, and the logs of nodes with a failing test."""

import os
import shutil
import signal
from collections.abc import Generator

import hypothesis
import pytest

from support.node import failure_logs

# System programs such as nginx are not on every user's PATH.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"

# Images of containers often set this. Tests start programs by the hundred: without a cache, each of them
# compiles all it imports anew, which is half of the processor time that it takes to start a node.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Shells start background jobs with SIGINT ignored, and every process below inherits that: tests that
# press Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_in_order(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


# `timeout` and CI end a run by SIGTERM, which would leave nodes running and images mounted.
signal.signal(signal.SIGTERM, _end_in_order)

hypothesis.settings.register_profile("short", max_examples=50, deadline=None)
hypothesis.settings.register_profile("soak", max_examples=2_000, deadline=None)
hypothesis.settings.load_profile("soak" if os.environ.get("AISLE_SOAK") == "1" else "short")


@pytest.fixture(autouse=True, scope="session")
def readable_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let nginx read below the folders of tests: as root, its worker becomes another user."""
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o755)


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of these tests."""
    config.addinivalue_line("markers", "program(names): needs these programs on the PATH")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with a clear line, what this machine cannot run."""
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root (mounts, loop devices)"))
        for marker in item.iter_markers("program"):
            missing = [name for name in marker.args if shutil.which(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"needs the program {', '.join(missing)}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the nodes of a failing test wrote to standard error."""
    report = yield
    while failure_logs:
        report.sections.append(failure_logs.pop(0))
    return report
