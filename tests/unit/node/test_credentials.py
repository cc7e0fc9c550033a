"""Which master keys a node has, and what wraps its secrets when it has none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aisle.config import AuthConfig, NodeConfig, RootConfig
from aisle.errors import ConfigError, Unsupported
from aisle.gateway.users import MasterKey
from aisle.node.boot import Boot
from aisle.node.credentials import master_keys, open_sealer

KEY = "0123456789abcdef0123456789abcdef"


def keys(folders: list[Path], **settings: Any) -> tuple[MasterKey, ...]:
    return master_keys(NodeConfig(**settings), cluster_id="c", folders=folders)


def boot(*masters: MasterKey, data: Path) -> Boot:
    return cast("Boot", SimpleNamespace(master_keys=masters, mountpaths=(str(data),)))


def test_a_master_key_is_one_also_where_nobody_is_asked_for_credentials(tmp_path: Path) -> None:
    assert keys([]) == ()
    assert keys([], auth=AuthConfig(master_key=KEY)) == (MasterKey.of(KEY.encode()),)
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    assert keys([], auth=AuthConfig(master_key_file=str(file))) == (MasterKey.of(KEY.encode()),)
    with pytest.raises(ConfigError, match="data folder"):
        keys([tmp_path], auth=AuthConfig(master_key_file=str(file)))


def test_earlier_keys_stay_valid() -> None:
    found = keys([], auth=AuthConfig(master_key=KEY, earlier_master_keys=(KEY[::-1],)))
    assert found == (MasterKey.of(KEY.encode()), MasterKey.of(KEY[::-1].encode()))


def test_roots_secret_gives_one_and_the_same() -> None:
    root = RootConfig(access_key="root", secret_key="secret-secret")
    assert keys([], root=root) == keys([], root=root)
    assert len(keys([], root=root)) == 1


def test_secrets_are_wrapped_by_the_master_key_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    data = tmp_path / "data"
    master = MasterKey.of(KEY.encode())
    assert open_sealer(boot(master, data=data)).seal(b"s", context="c").key == master.id
    assert list(tmp_path.iterdir()) == []
    own = open_sealer(boot(data=data)).seal(b"s", context="c")
    assert own.key != master.id
    assert (tmp_path / "state" / "aisle" / "master.key").exists()
    assert open_sealer(boot(master, data=data)).open(own, context="c") == b"s"


def test_a_state_folder_in_a_data_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "data" / "state"))
    with pytest.raises(Unsupported, match="data folder"):
        open_sealer(boot(data=tmp_path / "data")).seal(b"s", context="c")


def test_the_home_of_the_user_is_used_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for state in (None, "", "not/absolute"):
        if state is None:
            monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        else:
            monkeypatch.setenv("XDG_STATE_HOME", state)
        open_sealer(boot(data=tmp_path / "data")).seal(b"s", context="c")
    assert [path.name for path in (tmp_path / ".local" / "state" / "aisle").iterdir()] == ["master.key"]
