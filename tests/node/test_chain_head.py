"""`chainHead_v1_*` over a real socket: events, forks, finality, operations, limits."""

from random import Random
from typing import Any

import pytest
from node_client import Client, Running, connected, serving

from datdot_node import forks
from datdot_node.blob import decompress
from datdot_node.block import Header
from datdot_node.chain import packaged_code
from datdot_node.hashing import blake2_256, storage_key
from datdot_node.rpc import chain_head

NUMBER = "0x" + storage_key("System", "Number").hex()
SYSTEM = NUMBER[:34]


class Follower:
    """One subscription of `chainHead_v1_follow`, and its events in their order."""

    def __init__(self, client: Client, subscription: str) -> None:
        self.client = client
        self.id = subscription

    async def event(self) -> dict[str, Any]:
        notification = await self.client.notified()
        assert notification["method"] == "chainHead_v1_followEvent"
        assert notification["params"]["subscription"] == self.id
        event: dict[str, Any] = notification["params"]["result"]
        return event

    async def events(self, *names: str) -> list[dict[str, Any]]:
        events = [await self.event() for _ in names]
        assert [each["event"] for each in events] == list(names)
        return events

    async def call(self, name: str, *params: Any) -> Any:
        return await self.client.call(f"chainHead_v1_{name}", self.id, *params)

    async def refused(self, name: str, *params: Any) -> int:
        error = await self.client.refused(f"chainHead_v1_{name}", self.id, *params)
        code: int = error["code"]
        return code

    async def storage(self, block: str, *items: tuple[str, str]) -> list[dict[str, str]]:
        """All items of one storage operation, page after page."""
        asked = [{"type": kind, "key": key} for kind, key in items]
        started = await self.call("storage", block, asked, None)
        assert started["result"] == "started"
        found: list[dict[str, str]] = []
        while True:
            event = await self.event()
            assert event["operationId"] == started["operationId"]
            if event["event"] == "operationStorageDone":
                return found
            if event["event"] == "operationWaitingForContinue":
                assert await self.call("continue", started["operationId"]) is None
            else:
                assert event["event"] == "operationStorageItems"
                found += event["items"]


async def follow(client: Client, *, with_runtime: bool = True) -> Follower:
    return Follower(client, await client.call("chainHead_v1_follow", with_runtime))


async def test_the_chain_as_it_grows() -> None:
    async with serving() as running, connected(running) as client:
        genesis = await client.call("chainSpec_v1_genesisHash")
        assert genesis == await client.call("chain_getBlockHash", 0)
        assert await client.call("chainSpec_v1_chainName") == "DatDot Development"
        assert (await client.call("chainSpec_v1_properties"))["tokenSymbol"] == "DAT"
        follower = await follow(client)
        initialized, best = await follower.events("initialized", "bestBlockChanged")
        assert initialized["finalizedBlockHashes"] == [genesis]
        runtime = initialized["finalizedBlockRuntime"]
        assert runtime["type"] == "valid"
        assert runtime["spec"]["specName"] == "datdot"
        assert runtime["spec"]["apis"]["0xdf6acb689907609b"] >= 5, "the version of `Core`"
        assert best["bestBlockHash"] == genesis
        first = await client.call("dev_newBlock")
        new, best, final = await follower.events("newBlock", "bestBlockChanged", "finalized")
        assert new == {
            "event": "newBlock",
            "blockHash": first,
            "parentBlockHash": genesis,
            "newRuntime": None,
        }
        assert best["bestBlockHash"] == first
        assert final["finalizedBlockHashes"] == [first]
        assert final["prunedBlockHashes"] == []
        last = await client.call("dev_newBlock", 30)
        await follower.events(*["newBlock"] * 30, "bestBlockChanged", "finalized")
        later = await follow(client, with_runtime=False)
        initialized, best = await later.events("initialized", "bestBlockChanged")
        assert "finalizedBlockRuntime" not in initialized
        assert len(initialized["finalizedBlockHashes"]) == 16
        assert initialized["finalizedBlockHashes"][-1] == best["bestBlockHash"] == last
        assert await client.call("chainHead_v1_unfollow", follower.id) is None
        await client.call("dev_newBlock")
        new, *_ = await later.events("newBlock", "bestBlockChanged", "finalized")
        assert "newRuntime" not in new


async def test_blocks_that_are_not_final_yet_are_told_of_at_the_start() -> None:
    async with serving(finality_lag=3) as running, connected(running) as client:
        await client.call("dev_newBlock", 5)
        hashes = [await client.call("chain_getBlockHash", number) for number in range(6)]
        follower = await follow(client)
        initialized, *new, best = await follower.events(
            "initialized", "newBlock", "newBlock", "newBlock", "bestBlockChanged"
        )
        assert initialized["finalizedBlockHashes"] == hashes[:3]
        assert [each["blockHash"] for each in new] == hashes[3:]
        assert [each["parentBlockHash"] for each in new] == hashes[2:5]
        assert best["bestBlockHash"] == hashes[5]


async def test_a_new_runtime_is_told_of(wallet: Any) -> None:
    async with serving(finality_lag=3) as running, connected(running) as client:
        follower = await follow(client)
        await follower.events("initialized", "bestBlockChanged")
        extrinsic = wallet.set_code(decompress(packaged_code()))
        await running.node.run(lambda chain: chain.submit(extrinsic))
        await client.call("dev_newBlock", 2)
        first, second, _ = await follower.events("newBlock", "newBlock", "bestBlockChanged")
        later = await follow(client)
        _, *new, _ = await later.events("initialized", "newBlock", "newBlock", "bestBlockChanged")
        assert new == [first, second]
        assert first["newRuntime"]["spec"]["specName"] == "datdot"
        assert second["newRuntime"] is None


async def test_a_fork_is_told_of_and_readable_until_it_is_unpinned(wallet: Any) -> None:
    async with serving(finality_lag=3) as running, connected(running) as client:
        await client.call("dev_newBlock", 2)
        follower = await follow(client)
        await follower.events("initialized", "newBlock", "newBlock", "bestBlockChanged")
        second = await client.call("chain_getBlockHash", 2)
        extrinsic = "0x" + wallet.transfer(0).hex()
        await client.call("author_submitExtrinsic", extrinsic)
        replaced = await client.call("dev_newBlock")
        await follower.events("newBlock", "bestBlockChanged")
        top = await client.call("dev_newBlock")
        _, _, final = await follower.events("newBlock", "bestBlockChanged", "finalized")
        assert final["prunedBlockHashes"] == []

        # Blocks 3 and 4 are replaced by 3, 4 and 5, after which block 2 is final.
        newest = await client.call("dev_reorg", 2)
        *new, best, final = await follower.events(
            "newBlock", "newBlock", "newBlock", "bestBlockChanged", "finalized"
        )
        assert new[0]["parentBlockHash"] == second
        assert new[2]["blockHash"] == best["bestBlockHash"] == newest
        assert final["finalizedBlockHashes"] == [second]
        assert final["prunedBlockHashes"] == []
        assert await client.call("chain_getBlock", replaced) is None
        for block, number in ((second, 2), (replaced, 3), (top, 4)):
            expected = {"key": NUMBER, "value": f"0x{number:02x}000000"}
            assert await follower.storage(block, ("value", NUMBER)) == [expected]
        header = await follower.call("header", top)
        assert blake2_256(bytes.fromhex(header[2:])).hex() == top[2:]
        await follower.call("body", replaced)
        [body] = await follower.events("operationBodyDone")
        assert extrinsic in body["value"]
        alice = "0x" + wallet.alice.public_key.hex()
        for block, nonce in ((second, 0), (replaced, 1)):
            await follower.call("call", block, "AccountNonceApi_account_nonce", alice)
            [done] = await follower.events("operationCallDone")
            assert done["output"] == f"0x{nonce:02x}000000"

        # Once the other branch is final, this one is pruned; pinned it stays readable.
        await client.call("dev_newBlock")
        _, _, final = await follower.events("newBlock", "bestBlockChanged", "finalized")
        assert sorted(final["prunedBlockHashes"]) == sorted([replaced, top])
        assert await follower.storage(top, ("value", NUMBER))
        assert await follower.call("unpin", [top]) is None
        assert await follower.refused("header", top) == -32801
        assert await follower.storage(replaced, ("value", NUMBER))
        assert await follower.call("unpin", replaced) is None
        await client.call("dev_newBlock")
        assert await running.node.run(lambda chain: chain.verify()) == 7
        assert await follower.refused("storage", replaced, [], None) == -32801


async def test_a_head_that_is_set_back() -> None:
    async with serving(finality_lag=5) as running, connected(running) as client:
        first = await client.call("dev_newBlock")
        second = await client.call("dev_newBlock")
        follower = await follow(client)
        await follower.events("initialized", "newBlock", "newBlock", "bestBlockChanged")
        await client.call("dev_setHead", first)
        [best] = await follower.events("bestBlockChanged")
        assert best["bestBlockHash"] == first
        timestamp = await running.node.run(lambda chain: chain.now_ms() + 60_000)
        other = await client.call("dev_newBlock", {"timestamp": timestamp})
        new, best = await follower.events("newBlock", "bestBlockChanged")
        assert new["parentBlockHash"] == first
        assert best["bestBlockHash"] == other != second
        # A fork of a fork, deeper: what was taken back first is pruned with the rest.
        genesis = await client.call("chainSpec_v1_genesisHash")
        await client.call("dev_setHead", genesis)
        await follower.events("bestBlockChanged")
        assert await follower.storage(other, ("value", NUMBER)) == [
            {"key": NUMBER, "value": "0x02000000"}
        ]
        await client.call("dev_newBlock", 6)
        *_, final = await follower.events(*["newBlock"] * 6, "bestBlockChanged", "finalized")
        assert sorted(final["prunedBlockHashes"]) == sorted([first, second, other])


async def test_storage(wallet: Any) -> None:
    async with serving() as running, connected(running) as client:
        await client.call("dev_newBlock", 2)
        follower = await follow(client)
        await follower.events("initialized", "bestBlockChanged")
        head = await client.call("chain_getBlockHash")
        value = b"\2\0\0\0"
        assert await follower.storage(
            head, ("value", NUMBER), ("hash", NUMBER), ("value", "0x00"), ("hash", "0x00")
        ) == [
            {"key": NUMBER, "value": "0x" + value.hex()},
            {"key": NUMBER, "hash": "0x" + blake2_256(value).hex()},
        ]
        pairs = await client.call("state_getPairs", SYSTEM)
        assert len(pairs) > 10
        found = await follower.storage(head, ("descendantsValues", SYSTEM), ("value", NUMBER))
        assert [[each["key"], each["value"]] for each in found[:-1]] == pairs
        found = await follower.storage(head, ("descendantsHashes", SYSTEM))
        assert [each["hash"] for each in found] == [
            "0x" + blake2_256(bytes.fromhex(text[2:])).hex() for _, text in pairs
        ]
        header = await client.call("chain_getHeader")
        [root] = await follower.storage(head, ("closestDescendantMerkleValue", "0x"))
        assert root["closestDescendantMerkleValue"] == header["stateRoot"]
        # So does that of an old block, a hundred blocks later.
        await client.call("dev_newBlock", 100)
        await follower.events(*["newBlock"] * 100, "bestBlockChanged", "finalized")
        assert await follower.storage(head, ("closestDescendantMerkleValue", "0x")) == [root]
        assert await follower.storage(head, ("value", NUMBER))
        # The same node stands for a key and for any longer key that only it begins.
        near, nearer, none = (NUMBER[:60], NUMBER, NUMBER + "00")
        values = await follower.storage(
            head, *(("closestDescendantMerkleValue", key) for key in (near, nearer, none))
        )
        assert [each["key"] for each in values] == [near, nearer]
        assert len({each["closestDescendantMerkleValue"] for each in values}) == 1
        assert await follower.storage(head, ("value", NUMBER[2:])) == [
            {"key": NUMBER, "value": "0x" + value.hex()}
        ]
        await follower.call("call", head, "Core_version", "")
        [done] = await follower.events("operationCallDone")
        assert done["output"].startswith("0x18" + b"datdot".hex())
        started = await follower.call("storage", head, [{"type": "value", "key": NUMBER}], "0x01")
        assert started["discardedItems"] == 0
        [done] = await follower.events("operationStorageDone")
        assert done["operationId"] == started["operationId"]


async def test_a_long_answer_comes_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_head, "PAGE_ITEMS", 3)
    monkeypatch.setattr(chain_head, "MAX_ITEMS", 2)
    monkeypatch.setattr(chain_head, "MAX_OPERATIONS", 2)
    async with serving() as running, connected(running) as client:
        first = await client.call("dev_newBlock")
        follower = await follow(client)
        await follower.events("initialized", "bestBlockChanged")
        pairs = await client.call("state_getPairs", SYSTEM)
        descendants = {"type": "descendantsValues", "key": SYSTEM}
        one, two = [await follower.call("storage", first, [descendants] * 5, None) for _ in "ab"]
        assert one["discardedItems"] == 3
        assert await follower.call("storage", first, [descendants], None) == {
            "result": "limitReached"
        }
        for operation in (one, two):
            items, waiting = await follower.events(
                "operationStorageItems", "operationWaitingForContinue"
            )
            assert len(items["items"]) == 3
            assert items["operationId"] == waiting["operationId"] == operation["operationId"]
        # The operation goes on about its block, whatever becomes of the chain and of the pin.
        await client.call("dev_newBlock")
        await follower.events("newBlock", "bestBlockChanged", "finalized")
        await follower.call("unpin", first)
        assert await follower.call("stopOperation", two["operationId"]) is None
        assert await follower.call("continue", two["operationId"]) is None
        found = items["items"]
        while True:
            assert await follower.call("continue", one["operationId"]) is None
            event = await follower.event()
            if event["event"] == "operationStorageDone":
                break
            if event["event"] == "operationStorageItems":
                found += event["items"]
                assert len(event["items"]) <= 3
                following = await follower.event()
                if following["event"] == "operationStorageDone":
                    break
                assert following["event"] == "operationWaitingForContinue"
        assert [[each["key"], each["value"]] for each in found] == pairs * 2
        assert await follower.call("continue", one["operationId"]) is None


async def test_errors_of_operations() -> None:
    async with serving() as running, connected(running) as client:
        follower = await follow(client)
        await follower.events("initialized", "bestBlockChanged")
        genesis = await client.call("chainSpec_v1_genesisHash")
        unknown = "0x" + "11" * 32
        for name, *params in (
            ("header", unknown),
            ("body", unknown),
            ("call", unknown, "Core_version", "0x"),
            ("storage", unknown, [], None),
            ("unpin", unknown),
            ("unpin", [genesis, unknown]),
        ):
            assert await follower.refused(name, *params) == -32801
        assert await follower.refused("unpin", [genesis, genesis]) == -32804
        assert await follower.call("header", genesis), "and nothing was unpinned"
        started = await follower.call("call", genesis, "Nothing_here", "0x")
        [error] = await follower.events("operationError")
        assert error["operationId"] == started["operationId"]
        assert "Nothing_here" in error["error"]
        await follower.call("call", genesis, "AccountNonceApi_account_nonce", "0x00")
        [error] = await follower.events("operationError")
        assert "trapped" in error["error"]
        plain = await follow(client, with_runtime=False)
        await plain.events("initialized", "bestBlockChanged")
        assert await plain.refused("call", genesis, "Core_version", "0x") == -32802

        # A subscription that is not there is no error, as it may have been stopped just now.
        gone = Follower(client, "gone")
        assert await gone.call("header", genesis) is None
        for name, *params in (
            ("body",),
            ("call", "Core_version", "0x"),
            ("storage", [], None),
        ):
            assert await gone.call(name, genesis, *params) == {"result": "limitReached"}
        for name, argument in (("unpin", genesis), ("continue", "x"), ("stopOperation", "x")):
            assert await gone.call(name, argument) is None
        assert await client.call("chainHead_v1_unfollow", "gone") is None


async def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_head, "MAX_PINNED", 20)
    async with serving() as running, connected(running) as client:
        followers = [await follow(client) for _ in range(4)]
        for follower in followers:
            await follower.events("initialized", "bestBlockChanged")
        assert (await client.refused("chainHead_v1_follow", True))["code"] == -32800
        for follower in followers[1:]:
            await client.call("chainHead_v1_unfollow", follower.id)
        genesis = await client.call("chainSpec_v1_genesisHash")
        await client.call("dev_newBlock", 19)
        *_, final = await followers[0].events(*["newBlock"] * 19, "bestBlockChanged", "finalized")
        await followers[0].call("unpin", [genesis, *final["finalizedBlockHashes"][:-1]])
        await client.call("dev_newBlock", 19)
        await followers[0].events(*["newBlock"] * 19, "bestBlockChanged", "finalized")
        await client.call("dev_newBlock")
        await followers[0].events("stop")
        assert await followers[0].call("header", genesis) is None
        another = await follow(client)
        await another.events("initialized", "bestBlockChanged")


async def test_more_blocks_at_once_than_are_remembered_stop_the_subscription() -> None:
    async with serving() as running, connected(running) as client:
        follower = await follow(client)
        await follower.events("initialized", "bestBlockChanged")
        await client.call("dev_newBlock", chain_head.MAX_PINNED)
        await follower.events("stop")


async def test_pinned_states_are_not_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(kept_states=1) as running, connected(running) as client:
        first = await client.call("dev_newBlock")
        follower = await follow(client)
        initialized, _ = await follower.events("initialized", "bestBlockChanged")
        genesis = await client.call("chainSpec_v1_genesisHash")
        assert initialized["finalizedBlockHashes"] == [genesis, first]
        await follower.call("unpin", genesis)
        await client.call("dev_newBlock", 8)
        await follower.events(*["newBlock"] * 8, "bestBlockChanged", "finalized")
        assert await follower.storage(first, ("value", NUMBER)) == [
            {"key": NUMBER, "value": "0x01000000"}
        ]
        assert (await client.refused("state_getStorage", NUMBER, genesis))["code"] == 4003
        await follower.call("unpin", first)
        await client.call("dev_newBlock")
        assert (await client.refused("state_getStorage", NUMBER, first))["code"] == 4003
        await follower.events("newBlock", "bestBlockChanged", "finalized")
        monkeypatch.setattr("datdot_node.chain._HELD_BACK", 3)
        await client.call("dev_newBlock", 2)
        await follower.events("stop")


async def test_too_many_forks_stop_the_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "MAX_TAKEN_BACK", 2)
    async with serving(finality_lag=9) as running, connected(running) as client:
        await client.call("dev_newBlock", 2)
        follower = await follow(client)
        await follower.events("initialized", "newBlock", "newBlock", "bestBlockChanged")
        await client.call("dev_reorg", 1)
        await follower.events("newBlock", "newBlock", "bestBlockChanged")
        await client.call("dev_reorg", 2)
        await follower.events("stop")


async def test_a_client_that_goes_lets_its_pins_go(wallet: Any) -> None:
    async with serving(finality_lag=2) as running:
        async with connected(running) as client:
            await _fork_seen_by(running, client)
            assert await running.node.run(_taken_back) == 1
            await client.call("transaction_v1_broadcast", "0x" + wallet.transfer(5).hex())
            assert len(await running.node.run(lambda chain: chain.pool.future())) == 1
        async with connected(running) as other:
            # The server notices in its own time that a connection has ended.
            while await running.node.run(_readers):
                await other.call("dev_newBlock")
            await other.call("dev_newBlock")
            assert await running.node.run(_taken_back) == 0
            assert await running.node.run(lambda chain: chain._broadcasts) == []


class Tree:
    """What a client knows by its events, held against the rules of the specification."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}
        self.final: list[str] = []
        self.pruned: set[str] = set()
        self.best = ""

    def hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "initialized":
            self.final = event["finalizedBlockHashes"]
        elif event["event"] == "newBlock":
            block, parent = event["blockHash"], event["parentBlockHash"]
            assert block not in self.parents
            assert block not in self.final
            assert parent == self.final[-1] or parent in self.parents
            assert parent not in self.pruned
            self.parents[block] = parent
        elif event["event"] == "bestBlockChanged":
            self.best = event["bestBlockHash"]
            assert self.final[-1] in self.lineage(self.best)
        else:
            assert event["event"] == "finalized"
            for block in event["finalizedBlockHashes"]:
                assert self.parents[block] == self.final[-1]
                self.final.append(block)
            assert self.final[-1] in self.lineage(self.best)
            for block in event["prunedBlockHashes"]:
                assert block not in self.pruned
                assert self.final[-1] not in self.lineage(block)
                self.pruned.add(block)
            for block in self.parents:
                known = block in self.final or block in self.pruned
                assert known or self.final[-1] in self.lineage(block), "neither final nor pruned"

    def lineage(self, block: str) -> list[str]:
        """A block and its ancestors, as far as the client knows them."""
        lineage = [block]
        while lineage[-1] in self.parents:
            lineage.append(self.parents[lineage[-1]])
        return lineage


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_the_chain_does_the_events_make_one_tree(seed: int) -> None:
    """Random growth, forks and unpinning: every rule holds, every pinned block stays readable."""
    random = Random(seed)
    lag = random.randrange(1, 9)
    async with serving(finality_lag=lag) as running, connected(running) as client:
        await client.call("dev_newBlock", random.randrange(1, 12))
        follower, tree, unpinned = await follow(client), Tree(), set[str]()
        for _ in range(25):
            await _something_happens(client, random)
            best = await client.call("chain_getBlockHash")
            while client.notifications:
                tree.hear(await follower.event())
            assert tree.best == best
            assert tree.final[-1] == await client.call("chain_getFinalizedHead")
            pinned = sorted({*tree.parents, *tree.final} - unpinned)
            for block in random.sample(pinned, min(len(pinned), 3)):
                encoded = bytes.fromhex((await follower.call("header", block))[2:])
                assert "0x" + blake2_256(encoded).hex() == block
                value = "0x" + Header.decode(encoded).number.to_bytes(4, "little").hex()
                # Genesis has no value there.
                expected = [{"key": NUMBER, "value": value}] if value != "0x00000000" else []
                assert await follower.storage(block, ("value", NUMBER)) == expected
            if random.random() < 0.3:
                gone = random.sample(pinned, len(pinned) // 3)
                await follower.call("unpin", gone)
                unpinned.update(gone)
        assert await running.node.run(lambda chain: chain.verify())


async def _something_happens(client: Client, random: Random) -> None:
    """Blocks are made, replaced or taken back; what is final stays, and the call is refused."""
    number = int((await client.call("chain_getHeader"))["number"], 16)
    final = await client.call("chain_getHeader", await client.call("chain_getFinalizedHead"))
    most = number - int(final["number"], 16)
    depth = random.randrange(1, 6)
    kind = random.choice(["dev_newBlock", "dev_reorg", "dev_setHead"])
    if kind == "dev_newBlock" or depth > number:
        await client.call("dev_newBlock", depth)
    elif depth > most:
        at = await client.call("chain_getBlockHash", number - depth)
        error = await client.refused(kind, at if kind == "dev_setHead" else depth)
        assert "is final" in error["message"]
    elif kind == "dev_reorg":
        await client.call("dev_reorg", depth)
    else:
        await client.call("dev_setHead", await client.call("chain_getBlockHash", number - depth))


async def _fork_seen_by(running: Running, client: Client) -> None:
    await client.call("dev_newBlock", 2)
    follower = await follow(client)
    await follower.events("initialized", "newBlock", "newBlock", "bestBlockChanged")
    await client.call("dev_reorg", 1)
    await follower.events("newBlock", "newBlock", "bestBlockChanged", "finalized")


def _taken_back(chain: Any) -> int:
    return len(chain._forks._taken_back)


def _readers(chain: Any) -> int:
    return len([pins for pins in chain._forks._pins if not pins.released])
