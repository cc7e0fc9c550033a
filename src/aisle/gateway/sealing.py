"""Sealing: secrets that others gave us and that must be kept, wrapped by the cluster's master key.

What is wrapped may lie in the metadata store, and so in the data folders: without the master key,
which lies elsewhere, it tells nothing. A node without a configured master key makes a key file of its
own when the first secret has to be kept, in the state folder of the user who runs it.
"""

import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aisle.errors import Unavailable, Unsupported
from aisle.gateway.users import MasterKey
from aisle.model.job import Sealed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_KEY_FILE_BYTES: Final = 32
_ADVICE: Final = "set auth.master_key or auth.master_key_file"


class KeyFile:
    """A master key that the node makes for itself, in a file that only its user may read."""

    def __init__(self, path: Path, *, data_folders: Sequence[Path]) -> None:
        """`data_folders` are those that the key must not lie in: whoever copies them would have both."""
        self._path = path
        self._data_folders = tuple(data_folders)
        self._key: MasterKey | None = None

    def load(self) -> MasterKey | None:
        """The key, or None where there is none yet. Raises Unsupported for a file that cannot be used."""
        if self._key is None:
            try:
                text = self._path.read_text("ascii").strip()
            except FileNotFoundError:
                return None
            except (OSError, UnicodeDecodeError) as error:
                raise Unsupported(f"the key file {self._path} cannot be read ({error}): {_ADVICE}") from error
            if len(text) < _KEY_FILE_BYTES:
                raise Unsupported(f"the key file {self._path} holds no key: {_ADVICE}")
            self._key = MasterKey.of(text.encode())
        return self._key

    def load_or_make(self) -> MasterKey:
        """The key; it is made, durably, if there is none yet. Raises Unsupported where that fails."""
        folder = self._path.parent
        if any(self._path.resolve().is_relative_to(data) for data in self._data_folders):
            raise Unsupported(
                f"a key file in {folder} would lie in a data folder, with what it protects: {_ADVICE}"
            )
        while (key := self.load()) is None:
            if self._path.is_symlink():  # which a new file does not take the place of
                raise Unsupported(f"the key file {self._path} is a link to nothing: {_ADVICE}")
            try:
                self._make()
            except OSError as error:
                raise Unsupported(f"no key file can be made in {folder} ({error}): {_ADVICE}") from error
        return key

    def _make(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.write(fd, secrets.token_hex(_KEY_FILE_BYTES).encode() + b"\n")
                os.fsync(fd)
            finally:
                os.close(fd)
            # A link fails where another process was faster: the key of the first is the key of all.
            with suppress(FileExistsError):
                os.link(temporary, self._path)
        finally:
            temporary.unlink()
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Sealer:
    """Wraps and unwraps secrets, for one process. Calls may block for a disk."""

    def __init__(self, masters: Sequence[MasterKey], own: KeyFile | None = None) -> None:
        """New secrets are wrapped by the first of `masters`; without any, by the node's own key."""
        self._masters = tuple(masters)
        self._own = own

    def seal(self, secret: bytes, *, context: str) -> Sealed:
        """Wrap a secret, to be unwrapped for the same `context` only. Raises Unsupported without a key."""
        master = self._masters[0] if self._masters else None
        if master is None and self._own is not None:
            master = self._own.load_or_make()
        if master is None:
            raise Unsupported(f"secrets cannot be kept without a master key: {_ADVICE}")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return Sealed(master.id, nonce + _cipher(master).encrypt(nonce, secret, context.encode()))

    def open(self, sealed: Sealed, *, context: str) -> bytes:
        """Unwrap a secret. Raises Unavailable without the key it was wrapped by, or if it was changed."""
        from cryptography.exceptions import InvalidTag

        master = self._find(sealed.key)
        if master is None:
            raise Unavailable(
                f"what was wrapped by master key {sealed.key} cannot be read, the node has another one: "
                "set auth.master_key as it was, or name it in auth.earlier_master_keys"
            )
        nonce, text = sealed.box[:_NONCE_BYTES], sealed.box[_NONCE_BYTES:]
        try:
            return bytes(_cipher(master).decrypt(nonce, text, context.encode()))
        except (InvalidTag, ValueError) as error:
            raise Unavailable("a wrapped secret is damaged") from error

    def _find(self, key_id: str) -> MasterKey | None:
        for master in self._masters:
            if master.id == key_id:
                return master
        own = self._own.load() if self._own is not None else None
        return own if own is not None and own.id == key_id else None


def _cipher(master: MasterKey) -> "AESGCM":
    # Loaded when the first secret is met: most nodes never meet one, and all start faster.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(master.value, b"aisle sealing", "sha256"))
