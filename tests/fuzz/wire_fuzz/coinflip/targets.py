"""What reads bytes of coinflip peers."""

from __future__ import annotations

import random
from collections.abc import Sequence

from chain_types.report import MAX_ENVELOPE_BYTES, decode_proof, encode_proof
from chain_types.scale import ScaleError
from offchain_worker.coinflip.effects import Disconnect, Effect, Journal, Send
from offchain_worker.coinflip.envelope import (
    BUNDLE_PER_MEMBER,
    HEADER_BYTES,
    MAX_BULK_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_MESSAGE_BYTES,
    SIGNED_BODY_BYTES,
    BulkRequest,
    Bundle,
    EnvelopeError,
    EvidenceMessage,
    Kind,
    Need,
    SignedEnvelope,
    decode,
    decode_signed,
    encode,
)
from offchain_worker.coinflip.evidence import EvidenceError, inspect
from offchain_worker.coinflip.machine import KEPT_VARIANTS, CoinflipMachine
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.errors import DecodeError, ProtocolViolation
from offchain_worker.hypercore.protomux import Message, Mux, Opening, encode_batch, encode_message
from wire_fuzz import mutation
from wire_fuzz.coinflip.corpus import T0, Recording, corpus
from wire_fuzz.target import ACCEPTED, Target, expect


class CoinflipTarget(Target):
    """A target that starts from recorded runs."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.corpus = corpus()


class EnvelopeTarget(CoinflipTarget):
    """`decode` on messages of some kinds; bodies are mutated more than headers."""

    kinds: Sequence[Kind] = tuple(Kind)

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.flip: Flip
        self.sender = 0

    def make(self) -> bytes:
        source = self.source
        kind = source.choice(self.kinds)
        self.flip, self.sender, data = source.choice(self.corpus.by_kind[kind])
        fate = source.random()
        if fate < 0.02:
            return data
        if fate < 0.06:
            return mutation.noise(source)
        if fate < 0.08:
            return data[:HEADER_BYTES] + mutation.noise(source)
        if fate < 0.2:
            other = source.choice(self.corpus.by_kind[source.choice(tuple(Kind))])[2]
            return mutation.splice(source, data, other)
        return mutation.mutate(source, data, HEADER_BYTES)

    def feed(self, data: bytes) -> str:
        flip = self.flip
        try:
            message = decode(data, flip, self.sender)
        except EnvelopeError as error:
            return error.reason
        expect(len(data) <= MAX_MESSAGE_BYTES, "nothing longer is accepted")
        expect(encode(message, flip, self.sender) == data, "a message has one encoding")
        match message:
            case Bundle(envelopes):
                expect(len(envelopes) <= BUNDLE_PER_MEMBER * flip.size, "bundles are bounded")
                expect(sum(len(e.raw) for e in envelopes) <= len(data), "nothing is made up")
            case Need(kind, indices):
                expect(kind in SIGNED_BODY_BYTES, "only signed kinds can be pulled")
                expect(bool(indices) and max(indices) < flip.size, "members are of the roster")
            case EvidenceMessage(proof):
                expect(len(proof) <= MAX_EVIDENCE_BYTES, "evidence is bounded")
            case BulkRequest(size):
                expect(0 < size <= MAX_BULK_BYTES, "bulk transfers are bounded")
            case SignedEnvelope():
                expect(message.index < flip.size, "members are of the roster")
            case _:
                pass
        return ACCEPTED


class HelloTarget(EnvelopeTarget):
    """`decode` on hellos, pings, pongs and bulk transfers."""

    kinds = (Kind.HELLO, Kind.PING, Kind.PONG, Kind.BULK_REQUEST, Kind.BULK_DATA)


class NeedTarget(EnvelopeTarget):
    """`decode` on pulls."""

    kinds = (Kind.NEED,)


class BundleTarget(EnvelopeTarget):
    """`decode` on bundles, mutated or put together anew."""

    kinds = (Kind.BUNDLE,)

    def make(self) -> bytes:
        source = self.source
        if source.random() < 0.5:
            return super().make()
        self.flip, self.sender, data = source.choice(self.corpus.by_kind[Kind.BUNDLE])
        limit = BUNDLE_PER_MEMBER * self.flip.size
        size = source.choice((0, 1, 2, 5, limit - 1, limit, limit + 1))
        parts = []
        for _ in range(size):
            kind = source.choice((Kind.COMMIT, Kind.ECHO, Kind.REVEAL))
            flip, _sender, part = source.choice(self.corpus.by_kind[kind])
            if flip.topic != self.flip.topic and source.random() < 0.9:
                part = part[:1] + self.flip.topic + bytes(2) + part[HEADER_BYTES:]
            parts.append(mutation.mutate(source, part) if source.random() < 0.05 else part)
        told = size if source.random() < 0.8 else source.choice(mutation.NUMBERS)
        return data[:HEADER_BYTES] + told.to_bytes(2, "little") + b"".join(parts)


class SignedTarget(EnvelopeTarget):
    """`decode_signed`, as bundles, proofs and the journal use it."""

    kinds = (Kind.COMMIT, Kind.ECHO, Kind.REVEAL)

    def feed(self, data: bytes) -> str:
        try:
            envelope = decode_signed(data, self.flip)
        except EnvelopeError as error:
            return error.reason
        expect(envelope.raw == data, "the bytes are kept")
        expect(len(envelope.body) == SIGNED_BODY_BYTES[envelope.kind], "bodies have one length")
        expect(envelope.index < self.flip.size, "members are of the roster")
        return ACCEPTED


class ProofTarget(CoinflipTarget):
    """`decode_proof`: SCALE of the argument of `report_fraud`."""

    def make(self) -> bytes:
        source = self.source
        data = source.choice(self.corpus.proofs)[1]
        fate = source.random()
        if fate < 0.02:
            return data
        if fate < 0.06:
            return mutation.noise(source)
        if fate < 0.2:
            return mutation.splice(source, data, source.choice(self.corpus.proofs)[1])
        return mutation.mutate(source, data)

    def feed(self, data: bytes) -> str:
        try:
            proof = decode_proof(data)
        except ScaleError:
            return "encoding"
        expect(encode_proof(proof) == data, "a proof has one encoding")
        return ACCEPTED


class EvidenceTarget(ProofTarget):
    """`inspect`: everything about a proof but its signatures."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.flip: Flip

    def make(self) -> bytes:
        source = self.source
        self.flip, data = source.choice(self.corpus.proofs)
        fate = source.random()
        if fate < 0.05:
            return data
        if fate < 0.1:
            return mutation.noise(source)
        if fate < 0.2:
            return mutation.splice(source, data, source.choice(self.corpus.proofs)[1])
        # Variant, challenge and attempt stay, so that the envelopes are looked at.
        return mutation.mutate(source, data, 13)

    def feed(self, data: bytes) -> str:
        try:
            evidence, pair = inspect(data, self.flip)
        except EvidenceError as error:
            return error.reason
        expect(evidence.offender < self.flip.size, "the offender is of the roster")
        expect(pair[0].index == pair[1].index == evidence.offender, "both are the offender's")
        expect(len(evidence.encoded) <= MAX_EVIDENCE_BYTES, "evidence fits its message")
        expect(all(len(e.raw) <= MAX_ENVELOPE_BYTES for e in pair), "envelopes are bounded")
        again, _ = inspect(evidence.encoded, self.flip)
        expect(again == evidence, "what is relayed is as good")
        return ACCEPTED


class MuxTarget(CoinflipTarget):
    """`Mux.receive`: the plaintexts of a peer's frames, with one channel open."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.frames = self._frames()
        self.restart()

    def restart(self) -> None:
        self.mux = Mux(max_strays=64)
        self.taken = 0
        peer = Mux()
        _, opening = peer.open("p", b"topic", b"")
        for event in self.mux.receive(opening):
            if isinstance(event, Opening):
                self.mux.accept(event, b"")

    def _frames(self) -> list[bytes]:
        peer = Mux()
        opened = [peer.open("p", bytes([number]) * 32, b"")[1] for number in range(4)]
        messages = [(0, b"m" * number) for number in range(4)]
        return [
            *opened,
            encode_message(1, 0, b"message"),
            encode_message(77, 0, b"stray"),
            encode_batch(1, messages),
            b"\x00\x00" + encode_batch(1, messages),
            b"\x00\x02\x01",
            b"\x00\x03\x01",
            b"\x00\x03\x07",
        ]

    def make(self) -> bytes:
        source = self.source
        if source.random() < 0.05:
            return mutation.noise(source)
        frame = source.choice(self.frames)
        return frame if source.random() < 0.1 else mutation.mutate(source, frame)

    def feed(self, data: bytes) -> str:
        try:
            for event in self.mux.receive(data):
                if isinstance(event, Opening):
                    self.mux.reject(event)
                elif isinstance(event, Message):
                    expect(len(event.frame) - event.offset <= len(data), "nothing is made up")
                self.taken += 1
        except (DecodeError, ProtocolViolation) as error:
            self.restart()
            return type(error).__name__
        expect(self.taken <= 10**6, "events come from bytes")
        if not self.mux.is_open("p", b"topic"):
            self.restart()
        return ACCEPTED


class MachineTarget(CoinflipTarget):
    """`CoinflipMachine.received` in the middle of recorded runs.

    Each batch goes through many machines: a member of a recorded run after some of its inputs,
    then messages of that run as they were, mutated, or signed anew by a dishonest member.
    """

    messages_per_machine = 120
    sends_at_most = 16
    """Effects that send, for each member and input: broadcasts, answers, pulls."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.left = 0
        self.recording: Recording
        self.machine: CoinflipMachine
        self.now = T0
        self.peer = 0
        self.journalled: set[Kind] = set()

    def _next_machine(self) -> None:
        source = self.source
        self.recording = source.choice(self.corpus.recordings)
        member = source.randrange(self.recording.flip.size)
        inputs = self.recording.inputs[member]
        count = source.randrange(2, len(inputs))
        cautious = source.random() < 0.2
        self.machine = self.recording.machine(member, count, cautious=cautious)
        self.now = inputs[count - 1].now_ms
        self.journalled = set()
        self.left = self.messages_per_machine
        for peer in self._peers():
            self._apply(self.machine.connected(self.now, peer))

    def _peers(self) -> list[int]:
        return [i for i in range(self.recording.flip.size) if i != self.machine.index]

    def make(self) -> bytes:
        if self.left == 0:
            self._next_machine()
        self.left -= 1
        source, recording = self.source, self.recording
        self.peer = source.choice(self._peers())
        sender, data = source.choice(recording.messages)
        fate = source.random()
        if fate < 0.25:
            self.peer = sender if sender != self.machine.index else self.peer
            return data
        if fate < 0.5:
            return self._signed_anew()
        if fate < 0.6:
            return self._evidence()
        if fate < 0.65:
            return mutation.noise(source)
        if fate < 0.75:
            flip, _sender, other = source.choice(self.corpus.by_kind[source.choice(tuple(Kind))])
            return other[:1] + recording.flip.topic + other[33:] if flip else other
        return mutation.mutate(source, data, HEADER_BYTES)

    def _signed_anew(self) -> bytes:
        """Anything that the peer's own key can sign."""
        source, flip = self.source, self.recording.flip
        kind = source.choice((Kind.COMMIT, Kind.ECHO, Kind.REVEAL))
        body = source.randbytes(SIGNED_BODY_BYTES[kind])
        if kind is Kind.ECHO:
            roots = (bytes(32), self.machine.root or bytes(32), body)
            body = source.choice(roots)
        pair = self.recording.pairs[self.peer]
        return SignedEnvelope.sign(kind, flip.topic, self.peer, body, pair).raw

    def _evidence(self) -> bytes:
        source, flip = self.source, self.recording.flip
        proofs = [proof for about, proof in self.corpus.proofs if about.topic == flip.topic]
        proof = source.choice(proofs)
        if source.random() < 0.7:
            proof = mutation.mutate(source, proof, 13)
        return encode(EvidenceMessage(proof), flip, self.peer)

    def feed(self, data: bytes) -> str:
        machine, source = self.machine, self.source
        self.now += source.choice((0, 0, 0, 1, 5, 40))
        refused = machine.refusals.total()
        effects = machine.received(self.now, self.peer, data)
        self._apply(effects)
        if any(isinstance(effect, Disconnect) for effect in effects):
            # It may come again, when time has given it credit.
            self.now += 300
            self._apply(machine.disconnected(self.now, self.peer))
            self._apply(machine.connected(self.now, self.peer))
            return "flood"
        if source.random() < 0.02:
            self._apply(machine.tick(self.now))
        return ACCEPTED if machine.refusals.total() == refused else "refused"

    def _apply(self, effects: list[Effect]) -> None:
        machine, size = self.machine, self.recording.flip.size
        sends = [effect for effect in effects if isinstance(effect, Send)]
        expect(len(sends) <= self.sends_at_most * size, "answers are bounded")
        for effect in effects:
            if isinstance(effect, Journal):
                kind = effect.envelope.kind
                expect(kind not in self.journalled, "one body of each kind")
                self.journalled.add(kind)
        for member in machine._members:
            expect(len(member.commits) <= KEPT_VARIANTS, "kept commits are bounded")
            expect(len(member.echoes) <= KEPT_VARIANTS + 1, "kept echoes are bounded")
        expect(len(machine.evidence) <= 2 * size, "one proof of each id is kept")
        expect(all(len(send.data) <= MAX_MESSAGE_BYTES for send in sends), "messages are bounded")
        expect(
            all(proof.offender != machine.index for proof in machine.evidence.values()),
            "nobody proves anything against an honest member",
        )
