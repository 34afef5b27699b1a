"""Configuration files: what is written is read back, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from offchain_worker.errors import UsageError
from offchain_worker.service.attestor import load_attestor
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
    parse_proxy,
    write_config,
)
from offchain_worker.service.keyfiles import KeyKind, write_key
from offchain_worker.swarm.proxy import Proxy

ATTESTOR = AttestorConfig(
    chain=ChainConfig(url="ws://127.0.0.1:9944"),
    attestor=AttestorSection(
        account="account.json",
        session_key="session.json",
        listen="127.0.0.1:4001",
        state='a "quoted" \\ folder',
        capacity=3,
        proxy=["socks5://192.0.2.1:1080", "socks5://me:pw@[2001:db8::1]:1080"],
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


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("socks5://192.0.2.1:1080", Proxy("192.0.2.1", 1080)),
        ("socks5://[2001:db8::1]:9", Proxy("2001:db8::1", 9)),
        ("socks5://me:pw@192.0.2.1:1", Proxy("192.0.2.1", 1, "me", "pw")),
        ("socks5://m%3Ae:p%40%2F%25%C3%B6w@192.0.2.1:1", Proxy("192.0.2.1", 1, "m:e", "p@/%öw")),
        (f"socks5://{'n' * 255}:p@192.0.2.1:1", Proxy("192.0.2.1", 1, "n" * 255, "p")),
    ],
)
def test_proxies(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1:1080",
        "socks4://192.0.2.1:1080",
        "http://me:secret@192.0.2.1:1080",
        "socks5://proxy.example:1080",
        "socks5://me:secret@proxy.example:1080",
        "socks5://192.0.2.1",
        "socks5://192.0.2.1:0",
        "socks5://192.0.2.1:1080/",
        "socks5://me@192.0.2.1:1080",
        "socks5://:secret@192.0.2.1:1080",
        "socks5://me:@192.0.2.1:1080",
        "socks5://@192.0.2.1:1080",
        "socks5://me:secret%ff@192.0.2.1:1080",
        f"socks5://me:{'secret' * 43}@192.0.2.1:1080",
    ],
)
def test_what_is_no_proxy_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(UsageError, match="is not in the form socks5") as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("proxy", "mode", "refused"),
    [
        ("socks5://192.0.2.1:1080", 0o644, False),
        ("socks5://me:secret@192.0.2.1:1080", 0o600, False),
        ("socks5://me:secret@192.0.2.1:1080", 0o640, True),
    ],
)
def test_a_file_with_a_password_is_the_owners_alone(
    tmp_path: Path, proxy: str, mode: int, refused: bool
) -> None:
    for kind in (KeyKind.ACCOUNT, KeyKind.SESSION):
        write_key(tmp_path / f"{kind}.json", kind)
    path = tmp_path / "attestor.toml"
    path.write_text(
        "[chain]\nurl = 'ws://127.0.0.1:1'\n[attestor]\naccount = 'account.json'\n"
        f"session_key = 'session.json'\nlisten = '[::1]:1'\nstate = 's'\nproxy = '{proxy}'\n"
    )
    path.chmod(mode)
    if not refused:
        settings = load_attestor(path)
        assert settings.proxies == (parse_proxy(proxy),)
        assert "secret" not in repr(settings)
        return
    with pytest.raises(UsageError, match=r"is open to others; run `chmod 600") as caught:
        load_attestor(path)
    assert "secret" not in str(caught.value)
