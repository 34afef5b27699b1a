"""Commands that change or read a chain, against a node of their own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
from ended import Datdot

from datdot_node import Chain
from offchain_worker.service.keyfiles import KeyKind, describe_key

UNIT = 10**12
TOO_LARGE = 1 << 70


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, url: str, keys: dict[str, Path]) -> Path:
    """Configuration files of an attestor and a hoster; their other keys are made by the test."""
    path = tmp_path_factory.mktemp("workers")
    (path / "attestor.toml").write_text(
        f'[chain]\nurl = "{url}"\n[attestor]\naccount = "{keys["attestor"]}"\n'
        'session_key = "session.json"\nlisten = "127.0.0.1:4001"\ncapacity = 3\nstate = "state"\n'
    )
    (path / "hoster.toml").write_text(
        f'[chain]\nurl = "{url}"\n[hoster]\naccount = "{keys["hoster"]}"\n'
        'noise_key = "noise.json"\nlisten = "127.0.0.1:4002"\nstore = "feeds"\nstate = "state"\n'
    )
    return path


def test_a_hosting_from_nothing_to_its_end(
    datdot: Datdot, url: str, keys: dict[str, Path], folder: Path
) -> None:
    def done(*arguments: object) -> str:
        ended = datdot(*arguments)
        assert (ended.status, ended.err) == (0, ""), ended
        return ended.out

    def refused(*arguments: object) -> str:
        ended = datdot(*arguments)
        assert (ended.status, ended.out) == (1, ""), ended
        assert ended.err.count("\n") == 1
        return ended.err

    for kind in ("session", "noise", "feed"):
        done("keys", "new", kind, folder / f"{kind}.json")
    hoster, attestor = folder / "hoster.toml", folder / "attestor.toml"
    assert ": registered as an attestor in block" in done(
        "attestor", "register", "--config", attestor
    )
    assert "AlreadyRegistered" in refused("attestor", "register", "--config", attestor)
    assert ": registered as a hoster in block" in done("hoster", "register", "--config", hoster)

    content = folder / "content"
    content.write_bytes(bytes(1_000))
    imported = done(
        *("feed", "import", content, "--store", folder / "feeds"),
        *("--key", folder / "feed.json", "--chunk-size", "100"),
    )
    key = imported.split()[0]
    of_sponsor = ("--account", keys["sponsor"], "--url", url)
    of_hoster = ("--account", keys["hoster"], "--url", url)
    assert f": published {key} in block" in done(
        "feed", "publish", key, "--store", folder / "feeds", *of_sponsor
    )
    _kind, account = describe_key(keys["hoster"])
    assert _kind is KeyKind.ACCOUNT
    offer = ("hosting", "open", key, f"0x{account.hex()}", *of_sponsor, "--length", "10")
    rewards = ("--hoster-reward", 5 * UNIT, "--attestor-reward", UNIT)
    bounds = ("--latency-p50", "40ms", "--throughput", "20MB/s")
    assert ": hosting opened in block" in done(*offer, "--escrow", 100 * UNIT, *rewards, *bounds)
    assert ", offered, escrow " in done("hosting", "list", "--url", url)
    assert "InvalidLength" in refused("hosting", "accept", "0", *of_hoster, "--length", "9")
    done("hosting", "accept", "0", *of_hoster, "--length", "10")
    done("hosting", "vouch", "0", *of_hoster, "--length", "12")
    done("hosting", "top-up", "0", "7", *of_sponsor)
    listed = done("hosting", "list", "--url", url)
    assert f"0: feed {key}, hoster 5" in listed
    assert f"12 chunks, escrow {100 * UNIT + 7}" in listed

    done("attestor", "drain", "--config", attestor)
    done("attestor", "undrain", "--config", attestor)
    done("attestor", "deregister", "--config", attestor)
    assert "The chain refused it: " in refused("attestor", "withdraw", "--config", attestor)
    assert "The chain refused it: " in refused("hoster", "deregister", "--config", hoster)
    done("hosting", "close", "0", *of_sponsor)
    assert done("hosting", "list", "--url", url) == ""
    done("hoster", "drain", "--config", hoster)
    done("hoster", "deregister", "--config", hoster)


def test_hosters_without_challenges(datdot: Datdot, url: str) -> None:
    bounds = ("--latency-p50", "40ms", "--throughput", "20MB/s")
    found = datdot("hosters", "find", *bounds, "--url", url)
    assert (found.status, found.out, found.err) == (0, "", "")
    assert datdot("hosters", "find", *bounds, "--json", "--url", url).out == "[]\n"
    alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    ended = datdot("hosters", "show", alice, "--url", url)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"datdot: No challenge of {alice} was settled yet.\n"


def test_challenges_that_do_not_exist(datdot: Datdot, url: str, keys: dict[str, Path]) -> None:
    assert datdot("challenge", "list", "--url", url).out == ""
    for words in (("show", "5"), ("show", "5", "--json"), ("verify", "5")):
        ended = datdot("challenge", *words, "--url", url)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err == "datdot: The chain has no challenge 5, or none any more.\n"
    closed = datdot("challenge", "close", "5", "--account", keys["sponsor"], "--url", url)
    assert closed.status == 1
    assert "UnknownChallenge" in closed.err


def test_numbers_that_the_chain_does_not_know_are_usage_errors(
    datdot: Datdot, url: str, keys: dict[str, Path]
) -> None:
    signed = ("--account", keys["sponsor"], "--url", url)
    for arguments in (
        ("challenge", "show", TOO_LARGE, "--url", url),
        ("challenge", "close", TOO_LARGE, *signed),
        ("hosting", "accept", 0, "--length", TOO_LARGE, *signed),
    ):
        ended = datdot(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith("datdot: What was given does not fit: ")
        assert ended.err.count("\n") == 1


def test_a_fresh_account_without_money_is_refused_in_one_sentence(
    datdot: Datdot, url: str, tmp_path: Path
) -> None:
    poor = tmp_path / "poor.json"
    datdot("keys", "new", "account", poor)
    ended = datdot("hosting", "close", "0", "--account", poor, "--url", url)
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "Inability to pay some fees" in ended.err


def test_a_genesis_patch_that_the_runtime_refuses(datdot: Datdot, tmp_path: Path) -> None:
    patch = tmp_path / "patch.json"
    patch.write_bytes(msgspec.json.encode({"performance": {"timing": {"attestors": 33}}}))
    ended = datdot("node", "--port", "0", "--genesis-patch", patch)
    assert (ended.status, ended.out) == (2, "")
    assert "The chain cannot run: the runtime" in ended.err


def test_a_chain_is_executed_again(datdot: Datdot, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    assert datdot("node", "--verify").err == "datdot: --verify needs --dir with a chain in it.\n"
    assert datdot("node", "--verify", "--dir", folder).status == 2
    with Chain.open(folder) as chain:
        for _ in range(3):
            chain.new_block()
    ended = datdot("node", "--verify", "--dir", folder)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("3 blocks up to 3 hold")
    with sqlite3.connect(folder / "chain.sqlite") as database:
        database.execute("UPDATE block SET body = x'00' WHERE number = 2")
    database.close()
    ended = datdot("node", "--verify", "--dir", folder)
    assert (ended.status, ended.out) == (1, "")
    assert "does not hold: block 2 does not replay" in ended.err
