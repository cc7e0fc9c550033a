"""A command that has verbs beside it: `ais download URL BUCKET`, and `ais download verify JOB`."""

import importlib
from collections.abc import Mapping

import click

from aisle.cli.lazy import Entry


class CommandWithVerbs(click.Command):
    """Runs as it stands, unless its first word is one of its verbs: then it runs that."""

    def __init__(self, name: str | None, *, verbs: Mapping[str, Entry], **settings: object) -> None:
        super().__init__(name, **settings)  # type: ignore[arg-type]
        self.verbs = verbs

    def verb(self, name: str) -> click.Command:
        """Import and return a verb's command."""
        entry = self.verbs[name]
        command: click.Command = getattr(
            importlib.import_module(f"aisle.cli.{entry.module}"), entry.attribute
        )
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Read the arguments: this command's own, or those of the verb that comes first."""
        if args and args[0] in self.verbs:
            verb = self.verb(args[0])
            return verb.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs below the options."""
        if self.verbs:
            with formatter.section("Verbs, each with a --help of its own"):
                formatter.write_dl([(name, entry.summary) for name, entry in self.verbs.items()])
        super().format_epilog(ctx, formatter)
