"""Configuration files: what is written is read back, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from offchain_worker.errors import UsageError
from offchain_worker.service.config import (
    Address,
    AttestorConfig,
    AttestorSection,
    ChainConfig,
    FeedSection,
    HosterConfig,
    HosterSection,
    load_config,
    parse_address,
    write_config,
)

ATTESTOR = AttestorConfig(
    chain=ChainConfig(url="ws://127.0.0.1:9944"),
    attestor=AttestorSection(
        account="account.json",
        session_key="session.json",
        listen="127.0.0.1:4001",
        state='a "quoted" \\ folder',
        capacity=3,
    ),
)
HOSTER = HosterConfig(
    chain=ChainConfig(url="ws://[::1]:9944"),
    hoster=HosterSection(
        account="account.json",
        noise_key="noise.json",
        listen="[::1]:4002",
        store="store",
        state="state",
        accept_minimum_reward="1",
    ),
    feeds=[FeedSection(key="ab" * 32, upstream=["127.0.0.1:1", "127.0.0.1:2"])],
)


def test_an_attestors_file_is_read_back(tmp_path: Path) -> None:
    write_config(tmp_path / "a.toml", ATTESTOR)
    assert load_config(tmp_path / "a.toml", AttestorConfig) == ATTESTOR


def test_a_hosters_file_is_read_back(tmp_path: Path) -> None:
    write_config(tmp_path / "h.toml", HOSTER)
    assert load_config(tmp_path / "h.toml", HosterConfig) == HOSTER


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not toml", "cannot be used"),
        ("[chain]\nurl = 1\n", "Expected `str`"),
        ("[chain]\nurl = 'x'\n", "missing required field `attestor`"),
        ("[chain]\nurl = 'x'\nurk = 'y'\n", "unknown field `urk`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        load_config(path, AttestorConfig)


def test_addresses() -> None:
    assert parse_address("127.0.0.1:4001") == Address("127.0.0.1", 4001)
    assert parse_address("[::1]:4001") == Address("::1", 4001)
    assert str(Address("::1", 1)) == "[::1]:1"


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", "localhost:1", "127.0.0.1:65536", "::1:1", "[127.0.0.1]:1", "1:x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        parse_address(text)
