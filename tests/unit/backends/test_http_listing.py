"""Walking through a tree of folders in byte order, and folding names."""

import asyncio
import random

import pytest

from aisle.backends.http_listing import Selection, chosen, page_of, walked
from aisle.errors import SourceFailed


def tree_of(names: list[str]) -> dict[str, list[str]]:
    folders: dict[str, set[str]] = {"": set()}
    for name in names:
        above = ""
        while "/" in (rest := name[len(above) :]):
            folder = above + rest[: rest.index("/") + 1]
            folders[above].add(folder)
            folders.setdefault(folder, set())
            above = folder
        folders[above].add(name)
    return {folder: list(found) for folder, found in folders.items()}


def expected(names: list[str], selection: Selection) -> list[str]:
    folded = {selection.folded(name) for name in names if name.startswith(selection.prefix)}
    return sorted((name for name in folded if selection.wants(name)), key=str.encode)


def test_a_walk_gives_what_a_list_of_all_names_would_give() -> None:
    dice = random.Random(7)
    names = sorted(
        {
            "/".join(dice.choice(["a", "a-", "a.", "b", "ä", "\U0001f600"]) for _ in range(depth)) + f"/{n}"
            for depth in range(4)
            for n in range(12)
        },
        key=str.encode,
    )
    names = [name.removeprefix("/") for name in names]
    names.sort(key=str.encode)
    tree = tree_of(names)

    async def scenario() -> None:
        async def children(folder: str) -> list[str]:
            return tree[folder]

        for _ in range(300):
            prefix = dice.choice(["", "a", "a/", "b/a", dice.choice(names)[:3], "none"])
            behind = dice.choice(["", dice.choice(names), "a/", "b", "zzz"])
            selection = Selection(prefix, behind, dice.choice(["", "/", "a", "-/"]))
            wanted = expected(names, selection)
            assert [name async for name in walked(children, selection)] == wanted, selection
            assert [name async for name in chosen(names, selection)] == wanted, selection

    asyncio.run(scenario())


def test_only_folders_that_matter_are_looked_into() -> None:
    tree = tree_of([f"{one}/{two}/{three}" for one in "abc" for two in "abc" for three in "abc"])
    asked: list[str] = []

    async def children(folder: str) -> list[str]:
        asked.append(folder)
        return tree[folder]

    async def scenario() -> None:
        page = await page_of(walked(children, Selection(behind="b/b/b")), 2)
        assert page == (["b/b/c", "b/c/a"], "b/c/a")
        assert asked == ["", "b/", "b/b/", "b/c/"]
        asked.clear()
        assert await page_of(walked(children, Selection("c/a/")), 9) == (["c/a/a", "c/a/b", "c/a/c"], "")
        assert asked == ["", "c/", "c/a/"]
        asked.clear()
        assert await page_of(walked(children, Selection(delimiter="/")), 9) == (["a/", "b/", "c/"], "")
        assert asked == [""]

    asyncio.run(scenario())


def test_a_tree_without_an_end_is_given_up() -> None:
    async def children(folder: str) -> list[str]:
        return [f"{folder}{len(folder)}/"]

    async def scenario() -> None:
        with pytest.raises(SourceFailed, match="folders deep"):
            await page_of(walked(children, Selection()), 1)

    asyncio.run(scenario())
