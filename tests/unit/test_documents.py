"""The documents name what exists: files, packages, commands, targets, links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aisle"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_source_files_that_are_named_exist(document: Path) -> None:
    named = set(re.findall(r"`((?:[a-z0-9_]+/)*[a-z0-9_]+\.py)`", document.read_text("utf-8")))
    places = [SOURCE, ROOT, ROOT / "tests" / "unit"]
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    # A bare name may stand for a file of the package that the row is about.
    missing = [name for name in missing if "/" in name or not list(SOURCE.rglob(name))]
    assert missing == []


def test_the_map_shows_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Map of the packages")[2]
    rows = re.findall(r"^\| `([a-z_]+)(?:/|\.py)` \|", text, flags=re.MULTILINE)
    packages = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(rows) == packages - {"__init__", "__pycache__", "py"} - {"py.typed"}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_named_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / name).read_text("utf-8")))
    assert named <= targets


def test_the_readme_gives_make_only_variables_that_it_knows() -> None:
    lines = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if " make run" in line]
    given = {name for line in lines for name in re.findall(r"\b([A-Z_]+)=", line) if name[:4] != "AWS_"}
    known = set(re.findall(r"^([A-Z]+) \?=", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert given == {"EXTRAS"}
    assert given <= known
    # A profile of a cloud is of no use without the cloud's library.
    assert all("EXTRAS='[aws]'" in line for line in lines if "AWS_" in line)


def test_nobody_is_sent_to_another_project_of_our_name() -> None:
    files = [*DOCUMENTS, ROOT / "CHANGELOG.md", *SOURCE.rglob("*.py")]
    told = [path.name for path in files if re.search(r"pip install\s+[\"']?aisle", path.read_text("utf-8"))]
    assert told == []
