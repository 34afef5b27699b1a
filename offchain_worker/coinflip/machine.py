"""One member's run of one attempt: bytes and the time in, effects out (coinflip.md §2, §3, §7).

Commit, echo, reveal. The number x leaves this machine only with the certificate: n signed echoes
of the root over all commitments, mine among them. Until then nobody, not n−1 colluders, can tie a
commitment to what honest members committed to; after it, nobody can change one.

The machine knows no clock, socket, disk or randomness. Every input takes the time in ms since
1970 and returns the effects to be carried out in order; the same inputs give the same effects.
Whatever a peer sends costs bounded work and memory: for each member at most a few envelopes are
kept (`_Member`), and each connection pays for its messages out of a credit that only time refills
(`credit`).

The guards that safety rests on are the `_may_…` methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chain_types.records import Opening
from offchain_worker.coinflip import credit
from offchain_worker.coinflip.commitments import Magic, commitment_root, hash_concat
from offchain_worker.coinflip.credit import Credit
from offchain_worker.coinflip.effects import (
    Anchor,
    BulkAsked,
    BulkHeard,
    Confirmed,
    Disconnect,
    Effect,
    Exit,
    Found,
    GaveUp,
    Journal,
    Malicious,
    Offline,
    Outcome,
    Phase,
    PongHeard,
    Refused,
    Seen,
    Send,
    Silenced,
    Success,
)
from offchain_worker.coinflip.envelope import (
    BulkData,
    BulkRequest,
    Bundle,
    Decode,
    EnvelopeError,
    EvidenceMessage,
    Hello,
    Kind,
    Message,
    Need,
    Ping,
    Pong,
    SignedEnvelope,
    Verify,
    bundles,
    decode,
    decode_signed,
    encode,
)
from offchain_worker.coinflip.evidence import (
    Evidence,
    EvidenceError,
    bad_reveal,
    equivocation,
    evidence_digest,
    fits,
    inspect,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.hashing import ZEROS, blake2b_256, coinflip_tag
from offchain_worker.coinflip.journal import Record
from offchain_worker.coinflip.schedule import Schedule
from offchain_worker.coinflip.topic import Flip
from offchain_worker.keys import KeyPair, verify

NEVER = 1 << 62
"""Later than any time in ms."""

TURNS = 3
"""While members join, a peer is asked for what is missing once in so many Δ."""

KEPT_VARIANTS = 2
"""Different bodies of one kind kept for one member: two are a proof, more prove nothing new."""


@dataclass
class _Member:
    """What is known of one roster member's acts in this topic.

    Attributes:
        commits: at most two with different bodies; the first is the one in my vector.
        echoes: by root, at most three: two of any root, and always the one of my root.
        early_reveal: a reveal that came before its commit.
        reveal: the reveal that opens `commits[0]`.
    """

    commits: list[SignedEnvelope] = field(default_factory=list)
    echoes: dict[bytes, SignedEnvelope] = field(default_factory=dict)
    early_reveal: SignedEnvelope | None = None
    reveal: SignedEnvelope | None = None

    def of_kind(self, kind: Kind) -> Iterable[SignedEnvelope]:
        if kind is Kind.COMMIT:
            return self.commits
        if kind is Kind.ECHO:
            return self.echoes.values()
        return [reveal for reveal in (self.reveal, self.early_reveal) if reveal is not None]


@dataclass
class _Link:
    """What one peer may still cost, and what it was given once; outlives its connections."""

    credit: Credit
    connected: bool = False
    mismatch_answered: bool = False
    confirmed: bool = False
    bulk_served: bool = False
    bulk_expected: int = 0


class CoinflipMachine:
    """A run. Call `start` first, then the other inputs in any order; time never runs backwards.

    Args:
        flip: topic and roster; the caller made sure that `keypair` is in it.
        keypair: my session key.
        secrets: this topic's, from the journal; on disk already.
        schedule: when the phases end.
        records: what the journal knows of this topic: after a restart, the same bytes go out.
        proofs: the evidence that the journal kept for this topic.
        cautious: the journal may have been set back (`journal.Begun`), so an echo that it does
            not know may be out there: none is signed. Commit and reveal follow from the secrets.
        magic: how R follows from the numbers; the chain accepts only the default.
        verify_signature: libsodium's, unless a simulator remembers answers.
        decode_message: reads what arrives, unless a simulator remembers what it read.

    Raises:
        ValueError: the key is not in the roster, the schedule is of another attempt, or a record
            or proof is not of this topic.
    """

    def __init__(
        self,
        flip: Flip,
        keypair: KeyPair,
        secrets: FlipSecrets,
        schedule: Schedule,
        *,
        records: Mapping[Kind, Record] | None = None,
        proofs: Iterable[bytes] = (),
        cautious: bool = False,
        magic: Magic = hash_concat,
        verify_signature: Verify = verify,
        decode_message: Decode = decode,
    ) -> None:
        if schedule.attempt != flip.attempt:
            raise ValueError("the schedule is of another attempt than the topic")
        self.flip = flip
        self.schedule = schedule
        self.index = flip.roster.index(keypair.public)
        self.outcome: Outcome | None = None
        self.result: bytes | None = None
        self.root: bytes | None = None
        """The root that I echoed; None before, and when I gave up."""
        self.evidence: dict[bytes, Evidence] = {}
        self.refusals: Counter[tuple[int, str]] = Counter()
        self.silenced = False
        self._keypair = keypair
        self._secrets = secrets
        self._magic = magic
        self._verify = verify_signature
        self._decode = decode_message
        self._now = schedule.start_ms
        self._next_pull = schedule.start_ms + schedule.delta_ms
        self._ends = [
            schedule.commit_end_ms,
            schedule.echo_end_ms,
            schedule.reveal_end_ms,
            schedule.end_ms,
        ]
        """The instants that are still to come."""
        self._due = schedule.start_ms
        self._changed = True
        self._certified = False
        self._pulls = 0
        self._joined_ms = schedule.commit_end_ms - 2 * schedule.delta_ms
        self._members = [_Member() for _ in flip.roster]
        self._links: dict[int, _Link] = {}
        self._anchored = False
        self._missing_when_given_up: tuple[int, ...] = ()
        self._out: list[Effect] = []
        self._resumed = cautious or bool(records)
        self._cautious = cautious
        self._own: dict[Kind, SignedEnvelope] = {}
        for kind, record in sorted((records or {}).items()):
            self._restore(kind, record)
        for proof in proofs:
            evidence, _pair = inspect(proof, flip)
            self.evidence[evidence.id] = evidence

    def __repr__(self) -> str:
        return f"<CoinflipMachine {self.index} of {self.flip.size} in {self.flip.topic.hex()[:8]}>"

    # Inputs

    def start(self, now_ms: int) -> list[Effect]:
        """Begin, or go on after a restart: commit, unless it is too late for that."""
        self._clock(now_ms)
        return self._effects()

    def connected(self, now_ms: int, peer: int) -> list[Effect]:
        """A connection to roster member `peer` stands: greet it, tell it what I have signed."""
        self._clock(now_ms)
        link = self._link(peer)
        link.connected = True
        if self._pay(peer, credit.CONNECT):
            self._send(peer, Hello(0, evidence_digest(self.evidence)))
            for envelope in self._own.values():
                self._send(peer, envelope)
            if self._cautious:
                self._ask_for_own(peer)
            if self._resumed:
                self._pull(peer)
        return self._effects()

    def disconnected(self, now_ms: int, peer: int) -> list[Effect]:
        """The connection to `peer` is gone."""
        self._clock(now_ms)
        self._link(peer).connected = False
        return self._effects()

    def received(self, now_ms: int, peer: int, data: bytes) -> list[Effect]:
        """One message arrived from `peer`; never raises for its content."""
        self._clock(now_ms)
        if not self._link(peer).connected:
            return self._effects()
        try:
            message = self._decode(data, self.flip, peer)
            if self._pay(peer, self._cost(peer, message, data)):
                self._handle(peer, message)
        except (EnvelopeError, EvidenceError) as error:
            self._refuse(peer, error.reason)
            self._pay(peer, credit.REFUSED + credit.message_cost(len(data)))
        return self._effects()

    def tick(self, now_ms: int) -> list[Effect]:
        """Time passed; call it at `wake_ms` at the latest."""
        self._clock(now_ms)
        return self._effects()

    def anchored(self, now_ms: int, root: bytes, result: bytes) -> list[Effect]:
        """The chain has R: who missed a reveal learns it here (coinflip.md §2.5)."""
        self._clock(now_ms)
        self._anchored = True
        if self.result is None:
            self.result = result
            self._exit(Success(result, root))
        return self._effects()

    def ping(self, now_ms: int, peer: int, nonce: bytes) -> list[Effect]:
        """Send a ping; `PongHeard` with the same 16-byte nonce tells of its answer."""
        self._clock(now_ms)
        if self._link(peer).connected:
            self._send(peer, Ping(nonce, self._confirmation("ping", self.index, peer, nonce)))
        return self._effects()

    def ask_bulk(self, now_ms: int, peer: int, size: int) -> list[Effect]:
        """Ask `peer` for `size` bytes (at most 1 MiB); `BulkHeard` tells of each frame."""
        self._clock(now_ms)
        link = self._link(peer)
        if link.connected:
            link.bulk_expected = size
            self._send(peer, BulkRequest(size))
        return self._effects()

    # What others may ask

    @property
    def wake_ms(self) -> int | None:
        """When `tick` is due; None once the run is over."""
        if self.finished:
            return None
        return self._due if self._pulls_on else self._ends[0]

    @property
    def finished(self) -> bool:
        """Whether Tx has passed: nothing more is said or heard."""
        return self._now >= self.schedule.end_ms

    @property
    def gave_up(self) -> bool:
        """Whether I sent echo(0)."""
        echo = self._own.get(Kind.ECHO)
        return echo is not None and echo.gives_up

    @property
    def has_certificate(self) -> bool:
        """Whether I hold all members' echoes of my root."""
        root = self.root
        if not self._certified and root is not None:
            # Once complete it stays so: no echo is ever forgotten.
            self._certified = all(root in member.echoes for member in self._members)
        return self._certified

    @property
    def may_retry(self) -> bool:
        """Whether another attempt cannot be a free re-roll, as far as I have seen (§3).

        A silenced member has a copy of its key at work elsewhere, or a journal that was set back:
        in another attempt it might contradict itself. A cautious one may have held a certificate
        and revealed, unless it gave up.
        """
        if self.has_certificate or Kind.REVEAL in self._own or self.silenced:
            return False
        if self._cautious and not self.gave_up:
            return False
        roots = {root for member in self._members for root in member.echoes}
        return ZEROS in roots or len(roots) > 1

    # Guards: safety rests on these

    def _may_sign(self, kind: Kind) -> bool:
        """Whether an envelope of mine can contradict no other: the first of its kind, and no
        copy of my key or earlier state of my journal can have signed another body."""
        if self.silenced or kind in self._own:
            return False
        return not (self._cautious and kind is Kind.ECHO)

    def _may_commit(self) -> bool:
        return self._may_sign(Kind.COMMIT) and self._now < self.schedule.commit_end_ms

    def _may_echo(self) -> bool:
        """Whether I may echo the root over my vector: once, in time, complete, nobody caught."""
        return (
            self._may_sign(Kind.ECHO)
            and Kind.COMMIT in self._own
            and self._now < self.schedule.echo_end_ms
            and not self.evidence
            and all(member.commits for member in self._members)
        )

    def _may_reveal(self) -> bool:
        """Whether x may leave: only with the certificate, and in time."""
        return (
            self._may_sign(Kind.REVEAL)
            and self.has_certificate
            and self._now < self.schedule.reveal_end_ms
        )

    def _must_give_up(self) -> bool:
        """Whether to say echo(0).

        At Tc when nobody has echoed. When somebody has, its vector is pulled until Te; who still
        has not echoed then never will, and says so, which lets everybody else stop waiting.
        """
        if Kind.COMMIT not in self._own or not self._may_sign(Kind.ECHO):
            return False
        if self.evidence or self._now >= self.schedule.echo_end_ms:
            return True
        if self._now < self.schedule.commit_end_ms:
            return False
        return not any(root != ZEROS for member in self._members for root in member.echoes)

    # Progress

    def _clock(self, now_ms: int) -> None:
        if now_ms > self._now:
            self._now = now_ms
        if self._changed or self._now >= self._due:
            self._advance()

    def _advance(self) -> None:
        """Do whatever what I know and the time allow.

        Called when what I know has changed (`_changed`) or an instant has come at which time alone
        makes a difference (`_due`).
        """
        self._changed = False
        if self._may_commit():
            self._act(Kind.COMMIT, self._secrets.commit_body(self.flip.topic, self._keypair.public))
        if self._may_echo():
            self._echo()
        elif self._must_give_up():
            self._missing_when_given_up = self._without_commit()
            self._act(Kind.ECHO, ZEROS)
        if self._may_reveal():
            root = self.root
            assert root is not None  # noqa: S101 — has_certificate says so
            support = tuple(member.echoes[root].raw for member in self._members)
            self._act(Kind.REVEAL, self._secrets.reveal_body(), support)
        self._combine()
        self._judge()
        if self._now >= self._next_pull and not self.finished:
            self._next_pull = self._now + self.schedule.delta_ms
            self._pull_in_turn()
            for peer in self._links:
                if self._differs(peer):
                    self._ask_vector(peer)
        while self._ends and self._ends[0] <= self._now:
            self._ends.pop(0)
        self._due = min(self._ends[0], max(self._next_pull, self._now + 1)) if self._ends else NEVER

    def _echo(self) -> None:
        vector = [member.commits[0] for member in self._members]
        pairs = [(commit.body[:32], commit.body[32:]) for commit in vector]
        self.root = commitment_root(self.flip.topic, pairs)
        self._act(Kind.ECHO, self.root, tuple(commit.raw for commit in vector))

    def _combine(self) -> None:
        """Compute R when certificate and reveals are complete, and have it anchored."""
        root = self.root
        if root is None or self._anchored or not self.has_certificate:
            return
        reveals = [member.reveal for member in self._members]
        known = [reveal for reveal in reveals if reveal is not None]
        if len(known) < len(reveals):
            return
        result = self._magic(self.flip.topic, root, [reveal.body[32:] for reveal in known])
        self.result = result
        self._anchored = True
        openings = tuple(
            Opening(z=member.commits[0].body[32:], salt=reveal.body[:32], x=reveal.body[32:])
            for member, reveal in zip(self._members, known, strict=True)
        )
        echoes = tuple(member.echoes[root].signature for member in self._members)
        not_before = self.schedule.anchor_ms(self._now, self.index)
        self._exit(Success(result, root))
        self._out.append(Anchor(self.flip.attempt, root, result, openings, echoes, not_before))

    def _judge(self) -> None:
        """Malicious as soon as there is proof and no certificate can come; else wait for Tf."""
        if self.outcome is not None:
            return
        late = self._now >= self.schedule.reveal_end_ms
        if self.evidence and (late or self._certificate_is_impossible()):
            proofs = tuple(self.evidence[key] for key in sorted(self.evidence))
            peers = tuple(sorted({proof.offender for proof in proofs}))
            self._exit(Malicious(peers, proofs))
        elif late:
            self._exit(self._offline())

    def _certificate_is_impossible(self) -> bool:
        return not self.has_certificate and any(
            set(member.echoes) == {ZEROS} for member in self._members
        )

    def _offline(self) -> Offline:
        if self.silenced or Kind.COMMIT not in self._own:
            return Offline((self.index,), Phase.COMMIT)
        if Kind.ECHO not in self._own:
            return Offline((self.index,), Phase.ECHO)
        if self.root is None:
            missing_commits = self._missing_when_given_up or self._without_commit()
            return Offline(missing_commits, Phase.COMMIT)
        if not self.has_certificate:
            return Offline(self._without_echo(self.root), Phase.ECHO)
        silent = (i for i, member in enumerate(self._members) if member.reveal is None)
        return Offline(tuple(silent), Phase.REVEAL)

    def _exit(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._out.append(Exit(outcome))

    def _act(self, kind: Kind, body: bytes, support: tuple[bytes, ...] = ()) -> None:
        """Sign, journal, then send: the one place where I sign anything."""
        envelope = SignedEnvelope.sign(kind, self.flip.topic, self.index, body, self._keypair)
        self._own[kind] = envelope
        self._changed = True
        self._out.append(Journal(envelope, support))
        self._keep_own(envelope)
        self._broadcast(envelope)

    def _keep_own(self, envelope: SignedEnvelope) -> None:
        member = self._members[self.index]
        if envelope.kind is Kind.COMMIT:
            member.commits = [envelope]
        elif envelope.kind is Kind.ECHO:
            member.echoes = {envelope.body: envelope}
        else:
            member.reveal = envelope
        self._progress(envelope)

    def _progress(self, envelope: SignedEnvelope) -> None:
        if envelope.gives_up:
            self._out.append(GaveUp(envelope.index))
        else:
            self._out.append(Seen(envelope.kind, envelope.index))

    def _restore(self, kind: Kind, record: Record) -> None:
        """Take up what the journal says I signed, and what it rested on."""
        own = decode_signed(record.envelope, self.flip)
        support = [decode_signed(raw, self.flip) for raw in record.support]
        if own.kind is not kind or own.index != self.index:
            raise ValueError("the journal's envelope is another member's or of another kind")
        self._own[kind] = own
        if kind is Kind.ECHO and not own.gives_up:
            self.root = own.body
        for envelope in support:
            member = self._members[envelope.index]
            if envelope.kind is Kind.COMMIT:
                member.commits = [envelope]
            else:
                member.echoes[envelope.body] = envelope
        self._keep_own(own)

    # Messages

    def _handle(self, peer: int, message: Message) -> None:
        match message:
            case SignedEnvelope():
                self._accept(peer, message)
            case Bundle():
                for envelope in message.envelopes:
                    self._accept(peer, envelope)
            case Hello():
                differs = message.evidence_digest != evidence_digest(self.evidence)
                # A proof is as long as a few envelopes, and costs the peer more than those.
                if differs and self._pay(peer, credit.answer_cost(8 * len(self.evidence))):
                    for evidence in self.evidence.values():
                        self._send(peer, EvidenceMessage(evidence.encoded))
            case Need():
                self._answer(peer, message)
            case EvidenceMessage():
                self._accept_evidence(peer, message.proof)
            case Ping():
                confirmation = self._confirmation("pong", self.index, peer, message.nonce)
                self._send(peer, Pong(message.nonce, confirmation))
                self._confirm(peer, "ping", message.nonce, message.confirmation)
            case Pong():
                self._out.append(PongHeard(peer, message.nonce))
                self._confirm(peer, "pong", message.nonce, message.confirmation)
            case BulkRequest():
                link = self._link(peer)
                if link.bulk_served:
                    raise EnvelopeError("second bulk request")
                link.bulk_served = True
                self._out.append(BulkAsked(peer, message.size))
            case BulkData():
                self._link(peer).bulk_expected -= len(message.data)
                self._out.append(BulkHeard(peer, len(message.data)))
        if self._changed:
            self._advance()

    def _accept(self, peer: int, envelope: SignedEnvelope) -> None:
        """Take in a signed envelope, whoever relayed it."""
        if envelope.index == self.index:
            self._accept_own(peer, envelope)
            return
        member = self._members[envelope.index]
        if not self._is_news(member, envelope) or not self._verified(peer, envelope):
            return
        self._changed = True
        if envelope.kind is Kind.COMMIT:
            self._accept_commit(member, envelope)
        elif envelope.kind is Kind.ECHO:
            self._accept_echo(peer, member, envelope)
        else:
            self._accept_reveal(peer, member, envelope)

    def _is_news(self, member: _Member, envelope: SignedEnvelope) -> bool:
        """Whether it can change anything; asked before a signature is checked."""
        if envelope.kind is Kind.COMMIT:
            known = [commit.body for commit in member.commits]
            return envelope.body not in known and len(known) < KEPT_VARIANTS
        if envelope.kind is Kind.ECHO:
            if envelope.body in member.echoes:
                return False
            return envelope.body == self.root or len(member.echoes) < KEPT_VARIANTS
        if not member.commits:
            return member.early_reveal is None
        if member.reveal is not None and envelope.body == member.reveal.body:
            return False
        key = self.flip.roster[envelope.index]
        return fits(member.commits[0], envelope, key) or not self._is_caught(envelope.index)

    def _is_caught(self, index: int) -> bool:
        return any(evidence.offender == index for evidence in self.evidence.values())

    def _accept_commit(self, member: _Member, envelope: SignedEnvelope) -> None:
        member.commits.append(envelope)
        if len(member.commits) > 1:
            self._found(equivocation(self.flip, *member.commits))
            return
        self._progress(envelope)
        if member.early_reveal is not None:
            self._match(member, member.early_reveal)
            member.early_reveal = None

    def _accept_echo(self, peer: int, member: _Member, envelope: SignedEnvelope) -> None:
        member.echoes[envelope.body] = envelope
        self._progress(envelope)
        if len(member.echoes) > 1:
            first, second, *_ = member.echoes.values()
            self._found(equivocation(self.flip, first, second))
        if envelope.gives_up or envelope.body == self.root:
            return
        if self._differs(envelope.index):
            self._ask_vector(envelope.index)
        elif Kind.ECHO not in self._own:
            missing = self._without_commit()
            if missing:
                self._send(peer, Need(Kind.COMMIT, frozenset(missing)))

    def _differs(self, index: int) -> bool:
        """Whether a member echoed another root than mine and nothing explains it yet."""
        if self.root is None or self.evidence or self.finished:
            return False
        return any(root not in (ZEROS, self.root) for root in self._members[index].echoes)

    def _ask_vector(self, index: int) -> None:
        """Ask for the commits of a member that echoed another root than mine: two vectors differ
        somewhere, and two signed commits are the proof."""
        others = frozenset(range(self.flip.size)) - {self.index}
        self._send(index, Need(Kind.COMMIT, others))

    def _ask_for_own(self, peer: int) -> None:
        """Ask which envelopes of mine a peer holds: one that is not on record shows that the
        journal was set back, or that a copy of my key is at work."""
        for kind in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL):
            if kind not in self._own:
                self._send(peer, Need(kind, frozenset({self.index})))

    def _accept_reveal(self, peer: int, member: _Member, envelope: SignedEnvelope) -> None:
        if not member.commits:
            member.early_reveal = envelope
        else:
            self._match(member, envelope)
        if self.root is not None and not self.has_certificate:
            missing = self._without_echo(self.root)
            self._send(peer, Need(Kind.ECHO, frozenset(missing)))

    def _match(self, member: _Member, reveal: SignedEnvelope) -> None:
        """Compare a signed reveal with its member's commit; what does not fit is E2."""
        key = self.flip.roster[reveal.index]
        if fits(member.commits[0], reveal, key):
            member.reveal = reveal
            self._progress(reveal)
        elif not self._is_caught(reveal.index):
            self._found(bad_reveal(self.flip, member.commits[0], reveal))

    def _accept_own(self, peer: int, envelope: SignedEnvelope) -> None:
        """My own envelope came back. Another body means another copy of my key, or a journal
        that was set back: whatever I sign from here on could contradict it."""
        mine = self._own.get(envelope.kind)
        if (mine is not None and mine.body == envelope.body) or self.silenced:
            return
        if self._verified(peer, envelope):
            self._silence(envelope.kind)

    def _silence(self, kind: Kind) -> None:
        self.silenced = True
        self._changed = True
        self._out.append(Silenced(kind))

    def _accept_evidence(self, peer: int, proof: bytes) -> None:
        evidence, pair = inspect(proof, self.flip)
        if evidence.id in self.evidence:
            return
        if not all(self._verified(peer, envelope) for envelope in pair):
            return
        if evidence.offender == self.index:
            if not self.silenced:
                self._silence(pair[0].kind)
            return
        self._found(evidence, peer)

    def _found(self, evidence: Evidence, source: int | None = None) -> None:
        """Keep one proof of each id, tell the caller, relay it once."""
        if evidence.id in self.evidence:
            return
        self.evidence[evidence.id] = evidence
        self._changed = True
        self._out.append(Found(evidence))
        self._broadcast(EvidenceMessage(evidence.encoded), source)

    def _answer(self, peer: int, need: Need) -> None:
        held = [
            envelope
            for index in sorted(need.indices)
            for envelope in self._members[index].of_kind(need.kind)
        ]
        if held and self._pay(peer, credit.answer_cost(len(held))):
            for bundle in bundles(held, self.flip):
                self._send(peer, bundle)

    # Pull

    def _pull_in_turn(self) -> None:
        """Ask for what I lack: everybody, but in turn as long as members may still be joining.

        Until then most of what is missing is nobody's yet, and n members that asked n others each
        Δ would send more needs than everything else together.
        """
        lacking = self._lacking()
        if lacking is None:
            return
        self._pulls += 1
        joining = self.root is None and self._now < self._joined_ms
        data = encode(lacking, self.flip, self.index)
        for peer, link in self._links.items():
            if link.connected and not (joining and (peer + self._pulls) % TURNS):
                self._out.append(Send(peer, data))

    def _pull(self, peer: int) -> None:
        lacking = self._lacking()
        if lacking is not None:
            self._send(peer, lacking)

    @property
    def _pulls_on(self) -> bool:
        """Whether this run can still come to something for which I would need others' words."""
        if self.silenced or self._anchored or Kind.COMMIT not in self._own:
            return False
        return not self.gave_up

    def _lacking(self) -> Need | None:
        """What I still want from anybody: commits, then echoes, then reveals."""
        if not self._pulls_on:
            return None
        if self.root is None:
            kind, missing = Kind.COMMIT, self._without_commit()
        elif not self.has_certificate:
            kind, missing = Kind.ECHO, self._without_echo(self.root)
        else:
            members = enumerate(self._members)
            kind, missing = Kind.REVEAL, tuple(i for i, m in members if m.reveal is None)
        return Need(kind, frozenset(missing)) if missing else None

    def _without_commit(self) -> tuple[int, ...]:
        return tuple(i for i, member in enumerate(self._members) if not member.commits)

    def _without_echo(self, root: bytes) -> tuple[int, ...]:
        return tuple(i for i, member in enumerate(self._members) if root not in member.echoes)

    # Pings

    def _confirmation(self, tag: str, sender: int, receiver: int, nonce: bytes) -> bytes:
        """ "I know R": zeros as long as I do not."""
        if self.result is None:
            return ZEROS
        roster = self.flip.roster
        return blake2b_256(
            coinflip_tag(tag),
            self.flip.topic,
            roster[sender],
            roster[receiver],
            nonce,
            self.result,
        )

    def _confirm(self, peer: int, tag: str, nonce: bytes, confirmation: bytes) -> None:
        """Check that a peer knows the same R. A mismatch blames nobody: show what I hold."""
        if self.result is None or confirmation == ZEROS:
            return
        link = self._link(peer)
        if confirmation == self._confirmation(tag, peer, self.index, nonce):
            if not link.confirmed:
                link.confirmed = True
                self._out.append(Confirmed(peer))
        elif not link.mismatch_answered:
            link.mismatch_answered = True
            everybody = frozenset(range(self.flip.size))
            self._answer(peer, Need(Kind.COMMIT, everybody))
            self._answer(peer, Need(Kind.ECHO, everybody))

    # Bounds

    def _link(self, peer: int) -> _Link:
        link = self._links.get(peer)
        if link is None:
            if not 0 <= peer < self.flip.size or peer == self.index:
                raise ValueError(f"{peer} is no peer of member {self.index}")
            link = _Link(Credit(self.flip.size, self.schedule.delta_ms, self._now))
            self._links[peer] = link
        return link

    def _cost(self, peer: int, message: Message, data: bytes) -> int:
        if isinstance(message, BulkData):
            if len(message.data) > self._link(peer).bulk_expected:
                raise EnvelopeError("bulk data not asked for")
            return 0
        return credit.message_cost(len(data))

    def _pay(self, peer: int, cost: int) -> bool:
        """Take `cost` off the peer's credit; a peer without credit is cut off."""
        link = self._link(peer)
        if link.credit.pay(cost, self._now):
            return True
        if link.connected:
            link.connected = False
            self._refuse(peer, "flood")
            self._out.append(Disconnect(peer, "flood"))
        return False

    def _verified(self, peer: int, envelope: SignedEnvelope) -> bool:
        """Check a signature on the account of the peer that brought it."""
        if not self._pay(peer, credit.VERIFY):
            return False
        if envelope.is_signed_by(self.flip.roster[envelope.index], self._verify):
            return True
        self._refuse(peer, "signature")
        self._pay(peer, credit.FORGED)
        return False

    def _refuse(self, peer: int, reason: str) -> None:
        self.refusals[peer, reason] += 1
        if self.refusals[peer, reason] == 1:
            self._out.append(Refused(peer, reason))

    # Effects

    def _send(self, peer: int, message: Message) -> None:
        if self._link(peer).connected and not self.finished:
            self._out.append(Send(peer, encode(message, self.flip, self.index)))

    def _broadcast(self, message: Message, source: int | None = None) -> None:
        if self.finished:
            return
        data = encode(message, self.flip, self.index)
        for peer, link in self._links.items():
            if link.connected and peer != source:
                self._out.append(Send(peer, data))

    def _effects(self) -> list[Effect]:
        effects, self._out = self._out, []
        return effects
