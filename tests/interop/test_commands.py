"""`datdot get`, `datdot feed clone` and `datdot feed serve`, as processes, with npm peers."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from npm_feeds import CORESTORE, KINDS, PLAIN, VERSIONS, Kind, make_feed
from npm_peers import STEP_S, block, stock_peer
from our_peers import listening

from offchain_worker.service.keyfiles import KeyKind, write_key

LENGTH = 33
ENDED_BY_PARENT = 128 + signal.SIGTERM
SOME_KINDS = [
    kind for kind in KINDS if kind.name in ("plain", "compat", "corestore", "v1-both-patch")
]
DATDOT = (sys.executable, "-m", "offchain_worker.cli")
WHOLE = b"".join(block(index, 1024) for index in range(LENGTH))


async def run(*arguments: str | Path, status: int = 0) -> str:
    """Run the command to its end; returns what it printed, or its error."""
    with trio.fail_after(STEP_S):
        done = await trio.run_process(
            [*DATDOT, *map(str, arguments)], capture_stdout=True, capture_stderr=True, check=False
        )
    assert done.returncode == status, done.stderr.decode()
    return (done.stderr if status else done.stdout).decode()


@asynccontextmanager
async def serve(store: Path, noise: Path) -> AsyncIterator[int]:
    """`datdot feed serve` for the body; gives its port."""
    process = await trio.lowlevel.open_process(
        [
            *DATDOT,
            *("feed", "serve", "--store", str(store), "--key", str(noise)),
            *("--listen", "127.0.0.1:0", "--log", "json", "--until-stdin-closes"),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        said = b""
        with trio.fail_after(STEP_S):
            while b"\n" not in said:
                more = await process.stderr.receive_some()
                assert more, said
                said += more
        listening_at = json.loads(said.split(b"\n")[0])
        assert listening_at["event"] == "hoster.listening"
        yield int(listening_at["port"])
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(STEP_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stderr.aclose()
    assert process.returncode == ENDED_BY_PARENT


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", SOME_KINDS, ids=str)
async def test_get(version: int, kind: Kind, tmp_path: Path) -> None:
    output = tmp_path / "feed.bin"
    async with stock_peer(version) as author:
        key = (await make_feed(author, kind, LENGTH)).hex()
        peer = f"127.0.0.1:{await listening(author)}"
        await run("get", key, "--from", peer, "-o", output)
        assert output.read_bytes() == WHOLE


@pytest.mark.parametrize("version", VERSIONS)
async def test_get_a_part_from_a_known_peer(version: int, tmp_path: Path) -> None:
    output = tmp_path / "feed.bin"
    async with stock_peer(version, "--seed", "07" * 32) as author:
        noise_key = (await author.event("ready"))["noiseKey"]
        key = (await make_feed(author, CORESTORE, LENGTH)).hex()
        peer = f"127.0.0.1:{await listening(author)}"
        part = ("get", key, "--from", peer, "-o", output, "--chunks", "3-17")
        await run(*part, "--peer-key", noise_key)
        assert output.read_bytes() == WHOLE[3 * 1024 : 18 * 1024]
        refused = await run(*part, "--peer-key", key, status=1)
        assert "did not give the feed" in refused
        await author.do("clear", core="feed", start=4, end=5)
        assert "did not give the feed" in await run(*part, status=1)
        assert output.read_bytes() == WHOLE[3 * 1024 : 18 * 1024]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", SOME_KINDS, ids=str)
async def test_clone_and_serve(version: int, kind: Kind, tmp_path: Path) -> None:
    store, noise = tmp_path / "feeds", tmp_path / "noise.json"
    public = write_key(noise, KeyKind.NOISE)
    async with stock_peer(version) as author, stock_peer(version) as reader:
        key = (await make_feed(author, kind, LENGTH)).hex()
        peer = f"127.0.0.1:{await listening(author)}"
        cloned = await run("feed", "clone", key, "--from", peer, "--store", store)
        assert cloned == f"{key} {LENGTH} chunks\n"
        assert f"{LENGTH} chunks" in await run("feed", "show", "--store", store)
        async with serve(store, noise) as port:
            await reader.do("open", core="copy", key=key)
            await reader.do("connect", to=f"127.0.0.1:{port}")
            assert (await reader.event("stream"))["remote"] == public.hex()
            assert (await reader.do("update", core="copy"))["length"] == LENGTH
            copied = await reader.do("download", core="copy", start=0, end=LENGTH)
            assert copied["contiguousLength"] == LENGTH
            read = await reader.do("read", core="copy")
            assert read["sha256"] == hashlib.sha256(WHOLE).hexdigest()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("compat", [(), ("--compat",)], ids=["manifest", "compat"])
async def test_import_and_serve(version: int, compat: tuple[str, ...], tmp_path: Path) -> None:
    store, noise, author = (tmp_path / name for name in ("feeds", "noise.json", "author.json"))
    source = tmp_path / "source"
    source.write_bytes(WHOLE)
    write_key(noise, KeyKind.NOISE)
    write_key(author, KeyKind.FEED)
    made = await run(
        *("feed", "import", source, "--store", store, "--key", author),
        *("--chunk-size", "1024", *compat),
    )
    key = made.split()[0]
    async with serve(store, noise) as port, stock_peer(version) as reader:
        await reader.do("open", core="copy", key=key)
        await reader.do("connect", to=f"127.0.0.1:{port}")
        assert (await reader.do("update", core="copy"))["length"] == LENGTH
        await reader.do("download", core="copy", start=0, end=LENGTH)
        read = await reader.do("read", core="copy")
        assert read["sha256"] == hashlib.sha256(WHOLE).hexdigest()


@pytest.mark.parametrize("version", VERSIONS)
async def test_errors_for_people(version: int, tmp_path: Path) -> None:
    async with stock_peer(version) as author:
        key = (await make_feed(author, PLAIN, 0)).hex()
        peer = f"127.0.0.1:{await listening(author)}"
        for command in (
            ("get", key, "--from", peer, "-o", tmp_path / "out"),
            ("feed", "clone", key, "--from", peer, "--store", tmp_path / "feeds"),
        ):
            error = await run(*command, status=1)
            assert "the peer has no block of the feed" in error
            assert "Traceback" not in error
