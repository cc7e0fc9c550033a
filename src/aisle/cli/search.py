"""`ais search`: which command does what one has a word for."""

import re
from collections.abc import Iterator, Mapping

import click

from aisle.cli import output
from aisle.cli.lazy import LazyGroup
from aisle.cli.parameters import json_option

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "abort": ("stop",),
    "append": ("archive",),
    "attach": ("remote-attach",),
    "backend": ("backend", "prefetch", "evict"),
    "browse": ("ls",),
    "cache": ("prefetch", "evict"),
    "cancel": ("stop",),
    "check": ("fsck",),
    "cloud": ("backend", "prefetch", "evict"),
    "copy": ("cp",),
    "delete": ("rm", "rmb"),
    "destroy": ("rmb",),
    "dir": ("ls",),
    "detach": ("remote-detach",),
    "drop": ("rm", "rmb", "evict"),
    "fetch": ("get", "download"),
    "free": ("evict", "cleanup"),
    "list": ("ls",),
    "login": ("auth",),
    "make": ("create",),
    "metadata": ("set-custom", "object"),
    "mirror": ("cp", "prefetch"),
    "mkdir": ("create",),
    "move": ("mv",),
    "new": ("create", "add"),
    "options": ("config",),
    "password": ("auth",),
    "properties": ("props",),
    "read": ("get", "cat"),
    "remove": ("rm", "rmb"),
    "rename": ("mv",),
    "s3": ("backend", "prefetch", "evict"),
    "settings": ("config", "props"),
    "shards": ("archive",),
    "size": ("summary", "storage"),
    "statistics": ("performance",),
    "stats": ("performance",),
    "status": ("show",),
    "sync": ("cp", "download"),
    "synchronize": ("cp", "download"),
    "tar": ("archive",),
    "upload": ("put",),
    "warm": ("prefetch",),
    "write": ("put",),
}


@click.command("search", short_help="Find commands by a word.")
@click.argument("words", nargs=-1, metavar="WORD...")
@click.option("--regex", default="", help="Find commands whose words match.")
@json_option
@click.pass_context
def search(ctx: click.Context, *, words: tuple[str, ...], regex: str, as_json: bool) -> None:
    """Find commands by words: in their names and what they say they do, synonyms included."""
    if bool(words) == bool(regex):
        raise click.UsageError("give words to search for, or --regex")
    root = ctx.find_root().command
    assert isinstance(root, LazyGroup)
    try:
        pattern = re.compile(regex, re.IGNORECASE)
    except re.error as error:
        raise click.BadParameter(str(error), param_hint="--regex") from error
    found = [
        (path, summary)
        for path, summary in every_command(root)
        if (pattern.search(path) if regex else all(_is_about(word, path, summary) for word in words))
    ]
    if as_json:
        output.print_json({"commands": [{"command": path, "summary": text} for path, text in found]})
    elif found:
        output.Table(["command", "what it does"], headers=False).add(found)
    else:
        output.note("No command is about that. See all with: ais --help")


@click.command("help", short_help="Tell how a command is used.")
@click.argument("words", nargs=-1, metavar="[COMMAND...]")
@click.pass_context
def help_(ctx: click.Context, *, words: tuple[str, ...]) -> None:
    """Tell how a command is used, as its --help does."""
    at = ctx.find_root()
    for word in words:
        command = at.command
        if not isinstance(command, click.Group):
            raise click.UsageError(f'"{at.command_path}" has no commands of its own')
        name, found, _ = command.resolve_command(at, [word])
        assert found is not None
        at = click.Context(found, info_name=name, parent=at)
    click.echo(at.get_help())


def every_command(group: LazyGroup, path: str = "ais") -> Iterator[tuple[str, str]]:
    """Every command below a group with its summary, sorted."""
    ctx = click.Context(group)
    for name, entry in sorted(group.entries.items()):
        command = group.get_command(ctx, name)
        if isinstance(command, LazyGroup):
            yield from every_command(command, f"{path} {name}")
        else:
            yield f"{path} {name}", entry.summary


def _is_about(word: str, path: str, summary: str) -> bool:
    """Whether a command's words begin like this one, or like one that means the same."""
    wanted = (word.lower(), *SYNONYMS.get(word.lower(), ()))
    names = path.split()[1:]
    if any(each in names or any(name.startswith(each) for name in names if len(each) > 2) for each in wanted):
        return True
    return any(text.startswith(word.lower()) for text in re.findall(r"[\w-]+", summary.lower()))
