"""The coinflip of one challenge: its attempts, one after the other, and the anchoring of R."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from chain_types import storage
from chain_types.calls import AnchorFlip
from chain_types.records import Opening, Role
from chain_types.scale import DecodeError
from offchain_worker.attestor.context import known_expulsions
from offchain_worker.attestor.decisions import Progress, Stage
from offchain_worker.attestor.membership import Membership
from offchain_worker.attestor.progress import RunLog
from offchain_worker.chain.errors import ChainError
from offchain_worker.coinflip.attempts import Attempt, Expulsion
from offchain_worker.coinflip.effects import Anchor, Found
from offchain_worker.coinflip.evidence import Evidence
from offchain_worker.coinflip.journal import JournalError
from offchain_worker.coinflip.participation import Participation
from offchain_worker.swarm.roster import Attended, PeerAddress, RunEvent


class Coinflip:
    """This member's way through the attempts.

    Args:
        member: ours.
        nursery: runs the anchoring, which goes on when its attempt is over.
        on_evidence: is told of evidence, which the journal has, and of the attempt it is from.
    """

    def __init__(
        self,
        member: Membership,
        nursery: trio.Nursery,
        on_evidence: Callable[[Evidence, Attempt], None],
    ) -> None:
        self._member = member
        self._log = member.log
        self._nursery = nursery
        self._on_evidence = on_evidence
        self._participation = Participation(member.attempts, member.place)

    async def run(self) -> Progress:
        """All attempts, one after the other, until the chain has R or none is left.

        One that is under way then goes on to its Tx: peers may still need what we hold. Where the
        chain cannot be read it is not done, and the next call goes on; without a journal that lets
        us sign it is impossible.

        Cancelled, it drops its connections; the journal has what was signed, and after a restart
        tells in which attempts we may go on.

        Raises:
            OperationError: the store cannot be used.
        """
        member, participation = self._member, self._participation
        if not member.has_our_key():
            return Progress.IMPOSSIBLE
        try:
            await self._pass_over()
            while member.stage is Stage.FLIP and member.flip is None:
                if participation.attempt is not None:
                    await self._attend(participation.attempt)
                elif participation.next_ms is not None:
                    await self._wait_for(participation.next_ms)
                else:
                    break
        except JournalError as error:
            self._log.error("coinflip.silent", reason=str(error))
            return Progress.IMPOSSIBLE
        except (ChainError, DecodeError) as error:
            self._log.warning("coinflip.chain_unreadable", reason=str(error))
            return Progress.NOT_STARTED
        return Progress.DONE

    async def _pass_over(self) -> None:
        """After a restart: leave the attempts behind that ended meanwhile."""
        tools, participation = self._member.tools, self._participation
        now_ms = tools.clock_ms()
        attempt = participation.attempt
        if attempt is None or now_ms < attempt.schedule.end_ms:
            return
        expulsions = await self._expulsions_before(now_ms)
        resume = partial(
            participation.resume,
            now_ms,
            may_retry=tools.journal.may_retry,
            expulsions=expulsions,
        )
        await trio.to_thread.run_sync(resume)

    async def _wait_for(self, start_ms: int) -> None:
        """Wait until the next attempt begins, and learn who is in it."""
        await self._member.sleep_until(start_ms)
        expulsions = await self._expulsions_before(start_ms)
        self._participation.go_on(expulsions)
        if self._participation.attempt is None:
            self._log.info("coinflip.no_further_attempt")

    async def _expulsions_before(self, start_ms: int) -> list[Expulsion]:
        """What the finalized chain holds, once it has all that counts for attempts begun by then.

        Attempts know expulsions up to a timestamp that is older than finality takes
        (coinflip.md §3); a chain that lags is waited for.
        """
        member = self._member
        head = await member.reached(member.attempts.settled_ms(start_ms))
        found = await member.tools.client.read(storage.EXPULSIONS, member.id, at=head.hash)
        return known_expulsions(found)

    async def _attend(self, attempt: Attempt) -> None:
        """Run one attempt to its end, and note down what it came to."""
        member, topic = self._member, attempt.flip.topic
        tools = member.tools
        begin = partial(tools.journal.begin, topic, started_ms=attempt.schedule.start_ms)
        begun = await trio.to_thread.run_sync(begin)
        machine = tools.make_machine(attempt, tools.session_key, begun)
        peers = await self._addresses(attempt)
        run_log = RunLog(member.log, attempt, len(member.challenge.roster))

        def on_event(event: RunEvent) -> None:
            run_log.hear(event)
            if isinstance(event, Anchor):
                self._nursery.start_soon(self._anchor, event, topic)
            elif isinstance(event, Found):
                self._on_evidence(event.evidence, attempt)

        self._log.info("coinflip.begun", attempt=attempt.flip.attempt, members=attempt.places)
        attended = await tools.swarm.run(machine, peers, journal=tools.journal, on_event=on_event)
        conclude = partial(tools.journal.conclude, topic, may_retry=machine.may_retry)
        await trio.to_thread.run_sync(conclude)
        self._participation.conclude(may_retry=machine.may_retry)
        self._log_run(attempt, attended)
        await self._save_peers(attempt, attended)

    def _log_run(self, attempt: Attempt, attended: Attended) -> None:
        """One line for operators: how an attempt went."""
        self._log.info(
            "coinflip.statistics",
            attempt=attempt.flip.attempt,
            members=attempt.places,
            **attended.statistics.fields(),
            next_ms=self._participation.next_ms,
            measured=[
                {
                    "member": attempt.places[peer.index],
                    "rtt_p50_us": peer.rtt_p50_us,
                    "throughput": peer.throughput,
                }
                for peer in attended.peers
            ],
        )

    async def _save_peers(self, attempt: Attempt, attended: Attended) -> None:
        """Keep what was measured, by places of the start roster; a later figure takes the place.

        It belongs to the challenge, whichever attempt, or the fallback, gives R.
        """
        store, topic = self._member.tools.store, self._member.first_topic
        known = (await trio.to_thread.run_sync(store.load, topic)).peers
        figures = {peer.index: peer for peer in known}
        for peer in attended.peers:
            place = attempt.places[peer.index]
            figures[place] = replace(peer, index=place)
        peers = tuple(figures[place] for place in sorted(figures))
        await trio.to_thread.run_sync(store.save_peers, topic, peers)

    async def _addresses(self, attempt: Attempt) -> list[PeerAddress]:
        roster = self._member.challenge.roster
        members = [roster[place] for place in attempt.places]
        found = await self._member.tools.client.endpoints(
            Role.ATTESTOR, [member.account for member in members]
        )
        return [
            PeerAddress(member.session_key, found[member.account].host, found[member.account].port)
            for member in members
            if member.account in found
        ]

    async def _anchor(self, anchor: Anchor, topic: bytes) -> None:
        """Anchor once our turn has come, unless another member did meanwhile.

        As long as the chain can take it, what came to nothing for lack of a connection is tried
        again; it is one transaction all the same.
        """
        member = self._member
        await member.sleep_until(anchor.not_before_ms)
        call = AnchorFlip(
            id=member.id,
            attempt=anchor.attempt,
            openings=tuple(Opening(o.z, o.salt, o.x) for o in anchor.openings),
            echoes=anchor.echoes,
        )
        intent, challenge = f"anchor/{topic.hex()}", member.challenge
        while member.flip is None and member.tools.clock_ms() < challenge.flip_end_ms:
            if await member.submit(call, intent, "coinflip.anchored") is not None:
                return
            await trio.sleep(challenge.timing.block_ms / 1_000)
