"""Receipts of the Node package and ours are the same bytes; the chain accepts them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from audit_world import AUDITOR, AUTHOR, HOSTER, context_for, manifest_of
from npm_peers import Peer, npm_peer

from chain_types.report import Served
from offchain_worker.audit.receipt import EXTENSION, Receipt, receipt_period, verify_receipt
from offchain_worker.audit.report import check_report, sign_report
from offchain_worker.audit.session import AuditPlan, audit
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.receipts import ReceiptCollector, signer
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.reader import Reader, open_reader
from offchain_worker.keys import KeyPair
from offchain_worker.service.keyfiles import KeyKind, write_key
from offchain_worker.swarm.dial import dial

PACKAGE = Path(__file__).parents[2] / "integrations" / "node"
STORES = ("corestore", "corestore6")
STEP_S = 60.0


@dataclass
class Hosting:
    """A feed of ours that the package's example hoster has copied whole, and serves."""

    store: FeedStore
    node: Peer
    port: int

    async def dial(self) -> trio.SocketStream:
        return await dial("127.0.0.1", self.port, timeout=STEP_S)

    async def grow(self, chunks: Sequence[bytes]) -> None:
        """Append, and wait until the example hoster has it."""
        head = append(self.store, chunks, AUTHOR)
        self.store.notify()
        await self.node.event("complete", length=head.length)


@asynccontextmanager
async def hosting(
    folder: Path, corestore: str, chunks: Sequence[bytes], *, compat: bool
) -> AsyncIterator[Hosting]:
    context, _ = context_for(1, windowed=False, compat=compat)
    write_key(folder / "noise.json", KeyKind.NOISE, bytes([2]) * 32)
    with Library(folder / "library") as library:
        store = library.create(context.feed.key, manifest_of(context.feed))
        append(store, chunks, AUTHOR)
        async with trio.open_nursery() as nursery:
            upstream = Hoster(library, KeyPair.generate())
            _, port = await nursery.start(upstream.serve, "127.0.0.1", 0)
            async with npm_peer(
                str(PACKAGE / "example" / "hoster.mjs"),
                *("--store", str(folder / "store"), "--key", str(folder / "noise.json")),
                *("--listen", "127.0.0.1:0", "--upstream", f"127.0.0.1:{port}"),
                *("--corestore", corestore, "--until-stdin-closes", store.key.hex()),
            ) as node:
                listening = await node.event("listening")
                assert listening["noiseKey"] == HOSTER.public.hex()
                await node.event("complete", length=len(chunks))
                yield Hosting(store, node, listening["port"])
            nursery.cancel_scope.cancel()


def some_chunks(count: int) -> list[bytes]:
    return [random.Random(index).randbytes(1 + index % 700) for index in range(count)]


def collected(
    reader: Reader, client: KeyPair, store: FeedStore, served: Sequence[int | Head], told: Receipt
) -> list[bytes]:
    """Our receipts for what a session was served, with the two times of the one that came."""
    collector = ReceiptCollector(
        store,
        signer(HOSTER),
        client=client.public,
        session=reader.connection.session_id,
        opened_ms=told.opened,
        first_length=next(item.length for item in served if isinstance(item, Head)),
    )
    messages = []
    for item in served:
        if isinstance(item, Head):
            collector.head_sent(item)
            continue
        leaf = store.node(2 * item)
        assert leaf is not None
        message = collector.chunk_sent(item, leaf, told.issued)
        if message is not None:
            messages.append(message)
    return messages


async def next_receipt(reader: Reader) -> bytes:
    with trio.fail_after(STEP_S):
        async for message in reader.extensions:
            assert message.name == EXTENSION
            return message.payload
    raise AssertionError("the session ended before a receipt came")


@pytest.mark.parametrize("corestore", STORES)
@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("length", [1, 40, 130])
async def test_the_same_session_gives_the_same_bytes(
    tmp_path: Path, corestore: str, compat: bool, length: int
) -> None:
    client = KeyPair.generate()
    async with (
        hosting(tmp_path, corestore, some_chunks(length), compat=compat) as peer,
        open_reader(
            await peer.dial(),
            feed_key=peer.store.key,
            keypair=client,
            expected_remote=HOSTER.public,
        ) as reader,
    ):
        before = wall_clock_ms()
        period = receipt_period(length)
        order = random.Random(length).sample(range(length), min(length, period + 20))
        grown = order[: period // 2]
        served: list[int | Head] = [reader.head, *grown]
        for index in grown:
            await reader.get(index)
        # The rest is read under a newer head, the end of it again, and then from what is new.
        more = 2 * period
        await peer.grow([b"x" * (1 + size) for size in range(more)])
        with trio.fail_after(STEP_S):
            await reader.wait_longer(length)
        served.append(reader.head)
        rest = [*order[period // 2 :], *range(length, length + more)]
        for index in rest:
            await reader.get(index)
        served.extend(rest)

        for sequence in range((len(order) + more) // period):
            message = await next_receipt(reader)
            receipt = verify_receipt(message, HOSTER.public)
            assert before - 60_000 < receipt.opened <= receipt.issued <= wall_clock_ms()
            assert receipt.sequence == sequence
            ours = collected(reader, client, peer.store, served, receipt)
            assert ours[sequence] == message


@pytest.mark.parametrize("corestore", STORES)
@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("windowed", [False, True])
async def test_an_audit_is_served(
    tmp_path: Path, corestore: str, compat: bool, windowed: bool
) -> None:
    async with hosting(tmp_path, corestore, some_chunks(150), compat=compat) as peer:
        context, w = context_for(140, windowed=windowed, compat=compat)
        now = wall_clock_ms()
        context = replace(context, window_start_ms=now, window_ms=200, clock_tolerance_ms=30_000)
        plan = AuditPlan(
            feed_key=context.feed.key,
            hoster=HOSTER.public,
            audit_key=AUDITOR,
            fork=0,
            length=context.length,
            drawn=context.drawn(w),
            habit=context.habit(w),
            chunks=context.chunks,
            proved=context.proved,
            moment=context.moment(w),
            end_ms=now + 120_000,
            chunk_timeout_ms=20_000,
            clock_tolerance_ms=context.clock_tolerance_ms,
        )
        result = await audit(plan, peer.dial, clock_ms=wall_clock_ms, choices=random.Random(1))
        assert result.detail == ""
        assert isinstance(result.outcome, Served)
        report = sign_report(
            w=w,
            audit_key=AUDITOR,
            topic=context.topic,
            account=context.account,
            outcome=result.outcome,
        )
        assert check_report(report, context) == result.receipt
        assert result.receipt is not None
        assert len(result.receipt.entries) == 100
