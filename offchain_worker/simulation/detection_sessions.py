"""The same draws through real audited sessions, against a hoster in this process.

What `detection` computes with sets, whole sessions do here: they read the drawn chunks and further
ones, from a hoster that announces all chunks and has lost some, and must come to the reason.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing

from chain_types.report import Failure, Reason
from offchain_worker.audit.session import Audit, AuditPlan, audit
from offchain_worker.coinflip.draws import chunk_seed, drawn_chunks, session_habit
from offchain_worker.hoster.adversary import losing_hoster
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.keys import KeyPair
from offchain_worker.simulation.detection import (
    CHUNKS,
    DRAWN,
    Figure,
    Pattern,
    exact_sight,
    missing_chunks,
)
from offchain_worker.simulation.dice import stream

LOSS = 0.007
"""About half of the audits see it."""
CHUNK_BYTES = 32
PROVED = 32
TIMEOUT_MS = 60_000
TOLERANCE_MS = 60_000


@dataclass(frozen=True)
class Sessions:
    """What the sessions found.

    Attributes:
        missing: how many chunks the hoster had lost.
        drawn: the sessions that drew one of them, beside the exact figure.
        failed: those that failed: these, and those that met one among their further chunks.
        chunks: how many chunks were read in all.
        wrong: a sentence for each session that came to another end than it must.
    """

    missing: int
    drawn: Figure
    failed: int
    chunks: int
    wrong: tuple[str, ...]


def verdict(result: Audit, drawn: list[int], missing: frozenset[int]) -> str | None:
    """What is wrong with how a session ended, if anything.

    It must fail if a drawn chunk is missing, may fail by a further one, and then says NoData and
    names a chunk that is missing.
    """
    failed = isinstance(result.outcome, Failure)
    if not failed:
        return None if missing.isdisjoint(drawn) else "served although a drawn chunk is missing"
    if result.outcome != Failure(reason=Reason.NO_DATA, demand=None):
        return f"failed otherwise: {result.detail}"
    if result.failed_chunk not in missing:
        return f"blames chunk {result.failed_chunk}, which is there"
    return None


async def measure_sessions(
    sessions: int, *, seed: int = 0, length: int = CHUNKS, drawn: int = DRAWN, loss: float = LOSS
) -> Sessions:
    """Hold so many audited sessions, one after the other, with a hoster that lost scattered chunks.

    The feed is made in a temporary folder, which is gone at the end, also when cancelled.

    Args:
        sessions: at least 1.
        seed: replays the draws; keys are fresh.
        length, drawn, loss: as for `measure_detection`.
    """
    missing = missing_chunks(length, loss, Pattern.SCATTERED, seed)
    dice = stream(f"sessions {seed}")
    author, host = KeyPair.generate(), KeyPair.generate()
    manifest = single_signer_manifest(author.public)
    hits = failed = read = 0
    wrong = []
    with (
        tempfile.TemporaryDirectory(prefix="datdot-detection-") as folder,
        Library(Path(folder)) as library,
    ):
        store = library.create(feed_key(manifest), manifest)
        append(store, (dice.randbytes(CHUNK_BYTES) for _ in range(length)), author)
        hoster = losing_hoster(library, host, missing)
        for number in range(sessions):
            chunk_dice = chunk_seed(*(dice.randbytes(32) for _ in range(4)))
            chunks = drawn_chunks(chunk_dice, length, drawn)
            now = wall_clock_ms()
            plan = AuditPlan(
                feed_key=store.key,
                hoster=host.public,
                audit_key=KeyPair.generate(),
                fork=0,
                length=length,
                drawn=chunks,
                habit=session_habit(chunk_dice),
                chunks=drawn,
                proved=min(PROVED, drawn),
                moment=now,
                end_ms=now + 10 * TIMEOUT_MS,
                chunk_timeout_ms=TIMEOUT_MS,
                clock_tolerance_ms=TOLERANCE_MS,
            )
            result = await _hold(plan, hoster, dice)
            hits += not missing.isdisjoint(chunks)
            failed += isinstance(result.outcome, Failure)
            read += result.chunks
            sentence = verdict(result, chunks, missing)
            if sentence is not None:
                wrong.append(f"session {number} {sentence}")
    exact = float(exact_sight(length, missing, drawn))
    return Sessions(len(missing), Figure(hits, sessions, exact), failed, read, tuple(wrong))


async def _hold(plan: AuditPlan, hoster: Hoster, choices: random.Random) -> Audit:
    """One session over memory streams."""
    async with trio.open_nursery() as serving:

        async def dial() -> trio.abc.Stream:
            near, far = trio.testing.memory_stream_pair()
            serving.start_soon(hoster.serve_stream, far)
            return near

        result = await audit(plan, dial, clock_ms=wall_clock_ms, choices=choices)
        serving.cancel_scope.cancel()
    return result


def sessions_lines(found: Sessions) -> list[str]:
    """Lines to print."""
    drawn, trials = found.drawn, found.drawn.trials
    return [
        f"{trials} audited sessions with a hoster that misses {found.missing} chunks: "
        f"{drawn.seen} drew one ({100 * drawn.measured:.1f} %, exact {100 * drawn.exact:.1f} %),",
        f"{found.failed} failed, {found.chunks} chunks were read; "
        f"{len(found.wrong)} came to a wrong end",
        *found.wrong,
    ]
