"""The npm peers and their driver work among themselves; otherwise nothing else here means much."""

import hashlib

import pytest
from npm_peers import PeerError, block, npm_peer

VERSIONS = (11, 10)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_peer_reads_from_another(version: int) -> None:
    async with (
        npm_peer("peer.mjs", "--version", version) as author,
        npm_peer("peer.mjs", "--version", version) as reader,
    ):
        core = await author.do("open", core="feed")
        await author.do("append", core="feed", count=10, size=100)
        address = f"127.0.0.1:{(await author.do('listen'))['port']}"
        await reader.do("open", core="copy", key=core["key"])
        await reader.do("connect", to=address)
        assert (await reader.do("update", core="copy"))["length"] == 10
        got = await reader.do("get", core="copy", index=7)
        assert got["sha256"] == hashlib.sha256(block(7, 100)).hexdigest()
        assert (await author.event("upload"))["index"] == 7


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["get", "download"])
async def test_the_reader_reads_from_the_hoster(version: int, mode: str) -> None:
    async with npm_peer("hoster.mjs", "--version", version, "--chunks", 5, "--trace") as hoster:
        serving = await hoster.event("listening")
        address = f"127.0.0.1:{serving['port']}"
        reading = ("--from", address, "--key", serving["key"], "--mode", mode)
        async with npm_peer("reader.mjs", "--version", version, *reading) as reader:
            read = await reader.event("read")
            assert (read["chunks"], read["bytes"]) == (5, 5 * 1024)
            assert await reader.wait() == 0
        assert len(hoster.take("received")) > 5
        assert len(hoster.take("sent")) > 5


async def test_a_peer_that_cannot_says_why() -> None:
    async with npm_peer("peer.mjs") as peer:
        with pytest.raises(PeerError, match="no core named"):
            await peer.do("info", core="unknown")
        with pytest.raises(PeerError, match="no command"):
            await peer.do("unknown")


async def test_a_peer_that_ends_says_why() -> None:
    async with npm_peer("peer.mjs", "--version", "9") as peer:
        with pytest.raises(PeerError, match="no hypercore 9 here"):
            await peer.event("ready")
