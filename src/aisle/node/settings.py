"""Loading the settings: defaults < TOML file < environment < flags, every mistake at once.

A setting has one key everywhere: `http.sendfile` in messages is `sendfile` under `[http]` in the
file, `AISLE_HTTP_SENDFILE` in the environment and `--set http.sendfile=os` on the command line.
Sizes accept `64MiB`, durations `1.5s` or `10min`. A key that nobody knows is a mistake too: a
misspelt limit would otherwise be no limit.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import get_type_hints

from aisle.config import NodeConfig, UserConfig
from aisle.errors import ConfigError

ENVIRONMENT_PREFIX = "AISLE_"
CONFIG_VARIABLE = "AISLE_CONFIG"
CUSTOMARY_VARIABLES = {"HF_ENDPOINT": "download.huggingface_endpoint"}
"""Variables that other programs read too, and the settings they mean; our own names come before them."""
USERS = "users"
"""The one key that is no setting: tables of the file, a user each."""

_DECIMAL = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {f"{letter}{end}": 1 << shift for shift, letter in ((10, "k"), (20, "m"), (30, "g"), (40, "t"))
           for end in ("", "ib")}  # fmt: skip
_SIZES = _DECIMAL | _BINARY
_DURATIONS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SCALES: Mapping[str, Mapping[str, float]] = {"bytes": _SIZES, "s": _DURATIONS, "": {"": 1}}
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key, its type, and what it is when nobody says otherwise."""

    key: str
    type: object
    default: object

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return ENVIRONMENT_PREFIX + self.key.replace(".", "_").upper()

    @property
    def unit(self) -> str:
        """`bytes`, `s` or nothing."""
        words = self.key.rpartition(".")[2].split("_")
        if words[-1] == "s":
            return "s"
        return "bytes" if "bytes" in words[-3:] else ""  # as in bytes_per_second


def _settings_of(struct: type, section: str) -> Iterable[Setting]:
    hints = get_type_hints(struct)
    defaults = struct()
    for item in fields(struct):
        hint = hints[item.name]
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _settings_of(hint, f"{section}{item.name}.")
        elif section or item.name != USERS:
            yield Setting(f"{section}{item.name}", hint, getattr(defaults, item.name))


SETTINGS: dict[str, Setting] = {setting.key: setting for setting in _settings_of(NodeConfig, "")}
"""All settings by key."""


def load_settings(
    *, file: str | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> NodeConfig:
    """The merged settings; `flags` are by key, `file` is the text of a TOML file.

    Raises ConfigError with every mistake of all sources, each with its key and where it stands.
    """
    mistakes: list[str] = []
    values: dict[str, object] = {}
    for source, found in (
        ("configuration file", _from_file(file, mistakes)),
        ("environment", _from_environment(environment, mistakes)),
        ("command line", flags),
    ):
        for key, raw in found.items():
            if key == USERS and source == "configuration file":
                values[USERS] = _users(raw, mistakes)
                continue
            setting = SETTINGS.get(key)
            if setting is None:
                mistakes.append(f"{key}: no such setting ({source}){_suggestion(key)}")
                continue
            try:
                values[key] = convert(setting, raw)
            except ValueError as error:
                mistakes.append(f"{key}: {error} ({source})")
    return _build(values, mistakes)


def convert(setting: Setting, raw: object) -> object:
    """A raw value (text, or what TOML or a flag gave) in the setting's type; raises ValueError."""
    if setting.type is bool:
        return _truth(raw)
    if setting.type == tuple[str, ...]:
        if isinstance(raw, str):
            return tuple(part.strip() for part in raw.split(",") if part.strip())
        if isinstance(raw, (list, tuple)) and all(isinstance(part, str) for part in raw):
            return tuple(raw)
        raise ValueError(f"want a list of texts, not {raw!r}")
    if setting.type is str:
        if isinstance(raw, str):
            return raw
        raise ValueError(f"want a text, not {raw!r}")
    return _number(setting, raw)


def _truth(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = raw.lower() if isinstance(raw, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"want true or false, not {raw!r}")


def _number(setting: Setting, raw: object) -> int | float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise ValueError(f"want a number, not {raw!r}")
    scales = _SCALES[setting.unit]
    match = _QUANTITY.fullmatch(str(raw))
    scale = scales.get(match[2].lower()) if match else None
    if match is None or scale is None:
        examples = {"bytes": " such as 64MiB", "s": " such as 30s or 5min"}.get(setting.unit, "")
        raise ValueError(f"want a number{examples}, not {raw!r}")
    value = float(match[1]) * scale if "." in match[1] else int(match[1]) * scale
    if setting.type is float:
        return float(value)
    if value != int(value):
        raise ValueError(f"want a whole number, not {raw!r}")
    return int(value)


def _from_file(text: str | None, mistakes: list[str]) -> dict[str, object]:
    if text is None:
        return {}
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mistakes.append(f"configuration file: {error}")
        return {}
    found: dict[str, object] = {}
    for name, value in tables.items():
        if isinstance(value, dict) and name != USERS:
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def _users(raw: object, mistakes: list[str]) -> tuple[UserConfig, ...]:
    """The users of the file's `[[users]]` tables."""
    if not isinstance(raw, list) or not all(isinstance(table, dict) for table in raw):
        mistakes.append("users: want one [[users]] table for each user (configuration file)")
        return ()
    hints = get_type_hints(UserConfig)
    found = []
    for number, table in enumerate(raw, 1):
        label = f"users, table {number}"
        wrong = [f"{label}: {key}: no such key" for key in table if key not in hints]
        wrong += [
            f"{label}: {key}: is needed" for key in ("name", "access_key", "secret_key") if key not in table
        ]
        wrong += [
            f"{label}: {key}: want {'true or false' if hints[key] is bool else 'a text'}"
            for key, value in table.items()
            if key in hints and not isinstance(value, hints[key])
        ]
        try:
            if not wrong:
                found.append(UserConfig(**table))
        except ConfigError as error:
            wrong += error.mistakes
        mistakes += [f"{mistake} (configuration file)" for mistake in wrong]
    return tuple(found)


def _from_environment(environment: Mapping[str, str], mistakes: list[str]) -> dict[str, object]:
    by_variable = {setting.variable: key for key, setting in SETTINGS.items()}
    found: dict[str, object] = {
        key: environment[name] for name, key in CUSTOMARY_VARIABLES.items() if environment.get(name)
    }
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if name in by_variable:
            found[by_variable[name]] = value
        else:
            mistakes.append(f"{name}: no such setting (environment)")
    return found


def _build(values: Mapping[str, object], mistakes: list[str]) -> NodeConfig:
    """Make the structs, inner ones first, collecting what they complain about."""
    arguments: dict[str, object] = {key: value for key, value in values.items() if "." not in key}
    for name, hint in get_type_hints(NodeConfig).items():
        if not (isinstance(hint, type) and is_dataclass(hint)):
            continue
        start = f"{name}."
        try:
            inner = {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}
            arguments[name] = hint(**inner)
        except ConfigError as error:
            mistakes += error.mistakes
    try:
        config = NodeConfig(**arguments)  # type: ignore[arg-type]
    except ConfigError as error:
        mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _suggestion(key: str) -> str:
    # Imported only when something is wrong: a start should not pay for it.
    from difflib import get_close_matches

    close = get_close_matches(key, SETTINGS, n=1)
    return f": did you mean {close[0]}?" if close else ""
