"""The observed session (challenge.md §3.3): a hoster measured as its readers use it.

With keys of its own the attestor becomes one of the feed's peers: it takes a few blocks from the
hoster, joins whoever the chain and other peers name, offers them what it holds, and records what
they ask for. What most of them do it then does at the hoster, and measures that. With nobody to
observe it reads like one of the usual readers.

Nothing here touches the audited session, and no proof rests on it: a hoster could plant readers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from chain_types.records import Endpoint
from chain_types.report import Observed
from offchain_worker.hypercore.connection import Connection
from offchain_worker.hypercore.errors import NoData, NotHosted
from offchain_worker.hypercore.peer import Peer, PeerEvents
from offchain_worker.hypercore.reader import Timeouts
from offchain_worker.hypercore.sparse import SparseFeed
from offchain_worker.measurement.session import Transfer, observed_figures
from offchain_worker.swarm.feed_swarm import Dial, FeedSwarm, Member, open_feed_swarm
from offchain_worker.swarm.patterns import (
    RequestLog,
    RequestPattern,
    draw_model,
    most_common,
    requests_of,
)

RUNS = 2
RUN_BLOCKS = 12
"""What is held from the start: so many runs of so many blocks, anywhere in the feed."""
LEAD_BLOCKS = 2
AHEAD_BLOCKS = 16
"""For each peer that announces what it reads: so many blocks, so far ahead of it."""
MAX_HELD = 128
REPEATED = 48
"""Blocks that are read in the readers' pattern."""
HELD_BYTES = 16 * 1024 * 1024
MAX_OTHERS = 2
"""Other hosters of the feed that are joined."""
MAX_TOLD = 4
"""Peers that others told of and that are joined."""
LOOK_S = 0.1


@dataclass(frozen=True)
class ObservationPlan:
    """What to observe.

    Attributes:
        feed_key: 32 bytes.
        hoster: where it listens.
        hoster_key: its 32-byte Noise key.
        fork, length: as vouched.
        others: where further hosters of the feed listen.
        listen_s: how long others' requests are waited for, joining them included.
        until: when everything is over, in seconds of `trio.current_time`.
        timeout_s: for each step that waits for a peer.
    """

    feed_key: bytes
    hoster: Endpoint
    hoster_key: bytes
    fork: int
    length: int
    others: Sequence[Endpoint]
    listen_s: float
    until: float
    timeout_s: float


@dataclass(frozen=True)
class Observation:
    """What came of it.

    Attributes:
        figures: for the report.
        pattern: in which the hoster was read.
        source: whose pattern it is: `readers`, or the name of a model.
        peers: how many peers were connected besides the hoster.
        requests: how many requests of theirs were seen.
    """

    figures: Observed
    pattern: RequestPattern
    source: str
    peers: int
    requests: int


async def observe(plan: ObservationPlan, dial: Dial, choices: random.Random) -> Observation:
    """Hold the session. Cancelled, it closes all its connections and leaves nothing behind.

    Args:
        plan: what to observe.
        dial: connects to the hoster and to other peers.
        choices: for what is chosen at random; unpredictable to the hoster.

    Raises:
        HypercoreError: the hoster cannot be reached, or did not serve what a reader asked for;
            NoData also when the time was over before a block had come.
    """
    logs: list[RequestLog] = []

    def record(connection: Connection) -> PeerEvents:
        # A handshake goes to the peer and back twice, and takes some time of its own.
        log = RequestLog(connection.handshake_s / 2)
        logs.append(log)
        return PeerEvents(requested=log.requested, answered=log.answered)

    feed = SparseFeed(plan.feed_key, capacity=HELD_BYTES)
    limit = plan.timeout_s
    listen_until = trio.current_time() + plan.listen_s
    async with open_feed_swarm(
        feed,
        dial,
        choices=choices,
        timeouts=Timeouts(handshake=limit, head=limit, block=limit),
        max_told=MAX_TOLD,
        events=record,
    ) as swarm:
        pattern, source, peers = None, "readers", 0
        transfers: list[Transfer] = []
        with trio.move_on_at(plan.until):
            hoster = await swarm.join(plan.hoster.host, plan.hoster.port, plan.hoster_key)
            head = hoster.peer.reader.head
            if head.fork != plan.fork or head.length < plan.length:
                raise NotHosted(f"fork {head.fork}, length {head.length} is not what was vouched")
            with trio.move_on_at(listen_until):
                await _attract(plan, swarm, hoster, choices)
            peers = len(swarm.members - {hoster})
            found = (log.pattern(feed.held, head.length) for log in logs)
            pattern = most_common([one for one in found if one is not None], choices)
            if pattern is None:
                model = draw_model(choices)
                pattern, source = model.pattern, model.name
            await _repeat(pattern, hoster.peer, feed.held, choices, transfers)
    if pattern is None or not transfers:
        raise NoData("no block had come when the time was over")
    requests = sum(map(len, logs))
    return Observation(observed_figures(transfers), pattern, source, peers, requests)


async def _attract(
    plan: ObservationPlan, swarm: FeedSwarm, hoster: Member, choices: random.Random
) -> None:
    """Hold what others may want, and be there for them until cancelled."""
    length = hoster.peer.reader.head.length
    # Of a short feed not all is held: what is read later must be left.
    run, most = max(1, min(RUN_BLOCKS, length // 8)), min(MAX_HELD, length // 2)
    for endpoint in choices.sample(list(plan.others), min(MAX_OTHERS, len(plan.others))):
        swarm.visit(endpoint)
    for _ in range(RUNS):
        start = choices.randrange(length)
        await _hold(hoster.peer, range(start, min(start + run, length)))
    ahead: dict[Member, int] = {hoster: length}
    while True:
        for member in swarm.members:
            # Who has announced nothing, or all up to the end, shows nothing of where it reads.
            newest = member.peer.newest
            if 0 < newest < length and newest >= ahead.get(member, 0) - LEAD_BLOCKS:
                start = newest + LEAD_BLOCKS
                ahead[member] = start + AHEAD_BLOCKS
                if len(hoster.peer.feed.held) < most:
                    await _hold(hoster.peer, range(start, min(start + AHEAD_BLOCKS, length)))
                    break
        await trio.sleep(LOOK_S)


async def _hold(peer: Peer, blocks: range) -> None:
    """Take blocks from the hoster, to offer them to others."""
    missing = [index for index in blocks if not peer.feed.has(index)]
    async for block in peer.reader.download(missing, 8):
        peer.feed.add(block.index, block.data)


async def _repeat(
    pattern: RequestPattern,
    peer: Peer,
    held: frozenset[int],
    choices: random.Random,
    transfers: list[Transfer],
) -> None:
    """Read at the hoster as a reader with that pattern does; what came is in `transfers`."""
    length = peer.reader.head.length
    wanted = requests_of(pattern, length, REPEATED, held, choices)
    async for block in peer.reader.download(wanted, pattern.window):
        # One by one: what has come counts when the time is over.
        transfers.append(  # noqa: PERF401
            Transfer(block.requested, block.arrived, len(block.data))
        )
