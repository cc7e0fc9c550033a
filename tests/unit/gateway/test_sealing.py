"""Secrets that must be kept: wrapped, bound to what they are for, and never without a key elsewhere."""

import os
import stat
from pathlib import Path

import pytest

from aisle.errors import Unavailable, Unsupported
from aisle.gateway.sealing import KeyFile, Sealer
from aisle.gateway.users import MasterKey
from aisle.model.job import Sealed

FIRST, SECOND = MasterKey.of(b"first"), MasterKey.of(b"second")


def key_file(tmp_path: Path, *data: Path) -> KeyFile:
    return KeyFile(tmp_path / "state" / "aisle" / "master.key", data_folders=data)


def test_what_is_wrapped_is_unwrapped_and_does_not_tell_itself() -> None:
    sealed = Sealer([FIRST]).seal(b"a very secret text", context="job 1")
    assert sealed.key == FIRST.id
    assert b"secret" not in sealed.box
    assert Sealer([SECOND, FIRST]).open(sealed, context="job 1") == b"a very secret text"
    assert Sealer([FIRST]).seal(b"a very secret text", context="job 1").box != sealed.box


def test_it_opens_only_for_what_it_was_wrapped_for_and_unchanged() -> None:
    sealer = Sealer([FIRST])
    sealed = sealer.seal(b"text", context="job 1")
    with pytest.raises(Unavailable, match="damaged"):
        sealer.open(sealed, context="job 2")
    flipped = bytes([*sealed.box[:-1], sealed.box[-1] ^ 1])
    for box in (flipped, sealed.box[:5], b""):
        with pytest.raises(Unavailable, match="damaged"):
            sealer.open(Sealed(sealed.key, box), context="job 1")


def test_another_master_key_is_named() -> None:
    sealed = Sealer([FIRST]).seal(b"text", context="x")
    with pytest.raises(Unavailable, match=f"{FIRST.id}.*earlier_master_keys"):
        Sealer([SECOND]).open(sealed, context="x")


def test_without_any_key_nothing_is_wrapped() -> None:
    with pytest.raises(Unsupported, match=r"auth\.master_key"):
        Sealer([]).seal(b"text", context="x")


def test_a_node_without_a_master_key_makes_one_for_its_user_only(tmp_path: Path) -> None:
    here, there = Sealer([], key_file(tmp_path)), Sealer([], key_file(tmp_path))
    sealed = here.seal(b"text", context="x")
    assert there.open(sealed, context="x") == b"text"
    assert there.seal(b"more", context="x").key == sealed.key
    [file] = (tmp_path / "state" / "aisle").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_key_that_was_made_still_opens_once_a_master_key_is_set(tmp_path: Path) -> None:
    sealed = Sealer([], key_file(tmp_path)).seal(b"text", context="x")
    later = Sealer([FIRST], key_file(tmp_path))
    assert later.open(sealed, context="x") == b"text"
    assert later.seal(b"text", context="x").key == FIRST.id


def test_opening_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Sealer([], key_file(tmp_path)).open(Sealed("00000000", b"x" * 40), context="x")
    assert list(tmp_path.iterdir()) == []


def test_the_key_never_lies_with_what_it_protects(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="data folder"):
        Sealer([], key_file(tmp_path, tmp_path)).seal(b"text", context="x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(Unsupported, match=r"auth\.master_key"):
        Sealer([], key_file(tmp_path)).seal(b"text", context="x")


def test_a_key_file_that_is_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    own = key_file(tmp_path)
    (tmp_path / "state" / "aisle").mkdir(parents=True)
    (tmp_path / "state" / "aisle" / "master.key").symlink_to(tmp_path / "gone")
    with pytest.raises(Unsupported, match="link to nothing"):
        Sealer([], own).seal(b"text", context="job 1")
    assert os.listdir(tmp_path / "state" / "aisle") == ["master.key"]


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "aisle"
    os.makedirs(folder)
    (folder / "master.key").write_text("\n")
    with pytest.raises(Unsupported, match="holds no key"):
        Sealer([], key_file(tmp_path)).seal(b"text", context="x")
