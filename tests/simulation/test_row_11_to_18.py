"""Rows 11 to 18 of coinflip.md §9: forgeries, copies of a key, crashes, bias, giving up.

The rules of these tests and the letters of each row: `row_tools`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from nacl import bindings
from row_tools import Ran, against, all_offline, all_success

from offchain_worker.coinflip.effects import Anchor, Effect, Malicious, Phase, Success
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.evidence import EvidenceError, verify_evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.topic import Flip, RosterError
from offchain_worker.keys import is_valid_public_key, verify
from offchain_worker.simulation import bias
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.adversary import Deviant, own_of
from offchain_worker.simulation.chain import AnchorCall, Anchored, FellBack, ReportCall
from offchain_worker.simulation.draw import Twin, heal, only, twin_scenario, twins
from offchain_worker.simulation.keyring import pool
from offchain_worker.simulation.network import LinkPlan, constant
from offchain_worker.simulation.scenario import LONG, QUICK, Trouble
from offchain_worker.simulation.seat import KEPT, LOST, STALE, Crash, Run
from offchain_worker.simulation.world import World


def head(kind: Kind, run: Run) -> bytes:
    """The first bytes of an unsigned message."""
    return bytes([kind]) + run.topic + run.machine.index.to_bytes(2, "little")


# Row 11


class ForgesReveals(Deviant):
    """Follows the rules; shows bad reveals in all others' names, alone, relayed and as proof."""

    forged = 0

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        if own_of(data, run.machine.index) is not Kind.REVEAL:
            return (data,)
        flip, out = run.attempt.flip, [data]
        for victim, member in enumerate(run.machine._members):
            if victim == run.machine.index:
                continue
            own_key = SignedEnvelope.sign(Kind.REVEAL, run.topic, victim, bytes(64), self.keypair)
            stolen = own_key.raw[:-64] + member.commits[0].signature
            for raw in (own_key.raw, stolen):
                bundle = head(Kind.BUNDLE, run) + (1).to_bytes(2, "little") + raw
                pair = member.commits[0].raw, raw
                proof = bad.proof_of(flip.challenge_id, flip.attempt, *pair, bad_reveal=True)
                out += [raw, bundle, head(Kind.EVIDENCE, run) + proof]
                self.world.chain.submit(self.place, ReportCall(proof))
                self.forged += 1
        return out


def test_row_11_forged_bad_reveal_in_an_honest_name() -> None:
    ran = Ran(against({0: only(ForgesReveals)}))
    (forger,) = (seat for seat in ran.world.seats if isinstance(seat, ForgesReveals))
    assert forger.forged >= 3 * 3 * 2
    # B: every one fell at its signature, with members and chain.
    for seat in ran.honest:
        assert seat.refusals["signature"]
        assert not seat.evidence
    assert len(ran.refused) >= forger.forged
    assert {why for _place, call, why in ran.refused if isinstance(call, ReportCall)} == {
        "signature"
    }
    ran.blames_only()
    assert all_success(ran.outcomes(0))
    ran.all_letters()


# Row 12


def openings_of(effect: Anchor) -> tuple[tuple[bytes, bytes, bytes], ...]:
    return tuple((one.z, one.salt, one.x) for one in effect.openings)


def replaced(items: tuple[Any, ...], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])


INVENTIONS: dict[str, tuple[Callable[[Anchor], AnchorCall], set[str]]] = {
    "another x": (
        lambda e: AnchorCall(
            0,
            replaced(openings_of(e), 1, (*openings_of(e)[1][:2], bytes(32))),
            e.echoes,
        ),
        {"echo"},
    ),
    "another salt": (
        lambda e: AnchorCall(
            0,
            replaced(openings_of(e), 1, (e.openings[1].z, bytes(32), e.openings[1].x)),
            e.echoes,
        ),
        {"echo"},
    ),
    "another z": (
        lambda e: AnchorCall(
            0, replaced(openings_of(e), 0, (bytes(32), *openings_of(e)[0][1:])), e.echoes
        ),
        {"echo"},
    ),
    "own openings only": (
        lambda e: AnchorCall(0, (openings_of(e)[0],) * len(e.openings), e.echoes),
        {"echo"},
    ),
    "a missing echo": (
        lambda e: AnchorCall(0, openings_of(e), e.echoes[:-1]),
        {"count"},
    ),
    "an echo twice": (
        lambda e: AnchorCall(0, openings_of(e), replaced(e.echoes, 1, e.echoes[0])),
        {"echo"},
    ),
    "an empty echo": (
        lambda e: AnchorCall(0, openings_of(e), replaced(e.echoes, 2, bytes(64))),
        {"echo"},
    ),
    "a missing member": (
        lambda e: AnchorCall(0, openings_of(e)[:-1], e.echoes[:-1]),
        {"count"},
    ),
    "members in another order": (
        lambda e: AnchorCall(0, openings_of(e)[::-1], e.echoes[::-1]),
        {"echo"},
    ),
    "another attempt": (lambda e: AnchorCall(1, openings_of(e), e.echoes), {"echo"}),
    "an attempt that does not exist": (
        lambda e: AnchorCall(7, openings_of(e), e.echoes),
        {"attempt"},
    ),
    "the fallback": (lambda e: AnchorCall(2**31, openings_of(e), e.echoes), {"attempt"}),
}


class Invents(Deviant):
    """Anchors something invented before anybody anchors R."""

    def __init__(self, world: World, place: int, invention: Callable[[Anchor], AnchorCall]) -> None:
        super().__init__(world, place)
        self.invention = invention

    def notice(self, run: Run, effect: Effect) -> None:
        if isinstance(effect, Anchor):
            self.world.chain.submit(self.place, self.invention(effect))
        else:
            super().notice(run, effect)


@pytest.mark.parametrize("name", INVENTIONS)
def test_row_12_anchor_with(name: str) -> None:
    invention, reasons = INVENTIONS[name]
    ran = Ran(against({0: only(lambda world, place: Invents(world, place, invention))}))
    # Refused, for its own reason; what is anchored is R.
    refused = [(place, why) for place, call, why in ran.refused if isinstance(call, AnchorCall)]
    assert refused
    assert refused[0][0] == 0
    assert refused[0][1] in reasons
    assert all_success(ran.outcomes(0))
    assert isinstance(ran.verdict, Anchored)
    assert ran.one_result() == ran.outcomes(0)[0]
    ran.all_letters()


class InventsRoot(Deviant):
    """Row 12, another root: the echoes that it has are of the honest vector, its openings are of
    a vector with another commit of its own."""

    def notice(self, run: Run, effect: Effect) -> None:
        if isinstance(effect, Anchor):
            other = FlipSecrets.generate(self.dice.randbytes)
            mine = (effect.openings[0].z, other.salt, other.x)
            call = AnchorCall(0, replaced(openings_of(effect), 0, mine), effect.echoes)
            self.world.chain.submit(self.place, call)
        else:
            super().notice(run, effect)


def test_row_12_anchor_with_another_root() -> None:
    ran = Ran(against({0: only(InventsRoot)}))
    assert ("echo", 0) in {(why, place) for place, _call, why in ran.refused}
    assert all_success(ran.outcomes(0))
    ran.one_result()
    ran.all_letters()


# Row 13


def nudged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def moved(raw: bytes, topic: bytes) -> bytes:
    return raw[:1] + topic + raw[33:]


def malleated(raw: bytes) -> bytes:
    """The same signature with S + L: a second signature without the key, for careless readers."""
    return raw[:-64] + bad.torsion(raw[-64:])


def with_torsion(raw: bytes) -> bytes:
    """The same signature with a point of small order added to R."""
    point = bindings.crypto_core_ed25519_add(raw[-64:-32], ORDER_EIGHT)
    return raw[:-64] + point + raw[-32:]


Pair = Callable[[Run, list[bytes], list[bytes]], tuple[bytes, bytes]]
"""(run, a victim's three envelopes, another member's) → what is shown as contradiction."""

FALSE_PROOFS: dict[str, tuple[Pair, bool, set[str]]] = {
    "the same envelope twice": (lambda r, v, o: (v[0], v[0]), False, {"not contradictory"}),
    "the same echo twice": (lambda r, v, o: (v[1], v[1]), False, {"not contradictory"}),
    "the same body with another signature": (
        lambda r, v, o: (v[0], malleated(v[0])),
        False,
        {"not contradictory"},
    ),
    "two kinds": (lambda r, v, o: (v[0], v[2]), False, {"not contradictory"}),
    "two members": (lambda r, v, o: (v[0], o[0]), False, {"member"}),
    "signatures exchanged": (
        lambda r, v, o: (v[0][:-64] + v[2][-64:], nudged(v[0], 40)[:-64] + v[0][-64:]),
        False,
        {"signature"},
    ),
    "an altered body": (lambda r, v, o: (v[0], nudged(v[0], 40)), False, {"signature"}),
    "an altered signature": (
        lambda r, v, o: (v[0], nudged(nudged(v[0], 40), len(v[0]) - 1)),
        False,
        {"signature"},
    ),
    "another's name": (
        lambda r, v, o: (v[0], o[0][:33] + v[0][33:35] + o[0][35:]),
        False,
        {"signature"},
    ),
    "another topic": (
        lambda r, v, o: (v[0], moved(v[0], bytes(32))),
        False,
        {"topic"},
    ),
    "no topic of this challenge": (
        lambda r, v, o: (moved(v[0], bytes(32)), moved(nudged(v[0], 40), bytes(32))),
        False,
        {"topic"},
    ),
    "a reveal that opens the commit": (
        lambda r, v, o: (v[0], v[2]),
        True,
        {"not contradictory"},
    ),
    "permuted": (lambda r, v, o: (v[2], v[0]), True, {"kinds"}),
    "an echo for a reveal": (lambda r, v, o: (v[0], v[1]), True, {"kinds"}),
    "another's reveal": (lambda r, v, o: (v[0], o[2]), True, {"member"}),
    "an altered reveal": (lambda r, v, o: (v[0], nudged(v[2], 50)), True, {"signature"}),
    "an altered commit": (lambda r, v, o: (nudged(v[0], 50), v[2]), True, {"signature"}),
    "torsion in R of the signature": (
        lambda r, v, o: (with_torsion(nudged(v[0], 40)), v[0]),
        False,
        {"signature"},
    ),
    "S beyond the order": (
        lambda r, v, o: (malleated(nudged(v[0], 40)), v[0]),
        False,
        {"signature"},
    ),
    "no envelopes": (lambda r, v, o: (b"", b""), False, {"no envelope"}),
    "cut short": (lambda r, v, o: (v[0], v[0][:-1]), False, {"no envelope"}),
}


class Accuser(Deviant):
    """Follows the rules; once it has all envelopes, accuses everybody, on the wire and on chain."""

    accused = 0

    def __init__(
        self, world: World, place: int, pair: Pair, bad_reveal: bool, lie: str = ""
    ) -> None:
        super().__init__(world, place)
        self.pair, self.bad_reveal, self.lie = pair, bad_reveal, lie

    def notice(self, run: Run, effect: Effect) -> None:
        super().notice(run, effect)
        if not isinstance(effect, Anchor):
            return
        flip = run.attempt.flip
        sets = []
        for index, member in enumerate(run.machine._members):
            if index != run.machine.index and member.reveal is not None:
                echo = member.echoes[run.machine.root]
                sets.append([member.commits[0].raw, echo.raw, member.reveal.raw])
        for victim, other in zip(sets, sets[1:] + sets[:1], strict=True):
            pair = self.pair(run, victim, other)
            challenge = flip.challenge_id + (self.lie == "challenge")
            attempt = flip.attempt + (self.lie == "attempt")
            proof = bad.proof_of(challenge, attempt, *pair, bad_reveal=self.bad_reveal)
            with pytest.raises(EvidenceError):
                verify_evidence(proof, flip)
            self.say_all(run, head(Kind.EVIDENCE, run) + proof)
            self.world.chain.submit(self.place, ReportCall(proof))
            self.accused += 1


def false_proof(pair: Pair, bad_reveal: bool, reasons: set[str], lie: str = "") -> None:
    seat = only(lambda world, place: Accuser(world, place, pair, bad_reveal, lie))
    ran = Ran(against({0: seat}))
    (accuser,) = (seat for seat in ran.world.seats if isinstance(seat, Accuser))
    assert accuser.accused == 3
    refused = [why for _place, call, why in ran.refused if isinstance(call, ReportCall)]
    assert len(refused) == 3
    assert set(refused) <= reasons
    # B: nobody believes it, whoever is named.
    words = {"no contradiction", "signature", "envelope", "topic", "kinds"}
    for seat in ran.honest:
        assert any(seat.refusals[word] for word in words)
        assert not seat.evidence
    ran.blames_only()
    assert ran.world.chain.slashed == 0
    assert all_success(ran.outcomes(0))
    ran.all_letters()


@pytest.mark.parametrize("name", FALSE_PROOFS)
def test_row_13_false_evidence(name: str) -> None:
    false_proof(*FALSE_PROOFS[name])


@pytest.mark.parametrize("lie", ["challenge", "attempt"])
def test_row_13_false_evidence_in_another(lie: str) -> None:
    reasons = {"challenge"} if lie == "challenge" else {"topic", "attempt"}
    false_proof(lambda r, v, o: (v[0], nudged(v[0], 40)), False, reasons, lie)


# Row 14

ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point that generates the eight points of small order."""
P = 2**255 - 19


def small_order() -> list[bytes]:
    points = [ORDER_EIGHT]
    for _ in range(7):
        points.append(bindings.crypto_core_ed25519_add(points[-1], ORDER_EIGHT))
    return points


def mixed_order() -> list[bytes]:
    honest = pool()[0].public
    return [bindings.crypto_core_ed25519_add(honest, point) for point in small_order()[:-1]]


def not_canonical() -> list[bytes]:
    """Encodings of y + p for the y of points that can be written so, and x = 0 with a sign."""
    shifted = [(y + P).to_bytes(32, "little") for y in range(19)]
    signs = [bytes([*one[:31], one[31] | 0x80]) for one in shifted]
    zero_with_sign = bytes([1, *bytes(30), 0x80])
    return [*shifted, *signs, zero_with_sign]


@pytest.mark.parametrize("kind", [small_order, mixed_order, not_canonical])
def test_row_14_roster_keys_are_refused_by_all_alike(kind: Callable[[], list[bytes]]) -> None:
    """Here the members' side; the pallets' tests and the differential tests show the chain's."""
    pairs = pool()[:3]
    keys = kind()
    assert len(set(keys)) >= 7
    for key in keys:
        assert not is_valid_public_key(key)
        for roster in ([pairs[0].public, key], [key], [*(pair.public for pair in pairs), key]):
            with pytest.raises(RosterError, match="session key"):
                Flip(bytes(32), 1, bytes(32), 0, tuple(sorted(roster)))
    Flip(bytes(32), 1, bytes(32), 0, tuple(sorted(pair.public for pair in pairs)))


def test_row_14_no_signature_holds_under_a_key_of_small_order() -> None:
    """What a careless verifier accepts for every message: R = A, S = 0."""
    for key in small_order():
        assert not verify(key, b"message", key + bytes(32))
        assert not verify(key, b"message", small_order()[-1] + bytes(32))


# Row 15


def conflicts(ran: Ran, place: int) -> set[tuple[bytes, int]]:
    """(topic, kind) of the twins' acts of which one honest seat heard two bodies before Tf."""
    heard: dict[tuple[int, bytes, int], set[bytes]] = {}
    ends = {
        attempt.flip.topic: attempt.schedule.reveal_end_ms
        for attempt in ran.world.coalition.attempts.values()
    }
    for act in ran.notes.heard.acts:
        if act.member == place and act.at_ms < ends[act.topic]:
            heard.setdefault((act.seat, act.topic, act.kind), set()).add(act.body)
    return {(topic, kind) for (_seat, topic, kind), bodies in heard.items() if len(bodies) > 1}


def test_row_15_live_copies_of_one_key_over_generated_partitions() -> None:
    seen = {"three": 0, "conflict": 0, "proof": 0, "success": 0, "expelled": 0}
    for seed in range(120):
        scenario = twin_scenario(seed)
        ran = Ran(scenario)
        (place,) = scenario.dishonest
        copies = [seat for seat in ran.world.seats if isinstance(seat, Twin)]
        assert len(copies) in (2, 3)
        assert {seat.place for seat in copies} == {place}
        seen["three"] += len(copies) == 3
        # A B C: one result, nobody else to blame, and proof wherever two bodies met.
        ran.one_result()
        ran.blames_only(place)
        found = conflicts(ran, place)
        proved = {run.topic for _at, _seat, run, _evidence in ran.notes.proofs}
        assert {topic for topic, _kind in found} <= proved
        ran.all_end()
        ran.no_early_number()
        ran.one_body()
        seen["conflict"] += bool(found)
        seen["proof"] += bool(proved)
        seen["success"] += ran.one_result() is not None
        seen["expelled"] += ran.expelled == {place}
    assert all(count >= 10 for count in seen.values()), seen


@pytest.mark.parametrize(("size", "copies"), [(3, 2), (4, 2), (5, 2), (4, 3)])
def test_row_15_copies_on_every_side(size: int, copies: int) -> None:
    """Every way to put the honest members to one copy each, for all messages until the echo."""
    for wiring in itertools.product(range(copies), repeat=size - 1):
        if len(set(wiring)) < 2:
            continue

        def wire(world: World, wiring: tuple[int, ...] = wiring) -> None:
            alike = [seat for seat in world.seats if isinstance(seat, Twin)]
            blocked = set()
            for seat, chosen in zip(world.honest_seats, wiring, strict=True):
                for number, copy in enumerate(alike):
                    if number != chosen:
                        blocked |= {(seat.ident, copy.ident), (copy.ident, seat.ident)}
            world.network.block(frozenset(blocked))

        ran = Ran(
            against(
                {0: twins(copies)},
                size=size,
                links=LinkPlan(constant(5), breaks=True, waits=False),
                troubles=[Trouble(0, wire), Trouble(QUICK.join_ms, heal)],
            )
        )
        assert len(ran.notes.heard.bodies(0, Kind.COMMIT)) >= 2
        assert ran.proved(0, Kind.COMMIT) == size - 1
        assert ran.expelled == {0}
        assert ran.numbers_left(0) == {}
        ran.one_result()
        ran.all_letters(0)


# Row 16

WRITES = {1: "secrets", 2: "commit", 3: "echo", 4: "reveal"}
"""What an attempt's journal writes are, in order; commit and reveal follow from the secrets."""


class Crashed(Ran):
    """Member 1 crashes over a write and comes back with some state of its journal.

    Attributes:
        known: so many of its writes are in the journal with which it comes back.
    """

    def __init__(
        self,
        at_write: int,
        durable: bool,
        journal: str,
        image: int = 0,
        *,
        down_ms: int,
        flush: bool,
    ) -> None:
        crash = Crash(
            at_write=at_write,
            durable=durable,
            down_ms=down_ms,
            journal=journal,
            image_write=image,
            flush=flush,
        )
        super().__init__(against(crashes={1: [crash]}))
        when = "after" if durable else "before"
        assert self.counts[f"crash {when} a write is durable"] == 1
        written = at_write if durable else at_write - 1
        self.known = {KEPT: written, LOST: 0, STALE: min(image, written)}[journal]
        self.seat = self.honest[1]

    def signed(self, since_ms: int = 0) -> set[int]:
        """Kinds of its own envelopes that it sent, since its restart or at all."""
        topic = self.topic(0)
        return {
            act.kind
            for act in self.notes.out
            if act.seat == act.member == 1 and act.topic == topic and act.at_ms >= since_ms
        }

    def check(self, at_write: int) -> None:
        """F B, and what comes of it."""
        self.one_body()
        self.blames_only()
        self.one_result()
        again = self.signed(self.seat.disk.opened_ms)
        if self.known == 0:
            # Not even the topic is known: silence.
            assert self.counts["silent without journal"] >= 1
            assert again == set()
            assert 0 not in self.seat.outcomes
        elif self.known < 3:
            # An echo that the journal does not know may be out there: it makes none.
            assert again <= {Kind.COMMIT}
            assert self.seat.outcomes[0].peers == (1,)
            assert not any(isinstance(outcome, Success) for outcome in self.outcomes(0))
        else:
            # Its echo is on record: it sends the same bytes again and goes on.
            assert again == {Kind.COMMIT, Kind.ECHO, Kind.REVEAL}
            assert all_success(self.outcomes(0))
        self.all_letters()


SHORT = pytest.mark.parametrize("down_ms", [1, 40])
FLUSH = pytest.mark.parametrize("flush", [False, True])


@pytest.mark.parametrize("at_write", WRITES)
@pytest.mark.parametrize("durable", [False, True])
@SHORT
@FLUSH
def test_row_16_crash_and_restart_with_the_journal(
    at_write: int, durable: bool, down_ms: int, flush: bool
) -> None:
    ran = Crashed(at_write, durable, KEPT, down_ms=down_ms, flush=flush)
    assert ran.counts["restart with the journal"] == 1
    assert not ran.seat.silenced
    ran.check(at_write)


@pytest.mark.parametrize("at_write", WRITES)
@pytest.mark.parametrize("durable", [False, True])
@SHORT
@FLUSH
def test_row_16_restart_without_the_journal(
    at_write: int, durable: bool, down_ms: int, flush: bool
) -> None:
    ran = Crashed(at_write, durable, LOST, down_ms=down_ms, flush=flush)
    assert ran.counts["restart without a journal"] == 1
    assert ran.signed() <= set(range(1, at_write - 1))
    ran.check(at_write)


@pytest.mark.parametrize(
    ("at_write", "image"),
    [(at_write, image) for at_write in WRITES for image in range(at_write + 1)],
)
@pytest.mark.parametrize("durable", [False, True])
@SHORT
@FLUSH
def test_row_16_restart_with_a_stale_journal(
    at_write: int, image: int, durable: bool, down_ms: int, flush: bool
) -> None:
    """The journal that comes back holds the first `image` writes."""
    ran = Crashed(at_write, durable, STALE, image, down_ms=down_ms, flush=flush)
    assert ran.counts["restart with a stale journal"] == 1
    if at_write == 4 and 0 < ran.known < 3 and flush:
        # Its peers hold its echo and show it: it says that something is wrong.
        assert ran.seat.silenced
        assert ran.counts["silenced"] == 1
    ran.check(at_write)


@pytest.mark.parametrize("journal", [KEPT, LOST, STALE])
@pytest.mark.parametrize("durable", [False, True])
def test_row_16_crash_at_every_write_of_a_whole_challenge(journal: str, durable: bool) -> None:
    """One member is absent: four attempts, each with secrets, commit and echo(0); the fallback."""
    quiet = Ran(against({0: only(bad.Silent)}))
    writes = quiet.honest[0].disk.writes
    assert writes == 3 * len(quiet.world.chain.attempts()) + 1
    for at_write in range(1, writes + 1):
        crash = Crash(
            at_write=at_write,
            durable=durable,
            down_ms=30,
            journal=journal,
            image_write=at_write // 2,
        )
        ran = Ran(against({0: only(bad.Silent)}, crashes={1: [crash]}))
        when = "after" if durable else "before"
        assert ran.counts[f"crash {when} a write is durable"] == 1
        # F B, and the challenge goes on.
        ran.one_body()
        ran.blames_only()
        assert isinstance(ran.verdict, FellBack)
        assert set(ran.verdict.active) >= {2, 3}
        ran.all_letters()


@pytest.mark.parametrize("journal", [KEPT, LOST, STALE])
def test_row_16_a_restart_without_an_echo_costs_the_attempt_and_not_the_challenge(
    journal: str,
) -> None:
    ran = Crashed(3, False, journal, 1, down_ms=20, flush=True)
    assert not any(isinstance(outcome, Success) for outcome in ran.outcomes(0))
    assert isinstance(ran.verdict, FellBack)
    assert ran.verdict.active == (0, 1, 2, 3)
    ran.all_letters()


# Row 17


def test_row_17_selective_abort_over_k_attempts_has_the_exact_bias() -> None:
    groups = [(3, 0), (3, 1), (4, 3)]
    rows = bias.measure_bias(200, groups=groups, processes=1)
    for row, (size, withholding) in zip(rows, groups, strict=True):
        assert (row.size, row.withholding, row.rounds) == (size, withholding, 200)
        # One free bit: 1 − (1/2)², whatever k is; a re-roll in each attempt would give more.
        assert row.exact == (0.5 if withholding == 0 else 0.75)
        assert abs(row.measured - row.exact) < 3 * row.error
        if withholding:
            assert 0.4 < row.fell_back / row.rounds < 0.6
            assert row.measured < 1 - 0.5**3
        else:
            assert row.fell_back == 0


def test_row_17_who_withheld_gets_no_second_attempt() -> None:
    never = only(lambda world, place: bad.SelectiveAbort(world, place, wish=lambda _result: False))
    ran = Ran(against({0: never, 1: never}, timing=LONG))
    assert len(ran.world.chain.attempts()) == 8
    assert len(ran.numbers_left(0)) == 2
    assert all_offline(ran.outcomes(0), Phase.REVEAL)
    assert ran.outcomes(1) == []
    assert "retry begun" not in ran.counts
    assert isinstance(ran.verdict, FellBack)
    ran.all_letters()


# Row 18


@pytest.mark.parametrize("seats", [1, 2])
def test_row_18_echo_of_zero_in_every_attempt(seats: int) -> None:
    ran = Ran(against(dict.fromkeys(range(seats), only(bad.GivesUp)), size=5, timing=LONG))
    zeros = {
        act.topic
        for act in ran.notes.heard.acts
        if act.member < seats and act.kind == Kind.ECHO and act.body == bytes(32)
    }
    assert len(zeros) == 8
    # T, fallback: eight attempts, each with its exit, then the chain among those who commit to it.
    for seat in ran.honest:
        assert set(seat.outcomes) == set(range(8))
        assert not any(isinstance(one, Success | Malicious) for one in seat.outcomes.values())
    ran.all_end()
    assert ran.numbers_left() == {}
    ran.blames_only()
    if seats == 1:
        assert isinstance(ran.verdict, FellBack)
        assert ran.verdict.active == (1, 2, 3, 4)
        assert ran.world.chain.absent == (0,)
    else:
        assert not isinstance(ran.verdict, Anchored)
    ran.all_letters()
