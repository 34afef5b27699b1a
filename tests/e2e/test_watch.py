"""`datdot get --watch` as a process: a reader that is a peer for others."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

from e2e_commands import COMMAND, datdot, make_feed, service, succeed

from offchain_worker.hoster.feeds import read_source


def test_a_reader_that_stays_serves_what_it_has(tmp_path: Path) -> None:
    source = make_feed(tmp_path / "content")
    content = b"".join(read_source(source))
    for name, kind in (("feed", "feed"), ("noise", "noise")):
        succeed("keys", "new", kind, tmp_path / f"{name}.json")
    store = tmp_path / "store"
    made = succeed("feed", "import", source, "--key", tmp_path / "feed.json", "--store", store)
    (key,) = re.findall(r"\b[0-9a-f]{64}\b", made)
    author = ("feed", "serve", "--store", store, "--key", tmp_path / "noise.json")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    copy, second = tmp_path / "copy.tar", tmp_path / "second.tar"
    with service("hoster.listening", *author, "--listen", "127.0.0.1:0") as served:
        peer = f"{served['host']}:{served['port']}"
        watching = ("get", key, "--from", peer, "--watch", "--listen", place, "-o", copy)
        with service("reader.caught_up", *watching) as caught_up:
            assert caught_up["length"] == -(-len(content) // 65536)
            assert copy.read_bytes() == content
            succeed("get", key, "--from", place, "--output", second)
            assert second.read_bytes() == content
            status, _output, errors = datdot(*watching[:-1], tmp_path / "third.tar")
            assert (status, f"cannot listen on {place}" in errors) == (2, True)
    assert copy.read_bytes() == content


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    arguments = ("get", "00" * 32, "--from", "127.0.0.1:1", "--watch", "--until-stdin-closes")
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        assert b"reader.interrupted" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(30) == 143
