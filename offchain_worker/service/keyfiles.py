"""Key files: one secret seed each, JSON, readable by their owner alone.

    {"kind": "session", "scheme": "ed25519", "public": "0x…", "seed": "0x…"}

An `account` is an sr25519 key that signs transactions; `session`, `noise` and `feed` keys are
Ed25519 (an attestor's in the coinflip, a hoster's on the wire, an author's over a feed).
"""

from __future__ import annotations

import os
import secrets
import stat
from enum import StrEnum
from pathlib import Path

import msgspec

from offchain_worker.chain.accounts import Account
from offchain_worker.errors import UsageError
from offchain_worker.keys import SEED_BYTES, KeyPair

MAX_FILE_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyKind(StrEnum):
    """What a key is for; it decides the signature scheme."""

    ACCOUNT = "account"
    SESSION = "session"
    NOISE = "noise"
    FEED = "feed"

    @property
    def scheme(self) -> str:
        """`sr25519` for accounts, `ed25519` for all others."""
        return "sr25519" if self is KeyKind.ACCOUNT else "ed25519"


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    kind: KeyKind
    scheme: str
    public: str
    seed: str


def write_key(path: Path, kind: KeyKind, seed: bytes | None = None) -> bytes:
    """Write a new key file (mode 0600); returns the public key (32 bytes).

    Args:
        path: a file that does not exist yet.
        kind: what the key is for.
        seed: 32 bytes; fresh ones of the operating system when left out.

    Raises:
        UsageError: the file exists or cannot be written.
    """
    seed = secrets.token_bytes(SEED_BYTES) if seed is None else seed
    public = (
        Account.from_seed(seed).public
        if kind is KeyKind.ACCOUNT
        else KeyPair.from_seed(seed).public
    )
    content = msgspec.json.encode(
        _KeyFile(kind=kind, scheme=kind.scheme, public=_hex(public), seed=_hex(seed))
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already; choose another file for the new key.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return public


def read_account(path: Path) -> Account:
    """The account key in a file.

    Raises:
        UsageError: no such file, readable by others, or not an account key.
    """
    return Account.from_seed(_read(path, KeyKind.ACCOUNT))


def read_key_pair(path: Path, kind: KeyKind) -> KeyPair:
    """The Ed25519 key in a file.

    Raises:
        UsageError: no such file, readable by others, or not a key of that kind.
    """
    return KeyPair.from_seed(_read(path, kind))


def describe_key(path: Path) -> tuple[KeyKind, bytes]:
    """Kind and public key (32 bytes) of a key file; never its secret.

    Raises:
        UsageError: no such file, readable by others, or not a key file.
    """
    content = _load(path)
    return content.kind, bytes.fromhex(content.public.removeprefix("0x"))


def is_open_to_others(path: Path) -> bool:
    """Whether anyone but its owner may use a file that holds a secret.

    Raises:
        UsageError: no such file.
    """
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError as error:
        raise UsageError(f"The file {path} cannot be read: {error.strerror}.") from error


def _read(path: Path, kind: KeyKind) -> bytes:
    content = _load(path)
    if content.kind is not kind:
        raise UsageError(f"{path} holds a {content.kind} key where a {kind} key is needed.")
    return bytes.fromhex(content.seed.removeprefix("0x"))


def _load(path: Path) -> _KeyFile:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"The key file {path} cannot be read: {error.strerror}.") from error
    if mode & _OTHERS:
        raise UsageError(f"The key file {path} is open to others; run `chmod 600 {path}`.")
    try:
        content = msgspec.json.decode(data, type=_KeyFile)
        seed = bytes.fromhex(content.seed.removeprefix("0x"))
        public = bytes.fromhex(content.public.removeprefix("0x"))
    except (msgspec.DecodeError, ValueError):
        # The cause is dropped on purpose: it could quote the file's content, a secret.
        raise UsageError(f"{path} is not a key file of `datdot keys new`.") from None
    if (
        len(seed) != SEED_BYTES
        or len(public) != SEED_BYTES
        or content.scheme != content.kind.scheme
    ):
        raise UsageError(f"{path} is not a key file of `datdot keys new`.")
    return content


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
