"""What the credentials of a node follow from: its settings, its master key, and what is stored.

The master key comes from the environment or a file, or else follows from root's secret, slowly, so
that nobody who has seen what follows from it can try out secrets. It never lies in a data folder.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from aisle.cluster.store import MetadataStore
from aisle.config import MASTER_KEY_CHARS_MIN, NodeConfig
from aisle.errors import ConfigError, StartError
from aisle.gateway.sealing import KeyFile, Sealer
from aisle.gateway.users import AREA, ROOT, ConfiguredUser, MasterKey, Users, missing_masters
from aisle.node.boot import Boot

# 64 MiB and a quarter of a second, once per start.
_SCRYPT_COST, _SCRYPT_BLOCK = 2**15, 8
_SCRYPT_MEMORY_BYTES_MAX = 128 * 1024 * 1024


def master_keys(config: NodeConfig, *, cluster_id: str, folders: Sequence[Path]) -> tuple[MasterKey, ...]:
    """The cluster's master keys, the present one first; none while none is set and nothing gives one.

    Raises ConfigError for a file that cannot be read, lies in a data folder or holds too little.
    """
    text = config.auth.master_key or _from_file(config.auth.master_key_file, folders)
    earlier = [MasterKey.of(key.encode()) for key in config.auth.earlier_master_keys]
    if text:
        return (MasterKey.of(text.encode()), *earlier)
    if not config.asks_for_credentials:
        return ()
    if not config.root.secret_key:
        raise ConfigError(
            ["auth.master_key: must be set where root has no key: tokens and added keys follow from it"]
        )
    return (_derived(config.root.secret_key, cluster_id), *earlier)


def check_stored_users(store: MetadataStore, config: NodeConfig, masters: Sequence[MasterKey]) -> None:
    """Raises StartError if users are stored whom this node would not ask, or could not recognise."""
    stored = store.list(f"{AREA}/")
    if stored and not config.asks_for_credentials:
        raise StartError(
            f"{len(stored)} users are stored here, and without root's key everybody could do everything: "
            "set AISLE_ROOT_ACCESS_KEY and AISLE_ROOT_SECRET_KEY"
        )
    if missing := missing_masters(stored, masters):
        raise StartError(
            f"stored access keys follow from another master key ({', '.join(sorted(missing))}): "
            "set auth.master_key as it was, or name the earlier one in auth.earlier_master_keys"
        )


def open_key_ring(boot: Boot, store: MetadataStore) -> Users | None:
    """All credentials, for one process; None while there are none."""
    config = boot.config
    if not config.asks_for_credentials:
        return None
    # A node that should ask and could not must not be one that asks nobody.
    assert boot.master_keys, "credentials without a master key"
    root = config.root
    configured = [
        ConfiguredUser(
            user.name, user.id or user.name, user.email, user.access_key, user.secret_key, user.admin
        )
        for user in config.users
    ]
    configured.insert(0, ConfiguredUser(ROOT, "", "", root.access_key, root.secret_key, True))
    return Users(
        store,
        configured=configured,
        master_keys=boot.master_keys,
        accepts_version_2=config.auth.legacy_signatures,
    )


def open_sealer(boot: Boot) -> Sealer:
    """What wraps the secrets that must be kept; without a master key, by a key file of the node's own."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = os.path.expanduser("~")
    if Path(state).is_absolute():
        folder: Path | None = Path(state)
    else:
        folder = Path(home, ".local", "state") if Path(home).is_absolute() else None
    own = None
    if folder is not None:
        own = KeyFile(folder / "aisle" / "master.key", data_folders=[Path(path) for path in boot.mountpaths])
    return Sealer(boot.master_keys, own)


def _derived(secret_key: str, cluster_id: str) -> MasterKey:
    stretched = hashlib.scrypt(
        secret_key.encode(),
        salt=cluster_id.encode(),
        n=_SCRYPT_COST,
        r=_SCRYPT_BLOCK,
        p=1,
        maxmem=_SCRYPT_MEMORY_BYTES_MAX,
        dklen=32,
    )
    return MasterKey.of(stretched)


def _from_file(path: str, folders: Sequence[Path]) -> str:
    if not path:
        return ""
    file = Path(path).resolve()
    if any(file.is_relative_to(folder) for folder in folders):
        raise ConfigError([f"auth.master_key_file: {path} lies in a data folder: whoever copies it has both"])
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"auth.master_key_file: {path}: {error}"]) from error
    if len(text) < MASTER_KEY_CHARS_MIN:
        raise ConfigError(
            [f"auth.master_key_file: {path} must hold at least {MASTER_KEY_CHARS_MIN} characters"]
        )
    return text
