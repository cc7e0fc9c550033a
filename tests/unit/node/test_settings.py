"""Settings from four sources, and every mistake at once."""

import re
from pathlib import Path

import pytest

from aisle.config import NodeConfig
from aisle.errors import ConfigError
from aisle.node.settings import SETTINGS, convert, load_settings

MANUAL = Path(__file__).parents[3] / "docs" / "configuration.md"


def load(file: str | None = None, flags: dict[str, object] | None = None, **environment: str) -> NodeConfig:
    return load_settings(file=file, environment=environment, flags=flags or {})


def mistakes(
    file: str | None = None, flags: dict[str, object] | None = None, **environment: str
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(file, flags, **environment)
    return caught.value.mistakes


def test_without_sources_the_defaults_hold() -> None:
    assert load() == NodeConfig()


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    file = "workers = 1\nlog_level = 'debug'\n[http]\nsendfile = 'os'\n"
    assert load(file).workers == 1
    assert load(file, AISLE_WORKERS="2").workers == 2
    both = load(file, {"workers": 3}, AISLE_WORKERS="2")
    assert (both.workers, both.log_level, both.http.sendfile) == (3, "debug", "os")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("storage.reserve_bytes", "64MiB", 64 << 20),
        ("storage.reserve_bytes", "1.5 GiB", 3 << 29),
        ("storage.reserve_bytes", "10kb", 10_000),
        ("storage.reserve_bytes", "4K", 4096),
        ("storage.reserve_bytes", 1000, 1000),
        ("shutdown_grace_s", "1.5", 1.5),
        ("shutdown_grace_s", "2min", 120.0),
        ("shutdown_grace_s", "250ms", 0.25),
        ("shutdown_grace_s", 7, 7.0),
        ("workers", "4", 4),
        ("insecure", "yes", True),
        ("insecure", "0", False),
        ("listen", "127.0.0.1:1, [::1]:2", ("127.0.0.1:1", "[::1]:2")),
        ("egress.allow", ["10.0.0.0/8"], ("10.0.0.0/8",)),
    ],
)
def test_values_are_read_with_their_units(key: str, text: object, value: object) -> None:
    assert convert(SETTINGS[key], text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("storage.reserve_bytes", "64 MiBs"),
        ("storage.reserve_bytes", "-1"),
        ("storage.reserve_bytes", "0.5"),
        ("storage.reserve_bytes", True),
        ("shutdown_grace_s", "5 minutes"),
        ("workers", "4s"),
        ("workers", 1.5),
        ("insecure", "maybe"),
        ("listen", 80),
        ("log_level", 1),
    ],
)
def test_what_cannot_be_read_is_refused(key: str, text: object) -> None:
    with pytest.raises(ValueError, match="want"):
        convert(SETTINGS[key], text)


def test_every_mistake_of_every_source_is_reported_with_its_key() -> None:
    found = mistakes(
        "[http]\nsendfile = 'fast'\nheader_count_max = 0\n[storage]\ndata_sync = 'perhaps'\n[htp]\nx = 1\n",
        {"workers": 100_000},
        AISLE_SHUTDOWN_GRACE_S="soon",
        AISLE_TLS_KEY="/key.pem",
        AISLE_COLOUR="green",
        AISLE_EGRESS_ALLOW="10.0.0.1/8",
    )
    keys = {mistake.partition(":")[0] for mistake in found}
    assert keys == {
        *("http.sendfile", "http.header_count_max", "storage.data_sync", "htp.x", "workers"),
        *("shutdown_grace_s", "tls.certificate", "AISLE_COLOUR", "egress.allow"),
    }


def test_a_misspelt_key_is_answered_with_the_right_one() -> None:
    (mistake,) = mistakes("[http]\nsend_file = 'os'\n")
    assert "did you mean http.sendfile?" in mistake


def test_a_file_that_is_not_toml_is_one_mistake() -> None:
    (mistake,) = mistakes("workers: 3")
    assert mistake.startswith("configuration file: ")


@pytest.mark.parametrize("name", ["AISLE_ROOT_ACCESS_KEY", "AISLE_ROOT_SECRET_KEY"])
def test_root_credentials_are_refused_with_what_to_do(name: str) -> None:
    (mistake,) = mistakes(**{name: "x"})
    assert mistake.startswith(f"{name}: credentials are not built yet")
    assert "unset it" in mistake


def test_variables_of_others_are_left_alone() -> None:
    assert load(HOME="/root", AIS_ENDPOINT="http://x", AISLE_CONFIG="/etc/aisle.toml") == NodeConfig()


def test_every_setting_is_in_the_manual_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]*) \|", MANUAL.read_text(), re.MULTILINE))
    assert set(rows) == set(SETTINGS)
    for key, shown in rows.items():
        setting, text = SETTINGS[key], shown.strip().strip("`")
        if text != "none":
            assert convert(setting, text) == setting.default, key
        else:
            assert not setting.default, key
