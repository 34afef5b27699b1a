"""Key files: made once, readable by their owner, never quoted in an error."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from offchain_worker.errors import UsageError
from offchain_worker.service.keyfiles import (
    KeyKind,
    describe_key,
    read_account,
    read_key_pair,
    write_key,
)

SEED = bytes(range(32))


@pytest.mark.parametrize("kind", [KeyKind.SESSION, KeyKind.NOISE, KeyKind.FEED])
def test_an_ed25519_key_comes_back(tmp_path: Path, kind: KeyKind) -> None:
    path = tmp_path / "key.json"
    public = write_key(path, kind, SEED)
    assert read_key_pair(path, kind).public == public
    assert describe_key(path) == (kind, public)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_account_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    public = write_key(path, KeyKind.ACCOUNT, SEED)
    assert read_account(path).public == public


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, KeyKind.SESSION)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_key(path, KeyKind.SESSION)
    assert path.read_bytes() == before


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, KeyKind.SESSION)
    with pytest.raises(UsageError, match="holds a session key where a noise key is needed"):
        read_key_pair(path, KeyKind.NOISE)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, KeyKind.SESSION)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        read_key_pair(path, KeyKind.SESSION)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"kind": "session"}'])
def test_what_is_no_key_file_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="is not a key file"):
        read_key_pair(path, KeyKind.SESSION)


def test_a_damaged_file_does_not_show_its_secret(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_key(path, KeyKind.SESSION, SEED)
    path.write_bytes(path.read_bytes().replace(b'"session"', b'"nothing"'))
    with pytest.raises(UsageError) as caught:
        read_key_pair(path, KeyKind.SESSION)
    assert SEED.hex() not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_account(tmp_path / "missing.json")
