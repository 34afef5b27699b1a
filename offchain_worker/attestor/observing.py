"""When an attestor observes the readers of the hoster that it audits (challenge.md §3.3).

The observed session has a moment of its own, before the audit or after it, never at the same
time, so that neither slows the other down. What comes of it enters the report as `observed`; if
nothing does, the report goes without.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

import trio

from chain_types import storage
from chain_types.records import Endpoint, Role
from chain_types.scale import DecodeError
from offchain_worker.attestor.auditing import ActiveMember
from offchain_worker.attestor.decisions import Progress
from offchain_worker.attestor.membership import Membership
from offchain_worker.audit.capacity import Kind
from offchain_worker.chain.errors import ChainError
from offchain_worker.hypercore.errors import HypercoreError
from offchain_worker.swarm.observed_session import Observation, ObservationPlan, observe

LONGEST_MS = 120_000
SHARE_OF_WINDOW = 6
"""A session takes at most so long, and at most that part of the window."""
LISTENING = 0.7
"""The part of a session in which it waits for others' requests."""
GUARD_MS = 300
"""Between the observed session and the audit's moment, or END."""
MAX_HOSTINGS = 1_000
"""With more on the chain, other hosters of the feed are not looked for."""


@dataclass(frozen=True)
class Slots:
    """When an observed session may start, in ms since 1970; the second bound is no moment of it.

    Attributes:
        length_ms: of the session.
        before: so that it is over before the audit; None: there is no time for it.
        after: once the audit should be over, and so that it is over before END; None likewise.
    """

    length_ms: int
    before: tuple[int, int] | None
    after: tuple[int, int] | None

    def draw(self, choices: random.Random) -> tuple[int, bool] | None:
        """A moment, uniformly, and whether it is before the audit; None: there is no time."""
        found = [(span, span is self.before) for span in (self.before, self.after) if span]
        if not found:
            return None
        spans = [stop - start for (start, stop), _ in found]
        (start, stop), is_before = choices.choices(found, spans)[0]
        return choices.randrange(start, stop), is_before


def slots(now_ms: int, window_ms: int, moment_ms: int, end_ms: int, chunk_timeout_ms: int) -> Slots:
    """When an observed session may start.

    Args:
        now_ms: not before.
        window_ms: of the timing.
        moment_ms: the audit's; it is expected to take some `chunk_timeout_ms`, and waited for.
        end_ms: END.
        chunk_timeout_ms: of the timing.
    """
    length = min(LONGEST_MS, window_ms // SHARE_OF_WINDOW)
    before = now_ms, moment_ms - GUARD_MS - length
    after = max(now_ms, moment_ms + chunk_timeout_ms), end_ms - GUARD_MS - length
    return Slots(
        length,
        before if before[0] < before[1] else None,
        after if after[0] < after[1] else None,
    )


async def observe_readers(member: Membership, active: ActiveMember) -> Progress:
    """Wait for a moment, hold the observed session, and keep its figures.

    Cancelled, it drops the session; nothing is kept. Whatever goes wrong is logged and ends this
    session only.
    """
    log, flip = member.log, member.flip
    if flip is None or active.moment_ms is None:
        raise RuntimeError("who observes knows R and its own moment")
    try:
        return await _observe_readers(member, active, flip.topic, active.moment_ms)
    except (HypercoreError, ChainError, DecodeError) as error:
        log.info("observe.failed", reason=f"{type(error).__name__}: {error}")
    except Exception:
        # The audit and its report must not depend on this.
        log.exception("observe.crashed")
    return Progress.IMPOSSIBLE


async def _observe_readers(
    member: Membership, active: ActiveMember, topic: bytes, moment_ms: int
) -> Progress:
    log, tools, challenge = member.log, member.tools, member.challenge
    timing, choices = challenge.timing, random.SystemRandom()
    work = await trio.to_thread.run_sync(tools.store.load, topic)
    if work.observed is not None:
        return Progress.DONE
    now_ms = tools.clock_ms()
    found = slots(now_ms, timing.window_ms, moment_ms, challenge.end_ms, timing.chunk_timeout_ms)
    drawn = found.draw(choices)
    if drawn is None:
        log.info("observe.skipped", reason="there is no time for it beside the audit")
        return Progress.IMPOSSIBLE
    start_ms, is_before = drawn
    await member.sleep_until(start_ms)
    if not is_before:
        await active.over.wait()
    until_ms = (moment_ms if is_before else challenge.end_ms) - GUARD_MS
    if (left_ms := until_ms - tools.clock_ms()) < found.length_ms // 2:
        log.info("observe.skipped", reason="too little time was left")
        return Progress.IMPOSSIBLE
    plan = await _plan(member, active, min(left_ms, found.length_ms), choices)
    if plan is None:
        log.info("observe.skipped", reason="the hoster has no endpoint on chain")
        return Progress.IMPOSSIBLE
    way = tools.ways.towards(challenge.noise_key, member.id, lambda: active.hoster)
    await way.prepare()
    log.info("observe.began")
    with tools.capacity.seat(Kind.OBSERVED, way) as seat:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            return await seat.connect(partial(way.dial, host, port))

        observation = await observe(plan, dial, choices)
    if tools.clock_ms() >= challenge.end_ms:
        log.info("observe.skipped", reason="it took too long")
        return Progress.IMPOSSIBLE
    await trio.to_thread.run_sync(tools.store.save_observed, topic, observation.figures)
    _tell(member, observation)
    return Progress.DONE


async def _plan(
    member: Membership, active: ActiveMember, length_ms: int, choices: random.Random
) -> ObservationPlan | None:
    challenge, started = member.challenge, trio.current_time()
    if active.hoster is None:
        return None
    others = await _other_hosters(member, choices)
    return ObservationPlan(
        feed_key=challenge.feed.key,
        hoster=Endpoint.of(*active.hoster),
        hoster_key=challenge.noise_key,
        fork=challenge.fork,
        length=challenge.length,
        others=others,
        listen_s=LISTENING * length_ms / 1_000,
        until=started + length_ms / 1_000,
        timeout_s=challenge.timing.chunk_timeout_ms / 1_000,
    )


async def _other_hosters(member: Membership, choices: random.Random) -> list[Endpoint]:
    """Where some other hosters of the feed listen.

    Raises:
        DecodeError: the chain's values cannot be read.
    """
    client, challenge, at = member.tools.client, member.challenge, member.head.hash
    try:
        hostings = await client.entries(storage.HOSTINGS, at=at, limit=MAX_HOSTINGS)
        accounts = sorted(
            {
                hosting.hoster
                for _keys, hosting in hostings
                if hosting is not None
                and hosting.feed == challenge.feed.key
                and hosting.hoster != challenge.hoster
                and hosting.vouched is not None
            }
        )
        some = choices.sample(accounts, min(2, len(accounts)))
        return list((await client.endpoints(Role.HOSTER, some, at=at)).values())
    except ChainError as error:
        member.log.info("observe.no_other_hosters", reason=str(error))
        return []


def _tell(member: Membership, observation: Observation) -> None:
    figures = observation.figures
    member.log.info(
        "observe.finished",
        chunks=figures.chunks,
        latency_p50_us=figures.latency_p50_us,
        throughput=figures.throughput,
        pattern=str(observation.pattern),
        source=observation.source,
        peers=observation.peers,
        requests=observation.requests,
    )
