"""Challenges that go as a script says: every key is ours, blocks are made by hand, time travels.

What attestors that fail, cheat or stay away leave on the chain; each script plays the first
challenge of a chain of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from benchmarks.world import (
    AUTHOR,
    FEED,
    HOSTER,
    LENGTH,
    MANIFEST,
    NOISE_KEY,
    SPONSOR,
    Attestor,
    FeedTree,
    World,
    submit_report,
)
from chain_types import storage
from chain_types.calls import (
    AcceptHosting,
    AnchorFlip,
    AnswerDemand,
    CloseChallenge,
    CommitFlip,
    Deregister,
    Drain,
    OpenHosting,
    PublishFeed,
    ReportFraud,
    SubmitReport,
    Undrain,
)
from chain_types.records import (
    Auditing,
    Challenge,
    Closed,
    Committing,
    Endpoint,
    Expulsion,
    Flip,
    FraudKind,
    Opening,
    Reporting,
    Role,
    Sla,
    Terms,
)
from chain_types.report import Failure, Reason, Rewritten, decode_proof
from chain_types.words import Call
from datdot_node import Chain
from datdot_node.node import Mode, Node
from datdot_node.transport import Incoming, serve_connection
from offchain_worker.attestor.context import (
    challenge_attempts,
    known_expulsions,
    report_context,
)
from offchain_worker.audit.answer import Demanded, chunk_answer
from offchain_worker.audit.report import sign_report
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient, open_chain
from offchain_worker.coinflip.attempts import Attempt, Attempts
from offchain_worker.coinflip.commitments import commitment_root
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope, signing_payload
from offchain_worker.coinflip.evidence import bad_reveal, equivocation
from offchain_worker.errors import OperationError
from offchain_worker.explorer.history import RANDOMNESS_PARENTS
from offchain_worker.hypercore.manifest import encode_manifest, signable
from offchain_worker.service.registration import attestor_registration, hoster_registration
from offchain_worker.testnet.genesis import UNIT, genesis_patch, timing

BLOCK_MS = 500
ATTESTORS, DRAWN, MIN_ACTIVE = 5, 5, 3
HOSTER_REWARD, ATTESTOR_REWARD = 10 * UNIT + 3, UNIT + 1
"""Odd ones, so that rounding shows."""
START_MS = 1_800_000_000_000
TIMING = {
    **timing(attestors=ATTESTORS, block_ms=BLOCK_MS),
    # Room for a second attempt with twice the delay.
    "flipMs": 14_000,
    "windowMs": 25_000,
    "minActive": MIN_ACTIVE,
}
TREE = FeedTree.build()


@dataclass
class Script:
    """A challenge, and all of its attestors' keys.

    Attributes:
        world: the chain.
        members: the drawn attestors in roster order.
    """

    world: World
    members: list[Attestor] = field(default_factory=list)

    @classmethod
    def begin(cls, *, sla: Sla | None = None, **other: Any) -> Script:
        """Begin a chain on which a challenge starts; `other` is what differs from TIMING."""
        attestors = [Attestor.number(number) for number in range(ATTESTORS)]
        accounts = [SPONSOR, HOSTER, *(attestor.account for attestor in attestors)]
        patch = genesis_patch(
            [account.public for account in accounts], attestors=ATTESTORS, block_ms=BLOCK_MS
        )
        patch["performance"]["timing"] = TIMING | other
        world = World.begin(Chain.open(genesis_patch=patch, clock=lambda: START_MS))
        world.new_block()
        genesis, endpoint = world.chain.genesis_hash, Endpoint.of("127.0.0.1", 1)
        world.submit(
            (PublishFeed(FEED, encode_manifest(MANIFEST)), SPONSOR),
            (hoster_registration(genesis, HOSTER, NOISE_KEY, endpoint), HOSTER),
            *(
                (
                    attestor_registration(genesis, one.account, one.session_key, endpoint, 1),
                    one.account,
                )
                for one in attestors
            ),
        )
        world.new_block()
        world.new_block()
        terms = Terms(HOSTER_REWARD, ATTESTOR_REWARD, LENGTH, sla)
        # More blocks than the randomness of the draw mixes.
        for _ in range(RANDOMNESS_PARENTS):
            world.new_block()
        world.submit((OpenHosting(FEED, HOSTER.public, 1_000 * UNIT, terms), SPONSOR))
        world.submit((AcceptHosting(0, 0, LENGTH), HOSTER))
        while not world.chain.storage(storage.START_HASHES.key(0)):
            world.new_block()
        script = cls(world)
        keys = {attestor.account.public: attestor for attestor in attestors}
        script.members = [keys[member.account] for member in script.challenge.roster]
        return script

    # What the chain holds.

    @property
    def challenge(self) -> Challenge:
        found = self.world.read(storage.CHALLENGES, 0)
        assert found is not None
        return found

    @property
    def flip(self) -> Flip:
        found = self.world.read(storage.FLIPS, 0)
        assert found is not None
        return found

    @property
    def expulsions(self) -> tuple[Expulsion, ...]:
        raw = self.world.chain.storage(storage.EXPULSIONS.key(0))
        return () if raw is None else storage.EXPULSIONS.value.decode(raw)

    @property
    def attempts(self) -> Attempts:
        start_hash = self.world.read(storage.START_HASHES, 0)
        assert start_hash is not None
        return challenge_attempts(self.world.chain.genesis_hash, 0, self.challenge, start_hash)

    def attempt(self, number: int) -> Attempt:
        found = self.attempts.numbered(number, known_expulsions(self.expulsions))
        assert found is not None
        return found

    # What happens.

    def until(self, timestamp_ms: int) -> None:
        """Make blocks until one has this timestamp or a later one."""
        while self.world.chain.timestamp() < timestamp_ms:
            self.world.new_block()

    def submit(self, call: Call, account: Account) -> None:
        """Put a call into a block of its own."""
        self.world.submit((call, account))

    def proof(
        self, place: int, kind: FraudKind = FraudKind.EQUIVOCATION, attempt: int = 0
    ) -> ReportFraud:
        """Let a member commit a fraud in an attempt; what proves it."""
        run = self.attempt(attempt)
        index = run.index_of(place)
        assert index is not None

        def signed(kind: Kind, body: bytes) -> SignedEnvelope:
            key = self.members[place].session_key
            return SignedEnvelope.sign(kind, run.flip.topic, index, body, key)

        if kind is FraudKind.EQUIVOCATION:
            pair = signed(Kind.ECHO, b"a" * 32), signed(Kind.ECHO, b"b" * 32)
            evidence = equivocation(run.flip, *pair)
        else:
            pair = signed(Kind.COMMIT, b"y" * 64), signed(Kind.REVEAL, b"x" * 64)
            evidence = bad_reveal(run.flip, *pair)
        return ReportFraud(decode_proof(evidence.encoded))

    def expel(
        self,
        place: int,
        kind: FraudKind = FraudKind.EQUIVOCATION,
        *,
        attempt: int = 0,
        reporter: Account = SPONSOR,
    ) -> None:
        """Let a member commit a fraud in an attempt, and prove it."""
        self.submit(self.proof(place, kind, attempt), reporter)

    def anchor(self, number: int, by: int) -> None:
        """Flip the coin as all members of an attempt would; the one at a place anchors it."""
        run = self.attempt(number)
        topic = run.flip.topic
        members = [self.members[place] for place in run.places]
        bodies = [m.secrets.commit_body(topic, m.session_key.public) for m in members]
        root = commitment_root(topic, [(body[:32], body[32:]) for body in bodies])
        openings = tuple(
            Opening(z=body[32:], salt=m.secrets.salt, x=m.secrets.x)
            for m, body in zip(members, bodies, strict=True)
        )
        echoes = tuple(
            m.session_key.sign(signing_payload(Kind.ECHO, topic, m.session_key.public, root))
            for m in members
        )
        self.submit(AnchorFlip(0, number, openings, echoes), self.members[by].account)

    def commit(self, places: Collection[int]) -> None:
        """Commit to the fallback, which has begun, all in one block."""
        fallback = self.world.read(storage.FALLBACKS, 0)
        assert fallback is not None
        members = [self.members[place] for place in places]
        seals = [m.secrets.audit_seal(fallback.topic, m.session_key.public) for m in members]
        calls = [CommitFlip(0, z) for z in seals]
        self.world.submit(*zip(calls, [m.account for m in members], strict=True))

    def open_reports(self) -> None:
        """Pass the window, until the chain takes reports; a fallback ends first."""
        while isinstance(self.challenge.stage, Committing):
            self.world.new_block()
        assert isinstance(self.challenge.stage, Auditing)
        self.world.chain.travel(max(0, self.challenge.end_ms - self.world.chain.now_ms()))
        while not isinstance(self.challenge.stage, Reporting):
            self.world.new_block()

    def report(
        self,
        *,
        served: Sequence[int] = (),
        failed: Sequence[int] = (),
        demanding: Sequence[int] = (),
    ) -> None:
        """Let the members at these places report; `demanding` fail and demand a chunk."""
        for place in served:
            member = self.members[place]
            self.submit(submit_report(self.world, TREE, member), member.account)
        for place in (*failed, *demanding):
            member = self.members[place]
            context = report_context(self.challenge, self.flip, member.account.public, place)
            demand = self.drawn(place) if place in demanding else None
            report = sign_report(
                w=member.secrets.w,
                audit_key=member.secrets.audit_keypair,
                topic=context.topic,
                account=context.account,
                outcome=Failure(Reason.NO_DATA, demand),
            )
            self.submit(SubmitReport(0, report), member.account)

    def drawn(self, place: int) -> int:
        """A chunk that was drawn for a member."""
        member = self.members[place]
        context = report_context(self.challenge, self.flip, member.account.public, place)
        return context.drawn(member.secrets.w)[3]

    def show(self, place: int) -> None:
        """Answer a member's demand with the chunk."""
        chunk = self.drawn(place)
        demanded = Demanded(self.challenge.feed, 0, LENGTH, chunk)
        answer = chunk_answer(
            chunk.to_bytes(4, "little"),
            demanded,
            length=LENGTH,
            head_signature=AUTHOR.sign(signable(FEED, MANIFEST, 0, LENGTH, TREE.tree_hash)),
            tree_nodes=TREE.nodes,
        )
        self.submit(AnswerDemand(0, self.members[place].account.public, answer), HOSTER)

    def rewrite(self, place: int, fork: int) -> None:
        """Answer a member's demand with the author's signature on a higher fork."""
        signature = AUTHOR.sign(signable(FEED, MANIFEST, fork, 7, b"t" * 32))
        answer = Rewritten(fork, 7, b"t" * 32, signature)
        self.submit(AnswerDemand(0, self.members[place].account.public, answer), HOSTER)

    def close(self, by: Account | None = None) -> None:
        """Settle what was not reported on in time: by somebody, or by nobody."""
        stage = self.challenge.stage
        assert isinstance(stage, Reporting)
        while self.world.read(storage.ROOMS) < stage.deadline.rooms:
            self.world.new_block()
        if by is not None:
            self.submit(CloseChallenge(0), by)
        self.until_closed()

    def until_closed(self) -> None:
        """Make blocks until it is settled."""
        while not isinstance(self.challenge.stage, Closed):
            self.world.new_block()

    def read(self, ask: Callable[[ChainClient], Any]) -> Any:
        """What a client reads of this chain.

        Raises:
            OperationError: as `ask` does.
        """

        async def main() -> Any:
            node = Node(self.world.chain, Mode.MANUAL)
            found, refusal = None, None
            async with trio.open_nursery() as nursery:

                async def connect() -> trio.abc.Stream:
                    near, far = trio.testing.memory_stream_pair()
                    nursery.start_soon(serve_connection, far, node, Incoming())
                    return near

                async with open_chain("ws://chain.invalid", open_stream=connect) as client:
                    try:
                        found = await ask(client)
                    except OperationError as error:
                        refusal = error
                nursery.cancel_scope.cancel()
            if refusal is not None:
                raise refusal
            return found

        return trio.run(main)


def retried() -> Script:
    """Attempt 0 fails by an equivocation, attempt 1 is anchored among the rest, and passes.

    The offender is convicted of both kinds of fraud, which costs no more than one. Another fraud
    comes out after the anchor: its author is active, reports, counts, and is paid nothing. One does
    not report, and a fellow closes. The last fraud is proven after the settlement.
    """
    script = Script.begin()
    outcast, late, absent, closer, last = range(5)
    script.expel(outcast, reporter=script.members[closer].account)
    script.expel(outcast, FraudKind.BAD_REVEAL, reporter=script.members[late].account)
    script.until(script.attempt(1).schedule.reveal_end_ms)
    script.anchor(1, by=last)
    script.expel(late, FraudKind.BAD_REVEAL, reporter=SPONSOR)
    script.open_reports()
    script.report(served=(late, closer, last))
    script.close(by=script.members[closer].account)
    script.expel(last, attempt=1, reporter=script.members[absent].account)
    return script


def fell_back() -> Script:
    """Nothing is anchored: of four who are left three commit, one is convicted after that.

    Two report a failure, the third does not report: two are absent, and the chain closes it.
    """
    script = Script.begin()
    script.expel(4)
    script.until(script.challenge.flip_end_ms)
    script.commit((2, 0))
    script.expel(0, reporter=script.members[1].account)
    script.commit((3,))
    script.open_reports()
    script.report(failed=(0, 3))
    script.close()
    return script


def abandoned() -> Script:
    """Two of five commit: there is no R, and the other three are to blame."""
    script = Script.begin()
    script.until(script.challenge.flip_end_ms)
    script.commit((1, 3))
    script.until_closed()
    return script


def dissolved() -> Script:
    """Three are expelled: too few are left even for a fallback, and nobody is to blame."""
    script = Script.begin()
    for place in (0, 2, 3):
        script.expel(place)
    script.until_closed()
    return script


def stalled() -> Script:
    """The chain stands still while commitments are taken, until there is no time for audits."""
    script = Script.begin()
    script.until(script.challenge.flip_end_ms)
    script.commit((0, 1, 2))
    script.world.chain.travel(script.challenge.moments_end_ms - script.world.chain.now_ms())
    script.until_closed()
    return script


def slotted() -> Script:
    """As `retried`, with a slot for each active attestor, and one who gets no slot."""
    script = Script.begin(schedule={"slots": {"num": 1, "den": 5}})
    script.expel(1)
    script.until(script.attempt(1).schedule.reveal_end_ms)
    script.anchor(1, by=0)
    script.open_reports()
    script.report(served=(0, 2, 3, 4))
    script.until_closed()
    return script


def too_slow() -> Script:
    """All are served, but not as fast as sponsor and hoster agreed on."""
    script = Script.begin(sla=Sla(latency_p50_us=999, throughput=10**8 + 1))
    script.anchor(0, by=0)
    script.open_reports()
    script.report(served=range(5))
    return script


def withheld() -> Script:
    """Three are served, one is shown what it demands, one is not: the hoster fails, and pays."""
    script = Script.begin()
    script.anchor(0, by=0)
    script.open_reports()
    script.report(served=(0, 2, 4), demanding=(1, 3))
    script.show(1)
    script.until_closed()
    return script


def emptied() -> Script:
    """Three demand, and nobody answers: the bond covers two; one is absent, and a fellow closes."""
    script = Script.begin()
    script.anchor(0, by=0)
    script.open_reports()
    script.report(served=(0,), demanding=(4, 1, 3))
    answers = script.challenge.stage
    assert isinstance(answers, Reporting)
    assert answers.answers is not None
    while script.world.read(storage.ROOMS) < answers.answers.rooms:
        script.world.new_block()
    script.close(by=script.members[0].account)
    return script


def rewritten() -> Script:
    """Four are served, but the author has rewritten the feed: it is inconclusive."""
    script = Script.begin()
    script.anchor(0, by=0)
    script.open_reports()
    script.report(served=range(1, 5), demanding=(0,))
    script.rewrite(0, 3)
    return script


def came_back() -> Script:
    """Bonds of all sorts are slashed: a full one, one filled up again, what is left of others.

    The first offender comes back and is convicted again in the same block. Nobody commits; after
    that one of the absent leaves, and is convicted while its bond is still held.
    """
    script = Script.begin()
    again, leaver, poorer, *_ = [member.account for member in script.members]
    script.expel(0)
    proof = script.proof(0, FraudKind.BAD_REVEAL)
    script.world.submit((Undrain(Role.ATTESTOR), again), (proof, SPONSOR))
    script.submit(Drain(Role.ATTESTOR), leaver)
    script.until_closed()
    script.submit(Deregister(Role.ATTESTOR), leaver)
    script.expel(1, reporter=poorer)
    script.expel(2)
    return script


SCRIPTS: dict[str, Callable[[], Script]] = {
    "retried": retried,
    "fell_back": fell_back,
    "abandoned": abandoned,
    "dissolved": dissolved,
    "stalled": stalled,
    "slotted": slotted,
    "too_slow": too_slow,
    "withheld": withheld,
    "emptied": emptied,
    "rewritten": rewritten,
    "came_back": came_back,
}
