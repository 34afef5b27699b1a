"""Commands that need no chain; what is wrong is said in one sentence, with its exit status."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from ended import Datdot, Ended

from offchain_worker.cli.app import app
from offchain_worker.cli.hosting import parse_duration_us, parse_throughput
from offchain_worker.hoster.store import Library

KEY = "00" * 32
ADDRESS = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def refused(ended: Ended, status: int, sentence: str) -> None:
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith("datdot: ")
    assert sentence in ended.err
    assert ended.err.count("\n") == 1
    assert ended.err.endswith(".\n")


def leaf_commands() -> Iterator[tuple[str, ...]]:
    """The words of each command that does something."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words
        else:
            waiting += [((*words, name), one) for name, one in inner.items()]


COMMANDS = sorted(leaf_commands())


def test_there_are_the_commands_of_the_manual() -> None:
    assert {" ".join(words) for words in COMMANDS} >= {
        "testnet",
        "node",
        "get",
        "measure",
        *(f"attestor {name}" for name in ("run", "register", "drain", "deregister")),
        *(f"hoster {name}" for name in ("run", "register", "drain", "deregister")),
        *(f"keys {name}" for name in ("new", "show")),
        *(f"feed {name}" for name in ("import", "clone", "publish", "show", "serve")),
        *(f"hosting {name}" for name in ("open", "accept", "vouch", "top-up", "close", "list")),
        *(f"hosters {name}" for name in ("find", "show")),
        *(f"challenge {name}" for name in ("list", "show", "verify", "close")),
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_an_example(datdot: Datdot, words: tuple[str, ...]) -> None:
    ended = datdot(*words, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert f"Example: datdot {' '.join(words)}" in " ".join(ended.out.split())


@pytest.mark.parametrize("words", [(), ("feed",), ("hosting",), ("keys",), ("challenge",)])
def test_without_a_command_there_is_help(datdot: Datdot, words: tuple[str, ...]) -> None:
    ended = datdot(*words)
    assert ended.status == 2
    assert "Usage: datdot" in ended.out + ended.err


def test_what_does_not_exist_is_a_usage_error(datdot: Datdot) -> None:
    for words in (("nothing",), ("keys", "nothing"), ("keys", "new", "nothing", "file")):
        ended = datdot(*words)
        assert ended.status == 2
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("kind", ["account", "session", "noise", "feed"])
def test_a_key_is_made_once_and_shown_without_its_secret(
    datdot: Datdot, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "folder" / "key.json"
    made = datdot("keys", "new", kind, file)
    assert (made.status, made.err) == (0, "")
    assert made.out.startswith(f"{kind} 0x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    assert datdot("keys", "show", file) == made
    seed = content.decode().split('"seed":"0x')[1][:64]
    assert seed not in made.out
    refused(datdot("keys", "new", kind, file), 2, "exists already")
    assert file.read_bytes() == content


def test_a_key_file_that_cannot_be_used_is_named(datdot: Datdot, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    refused(datdot("keys", "show", file), 2, f"{file} cannot be read: No such file")
    file.write_text("{}")
    file.chmod(0o644)
    refused(datdot("keys", "show", file), 2, f"chmod 600 {file}")
    file.chmod(0o600)
    refused(datdot("keys", "show", file), 2, "is not a key file")
    file.unlink()
    datdot("keys", "new", "noise", file)
    (tmp_path / "content").write_text("content")
    other = datdot("feed", "import", tmp_path / "content", "--store", tmp_path, "--key", file)
    refused(other, 2, "holds a noise key where a feed key is needed")


@pytest.fixture
def author(datdot: Datdot, tmp_path: Path) -> Path:
    datdot("keys", "new", "feed", tmp_path / "author.json")
    return tmp_path / "author.json"


def test_a_file_becomes_a_feed(datdot: Datdot, tmp_path: Path, author: Path) -> None:
    content, store = tmp_path / "content", tmp_path / "feeds"
    content.write_bytes(bytes(range(256)) * 10)
    made = datdot("feed", "import", content, "--store", store, "--key", author, "--chunk-size", 100)
    assert (made.status, made.err) == (0, "")
    key, length = made.out.removesuffix(" chunks\n").split()
    assert length == "26"
    shown = datdot("feed", "show", "--store", store)
    assert shown.out == f"{key} manifest v1, fork 0, 26 chunks, 2560 bytes, complete\n"
    again = datdot("feed", "import", content, "--store", store, "--key", author)
    refused(again, 2, "is already in")


def test_a_folder_becomes_a_compat_feed(datdot: Datdot, tmp_path: Path, author: Path) -> None:
    folder, store = tmp_path / "folder", tmp_path / "feeds"
    folder.mkdir()
    (folder / "a").write_text("something")
    made = datdot("feed", "import", folder, "--store", store, "--key", author, "--compat")
    key = made.out.split()[0]
    assert key in datdot("keys", "show", author).out
    assert ", compat," in f", {datdot('feed', 'show', '--store', store).out.split(' ', 1)[1]}"
    with Library(store) as library:
        (feed,) = library
        head = feed.head()
        assert head is not None
        data = b"".join(feed.block(index) or b"" for index in range(head.length))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["a"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "--store", "feeds"), "nowhere does not exist"),
        (("empty", "--store", "feeds"), "is empty"),
        (("content", "--store", "feeds", "--chunk-size", "0"), "1 to 131072 bytes, not 0"),
        (("content", "--store", "feeds", "--chunk-size", "131073"), "not 131073"),
        (("content", "--store", "content"), "content cannot be used"),
    ],
)
def test_what_cannot_be_imported_is_named_and_leaves_nothing(
    datdot: Datdot,
    tmp_path: Path,
    author: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "content").write_text("content")
    (tmp_path / "empty").touch()
    refused(datdot("feed", "import", *arguments, "--key", author), 2, sentence)
    if (tmp_path / "feeds").is_dir():
        assert datdot("feed", "show", "--store", "feeds").out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("feed", "show", "--store", "none"), "The folder none does not exist"),
        (("feed", "clone", "zz", "--from", "127.0.0.1:1", "--store", "s"), "'zz' is not a feed's"),
        (("feed", "clone", KEY, "--from", "localhost:1", "--store", "s"), "write IP:PORT"),
        (("get", KEY[2:], "--from", "127.0.0.1:1", "-o", "out"), "64 hexadecimal digits"),
        (("get", KEY, "--from", "127.0.0.1:70000", "-o", "out"), "write IP:PORT"),
        (("get", KEY, "--from", "[::1]:1", "-o", "out", "--chunks", "9-1"), "FIRST-LAST"),
        (("get", KEY, "--from", "[::1]:1", "-o", "out", "--peer-key", "1"), "a Noise key"),
        (("get", KEY, "--from", "127.0.0.1:1"), "Say with --output which file"),
        (("get", KEY, "--from", "127.0.0.1:1", "-o", "out", "--rate", "5"), "need --watch"),
        (("get", KEY, "--from", "127.0.0.1:1", "--watch", "--chunks", "1-2"), "whole feeds"),
        (("get", KEY, "--from", "127.0.0.1:1", "--watch", "--listen", "here"), "write IP:PORT"),
        (("get", KEY, "--from", "127.0.0.1:1", "--watch", "-o", "no/file"), "cannot be written"),
        (("attestor", "run", "--config", "none.toml"), "none.toml cannot be read"),
        (("attestor", "register", "--config", "broken.toml"), "broken.toml cannot be used"),
        (("hoster", "run", "--config", "empty.toml"), "empty.toml cannot be used"),
        (("hoster", "drain", "--config", "none.toml"), "none.toml cannot be read"),
        (("node", "--genesis-patch", "none.json"), "none.json cannot be read"),
        (("node", "--genesis-patch", "broken.toml"), "broken.toml is no JSON object"),
        (("node", "--port", "0", "--preset", "nonsense"), "no genesis preset 'nonsense'"),
        (("hosting", "list", "--url", "http://127.0.0.1"), "write ws://HOST:PORT"),
        (("hosting", "list", "--url", "ws://127.0.0.1:99999"), "write ws://HOST:PORT"),
        (("challenge", "close", "0", "--account", "none.json"), "none.json cannot be read"),
        (("testnet", "--feed", "none", "--once"), "none does not exist"),
        (("testnet", "--once", "--adversary", "lie"), "'lie' names no fault; write FAULT or"),
    ],
)
def test_bad_input_is_named_in_one_sentence(
    datdot: Datdot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text("[attestor\n")
    (tmp_path / "empty.toml").touch()
    refused(datdot(*arguments), 2, sentence)
    assert {path.name for path in tmp_path.iterdir()} == {"broken.toml", "empty.toml"}


@pytest.mark.parametrize(
    ("amount", "hoster", "sentence"),
    [
        ("1.5", ADDRESS, "'1.5' is not an amount"),
        ("9" * 39, ADDRESS, "is not an amount"),
        ("9" * 5_000, ADDRESS, "is not an amount"),
        ("1", ADDRESS[:-1] + "Z", "is not an account's address"),
        ("1", "0x00", "'0x00' is not an account"),
    ],
)
def test_amounts_and_accounts_are_checked(
    datdot: Datdot, keys: dict[str, Path], amount: str, hoster: str, sentence: str
) -> None:
    options = ["--hoster-reward", "1", "--attestor-reward", "1", "--length", "1"]
    ended = datdot(
        *("hosting", "open", KEY, hoster, "--account", keys["sponsor"]),
        *("--escrow", amount, *options),
    )
    refused(ended, 2, sentence)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--latency-p50", "40", "'40' is not a time such as 40ms"),
        ("--latency-p50", "0ms", "'0ms' is not a time"),
        ("--latency-p50", "0.0001ms", "is not a time"),
        ("--latency-p50", "5000s", "is not a time"),
        ("--latency-p50", "-1ms", "is not a time"),
        ("--latency-p50", "9" * 5_000 + "s", "is not a time"),
        ("--throughput", "20MB", "'20MB' is not a throughput such as 20MB/s"),
        ("--throughput", "20ms", "is not a throughput"),
        ("--throughput", "1e3B/s", "is not a throughput"),
        ("--throughput", f"{1 << 64}B/s", "is not a throughput"),
    ],
)
def test_bounds_are_checked(
    datdot: Datdot, keys: dict[str, Path], option: str, value: str, sentence: str
) -> None:
    options = ["--escrow", "1", "--hoster-reward", "1", "--attestor-reward", "1", "--length", "1"]
    ended = datdot(
        *("hosting", "open", KEY, ADDRESS, "--account", keys["sponsor"]),
        *(*options, f"{option}={value}"),
    )
    refused(ended, 2, sentence)
    refused(datdot("hosters", "find", f"{option}={value}"), 2, sentence)


def test_times_and_throughputs_are_read() -> None:
    assert [parse_duration_us(text) for text in ("1us", "40ms", "1.5 s")] == [1, 40_000, 1_500_000]
    speeds = ("1B/s", "2kB/s", "20MB/s", "1.25GB/s")
    assert [parse_throughput(text) for text in speeds] == [1, 2_000, 20_000_000, 1_250_000_000]


def test_a_peer_that_is_not_there_is_an_operation_error(
    datdot: Datdot, tmp_path: Path, unused_port: int
) -> None:
    output = tmp_path / "out"
    peer = f"127.0.0.1:{unused_port}"
    refused(datdot("get", KEY, "--from", peer, "-o", output), 1, f"{peer} did not give the feed")
    cloned = datdot("feed", "clone", KEY, "--from", peer, "--store", tmp_path / "feeds")
    refused(cloned, 1, f"{peer} did not give the feed")
    assert not output.exists()
    assert not output.with_name("out.partial").exists()


def test_every_option_is_explained() -> None:
    for words in COMMANDS:
        command = typer.main.get_command(app)
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), (words, parameter.name)
