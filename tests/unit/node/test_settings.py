"""Settings from four sources, and every mistake at once."""

import re
from pathlib import Path

import pytest

from aisle.config import NodeConfig
from aisle.errors import ConfigError
from aisle.node.settings import SETTINGS, convert, load_settings
from aisle.rules.huggingface import ENDPOINT

MANUAL = Path(__file__).parents[3] / "docs" / "configuration.md"
SOURCE = Path(__file__).parents[3] / "src" / "aisle"


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


def test_roots_key_switches_credentials_on() -> None:
    assert not load().asks_for_credentials
    config = load(AISLE_ROOT_ACCESS_KEY="root-key", AISLE_ROOT_SECRET_KEY="a long secret")
    assert config.asks_for_credentials
    assert (config.root.access_key, config.root.secret_key) == ("root-key", "a long secret")
    assert "a long secret" not in repr(config)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"AISLE_ROOT_ACCESS_KEY": "root-key"}, "root.secret_key"),
        ({"AISLE_ROOT_SECRET_KEY": "a long secret"}, "root.access_key"),
        ({"AISLE_ROOT_ACCESS_KEY": "a,b", "AISLE_ROOT_SECRET_KEY": "a long secret"}, "root.access_key"),
        ({"AISLE_ROOT_ACCESS_KEY": "root-key", "AISLE_ROOT_SECRET_KEY": "short"}, "root.secret_key"),
        ({"AISLE_AUTH_MASTER_KEY": "short"}, "auth.master_key"),
        ({"AISLE_AUTH_EARLIER_MASTER_KEYS": f"{'x' * 32},short"}, "auth.earlier_master_keys"),
        ({"AISLE_AUTH_MASTER_KEY": "x" * 32, "AISLE_AUTH_MASTER_KEY_FILE": "f"}, "auth.master_key_file"),
    ],
)
def test_credentials_that_protect_nothing_are_mistakes(environment: dict[str, str], key: str) -> None:
    (mistake,) = mistakes(**environment)
    assert mistake.startswith(f"{key}: ")
    assert "a long secret" not in mistake


def user_table(**changes: object) -> str:
    values = {"name": "alice", "access_key": "alice-key", "secret_key": "alice's secret"} | changes
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in values.items()
    ]
    return "\n".join(["[[users]]", *lines, ""])


def test_the_file_names_users() -> None:
    text = user_table(email="a@example.org") + user_table(
        name="bob", access_key="bob-key", id="b1", admin=True
    )
    alice, bob = load(text).users
    assert (alice.name, alice.id, alice.email, alice.admin) == ("alice", "", "a@example.org", False)
    assert (bob.name, bob.id, bob.secret_key, bob.admin) == ("bob", "b1", "alice's secret", True)
    assert load(text).asks_for_credentials
    assert "alice's secret" not in repr(load(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users = 3\n", "want one [[users]] table"),
        ("[users]\nname = 'alice'\n", "want one [[users]] table"),
        ("[[users]]\nname = 'alice'\naccess_key = 'key'\n", "users, table 1: secret_key: is needed"),
        (user_table(colour="red"), "users, table 1: colour: no such key"),
        (user_table(email=3), "users, table 1: email: want a text"),
        (user_table(name="no spaces"), "users (no spaces): name: must have"),
        (user_table(name="root"), "users (root): name: must have"),
        (user_table(secret_key="short"), "users (alice): secret_key: must have"),
        (user_table() + user_table(name="bob"), "users: two of them have the same access key"),
        (user_table() + user_table(access_key="other"), "users: two of them have the same name"),
    ],
)
def test_mistakes_in_users_are_named(text: str, words: str) -> None:
    assert any(words in mistake for mistake in mistakes(text)), mistakes(text)


def test_users_do_not_come_from_elsewhere() -> None:
    assert mistakes(AISLE_USERS="alice")[0].startswith("AISLE_USERS: no such setting")


def test_variables_of_others_are_left_alone() -> None:
    assert load(HOME="/root", AIS_ENDPOINT="http://x", AISLE_CONFIG="/etc/aisle.toml") == NodeConfig()


def test_every_setting_is_in_the_manual_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| ([^|]*) \|", MANUAL.read_text(), re.MULTILINE))
    assert set(rows) == set(SETTINGS)
    for key, shown in rows.items():
        setting, text = SETTINGS[key], shown.strip().strip("`")
        if text != "none":
            assert convert(setting, text) == setting.default, key
        else:
            assert not setting.default, key


def test_every_setting_is_read_somewhere() -> None:
    files = [path for path in SOURCE.rglob("*.py") if path.name != "config.py"]
    read = {name for path in files for name in re.findall(r"\.([a-z_]+)\b", path.read_text("utf-8"))}
    assert {key for key in SETTINGS if key.rpartition(".")[2] not in read} == set()


def test_the_hub_of_other_tools_is_ours_unless_we_have_one() -> None:
    def hub(environment: dict[str, str]) -> str:
        return load_settings(file=None, environment=environment, flags={}).download.huggingface_endpoint

    assert hub({}) == ENDPOINT
    assert hub({"HF_ENDPOINT": "https://mirror"}) == "https://mirror"
    ours = {"AISLE_DOWNLOAD_HUGGINGFACE_ENDPOINT": "https://ours", "HF_ENDPOINT": "https://mirror"}
    assert hub(ours) == "https://ours"
    with pytest.raises(ConfigError, match="huggingface_endpoint: must be an http or https URL"):
        hub({"HF_ENDPOINT": "mirror"})
