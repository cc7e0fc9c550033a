"""`ais completion`: what a shell needs to complete commands, options, buckets, objects and properties."""

import os
import re
import sys
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_AIS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_INSTALLATION = {
    "bash": "source <(ais completion bash)",
    "zsh": "source <(ais completion zsh)",
    "fish": "ais completion fish | source",
}

_BASH = """\
%(complete_func)s() {
    local line type value
    COMPREPLY=()
    while IFS= read -r line; do
        IFS=',' read -r type value <<< "$line"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            open) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -F %(complete_func)s %(prog_name)s
"""


_SPECIAL = re.compile(r"[^\w@%+=:,./-]", re.ASCII)
"""What bash would not take as part of a word; it writes completions as they come."""


class ColonBash(BashComplete):
    """For bash, which splits words at colons: `ais://b` is three of its words and one of ours."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    @staticmethod
    def _check_version() -> None:
        """Any bash will do."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one that is being written."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)[1:]
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        # What bash keeps of that word, and we must not repeat.
        breaks = os.environ.get("COMP_BREAKS", "")
        self._kept = max((incomplete.rfind(sign) + 1 for sign in ":=" if sign in breaks), default=0)
        return words, incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        """A line for the script. What may go on (a bucket, a prefix) gets no space behind it."""
        value = _SPECIAL.sub(r"\\\g<0>", item.value[self._kept :])
        kind = "open" if item.type == "plain" and value[-1:] in ("/", "=") else item.type
        return f"{kind},{value}"


@click.command("completion", short_help="Print what a shell needs to complete this command.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, buckets, objects and properties.

    To use it from now on, add a line to the shell's own start file:

    \b
    bash   source <(ais completion bash)
    zsh    source <(ais completion zsh)
    fish   ais completion fish | source
    """  # noqa: D301
    prepare()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "ais", VARIABLE).source())
    if sys.stdout.isatty():
        click.echo(f"To use it: {_INSTALLATION[shell]}", err=True)


def prepare() -> None:
    """Let the shells' questions be answered our way."""
    add_completion_class(ColonBash)
