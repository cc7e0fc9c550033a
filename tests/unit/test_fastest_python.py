"""Which interpreter `make` sets up with."""

import importlib.util
from pathlib import Path

_FILE = Path(__file__).parents[2] / "tools" / "fastest_python.py"
_SPEC = importlib.util.spec_from_file_location("fastest_python", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
fastest_python = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fastest_python)
Build = fastest_python.Build


def test_a_clearly_faster_build_of_the_same_version_is_taken() -> None:
    builds = [Build("/own/python3", (3, 11), 1.6), Build("/usr/bin/python3", (3, 11), 1.0)]
    assert fastest_python.chosen(builds).command == "/usr/bin/python3"


def test_the_first_stays_where_another_is_hardly_faster() -> None:
    builds = [Build("/own/python3", (3, 11), 1.09), Build("/usr/bin/python3", (3, 11), 1.0)]
    assert fastest_python.chosen(builds).command == "/own/python3"


def test_another_version_is_not_taken_however_fast() -> None:
    builds = [Build("/own/python3", (3, 11), 2.0), Build("/usr/bin/python3", (3, 14), 1.0)]
    assert fastest_python.chosen(builds).command == "/own/python3"


def test_what_cannot_make_a_virtual_environment_is_no_choice() -> None:
    assert fastest_python.measured("/bin/false") is None
    assert fastest_python.measured("/nowhere/python3") is None
