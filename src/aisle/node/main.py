"""`aisnode`: from flags and settings to a running node.

With no arguments it serves this machine on port 8080 from `./aisle-data`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from aisle import __version__
from aisle.config import NodeConfig
from aisle.errors import ConfigError, StartError
from aisle.node.log import start_log
from aisle.node.settings import CONFIG_VARIABLE, load_settings
from aisle.node.site import Site, open_site
from aisle.node.supervisor import Supervisor, print_ready

_log = logging.getLogger(__name__)

_EPILOGUE = """\
Every setting can stand in the file (--config), in the environment (AISLE_LISTEN, AISLE_HTTP_SENDFILE, ...)
or in --set KEY=VALUE; flags win, then the environment, then the file.
Signals: TERM or INT finishes what is under way and ends, twice ends at once; HUP reads the settings again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node until it is told to end; the exit status."""
    options = _parser().parse_args(arguments)

    def load() -> NodeConfig:
        return _load(options)

    try:
        config = load()
        start_log("supervisor", config.log_level)
        with ExitStack() as stack:
            site = open_site(config, stack)
            supervisor = Supervisor(site.config, site, announce=lambda: _announce(site), reload=load)
            return supervisor.run()
    except StartError as error:
        print(f"aisnode: cannot start:\n{_indented(str(error))}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aisnode",
        description="Object storage for AI data: a node of Aisle.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"aisle {__version__}")
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="address to listen on; repeat for several, port 0 takes a free one (127.0.0.1:8080)",
    )
    parser.add_argument(
        "--data",
        action="append",
        metavar="DIR",
        help="folder for the data, one for each disk; repeat for several (./aisle-data)",
    )
    parser.add_argument("--workers", metavar="N", help="serving processes (one per processor core)")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML")
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="listen on other addresses than loopback, open to everybody who reaches them",
    )
    parser.add_argument(
        "--accept-missing",
        action="store_true",
        default=None,
        help="start without a mountpath that held data, and without its objects",
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (info)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any setting, such as http.sendfile=os; repeat for several",
    )
    return parser


def _load(options: argparse.Namespace) -> NodeConfig:
    named = ("listen", "data", "workers", "insecure", "accept_missing", "log_level")
    flags = {key: getattr(options, key) for key in named if getattr(options, key) is not None}
    mistakes = []
    for text in options.settings:
        key, equals, value = text.partition("=")
        if equals:
            flags[key.strip()] = value.strip()
        else:
            mistakes.append(f"--set {text}: want KEY=VALUE")
    path = options.config or os.environ.get(CONFIG_VARIABLE)
    try:
        file = Path(path).read_text(encoding="utf-8") if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([*mistakes, f"configuration file {path}: {error}"]) from error
    try:
        config = load_settings(file=file, environment=os.environ, flags=flags)
    except ConfigError as error:
        raise ConfigError([*mistakes, *error.mistakes]) from error
    if mistakes:
        raise ConfigError(mistakes)
    return replace(config, workers=config.workers or _core_count())


def _core_count() -> int:
    # The cores that this process may use, which in a container are fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    # Development machines get one worker: their kernels hand connections out unevenly.
    return 1


def _announce(site: Site) -> None:
    print_ready(site.urls)
    if not sys.stderr.isatty():
        return
    url = site.urls[0]
    folders = ", ".join(site.mountpaths)
    keys = ""
    if site.config.asks_for_credentials:
        keys = "    export AIS_ACCESS_KEY=... AIS_SECRET_KEY=...  # this node asks for credentials\n"
    print(
        f"""
  Aisle {__version__} serves {folders}

    endpoint    {" ".join(site.urls)}
    metrics     {url}/metrics

  Try it in another terminal:

    export AIS_ENDPOINT={url}
{keys}    ais create ais://data
    ais put FILE ais://data
    ais ls ais://data
    curl {url}/v1/objects/data/FILE

  Ctrl-C ends it. The data stays.
""",
        file=sys.stderr,
        flush=True,
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
