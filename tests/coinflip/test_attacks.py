"""What dishonest seats try, and what it gets them (coinflip.md §9, the rows for attempt 0).

Each test names its row and asserts the letters of that row that a single attempt can show.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.commitments import (
    commitment_root,
    number_commitment,
    xor,
)
from offchain_worker.coinflip.envelope import (
    Bundle,
    EvidenceMessage,
    Kind,
    Need,
    SignedEnvelope,
    decode_signed,
    encode,
)
from offchain_worker.coinflip.evidence import BAD_REVEAL, EQUIVOCATION, verify_evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.machine import CoinflipMachine


def holds_proof_against(network: Any, offender: int) -> bool:
    """C: every honest member holds a proof that stands by itself."""
    for member in network.honest:
        proofs = member.machine.evidence.values()
        if offender not in {verify_evidence(e.encoded, network.flip).offender for e in proofs}:
            return False
    return True


def agreement(network: Any) -> set[bytes]:
    """A and B: at most one R; only dishonest members are in evidence. Returns the results."""
    results = {o.result for o in network.outcomes() if isinstance(o, fx.Success)}
    assert len(results) <= 1
    honest = {member.index for member in network.honest}
    for member in network.honest:
        assert member.machine.outcome is not None
        assert not {e.offender for e in member.machine.evidence.values()} & honest
    return results


def shown_to_honest(network: Any) -> dict[int, set[int]]:
    """Wrap the honest members' sends; whose x left, and at what time, by kind of bytes."""
    left: dict[int, set[int]] = {}
    previous = network.fate

    def fate(sender: int, to: int, data: bytes) -> list[int]:
        for member in network.honest:
            if member.secrets.x in data:
                left.setdefault(member.index, set()).add(network.now)
        delays: list[int] = previous(sender, to, data)
        return delays

    network.fate = fate
    return left


def partitions(size: int) -> list[tuple[set[int], set[int]]]:
    """All ways to split members 1 … size−1 into two sides that both exist."""
    rest = range(1, size)
    return [
        (set(side), set(rest) - set(side))
        for count in range(1, size - 1)
        for side in itertools.combinations(rest, count)
        if 1 in side
    ]


@pytest.mark.parametrize(
    ("size", "side"),
    [(size, sorted(side)) for size in range(3, 8) for side, _other in partitions(size)],
)
def test_row_1_commit_equivocation_in_every_two_partition(
    tools: Any, size: int, side: list[int]
) -> None:
    class Equivocator(tools.Scripted):
        def start(self) -> None:
            other = FlipSecrets.generate(self.network.random.randbytes)
            rest = [peer for peer in self.others() if peer not in side]
            self.network.at(self.network.now + 20, lambda: self.tell(side, self.commit()))
            self.network.at(self.network.now + 20, lambda: self.tell(rest, self.commit(other)))

    network = tools.Network(size, seats={0: Equivocator})
    left = shown_to_honest(network)
    network.run()
    assert agreement(network) == set()
    assert holds_proof_against(network, 0)
    for outcome in network.outcomes():
        assert isinstance(outcome, fx.Malicious)
        assert outcome.peers == (0,)
    assert left == {}


@pytest.mark.parametrize("guarded", [True, False])
def test_row_1_the_check_sees_a_number_that_leaves_without_a_certificate(
    tools: Any, guarded: bool
) -> None:
    """Negative control: the same attack on a machine that reveals as soon as it has echoed."""

    class Hasty(CoinflipMachine):
        def _echo(self) -> None:
            super()._echo()
            self._act(Kind.REVEAL, self._secrets.reveal_body())

    class Equivocator(tools.Scripted):
        def start(self) -> None:
            self.tell([1], self.commit())
            self.tell([2], self.commit(FlipSecrets.generate(self.network.random.randbytes)))

    network = tools.Network(3, seats={0: Equivocator})
    if not guarded:
        for member in network.honest:
            member.machine.__class__ = Hasty
    left = shown_to_honest(network)
    network.run(until=tools.T0 + 100)
    assert (left == {}) is guarded


def test_row_1_proof_is_there_within_three_delays(tools: Any) -> None:
    class Equivocator(tools.Scripted):
        def start(self) -> None:
            self.tell([1, 2], self.commit())
            self.tell([3], self.commit(FlipSecrets.generate(self.network.random.randbytes)))

    network = tools.Network(4, seats={0: Equivocator})
    delta = tools.TIMING.delta_ms
    network.fate = lambda *_: [delta]
    network.run(until=tools.T0 + 1 + delta + 3 * delta)
    assert holds_proof_against(network, 0)


def honest_but(tools: Any, extra: Any) -> Any:
    """A seat that plays by the rules and, besides, does `extra(seat, kind)` as it signs."""

    class Seat(tools.Scripted):
        def __init__(self, network: Any, index: int) -> None:
            super().__init__(network, index)
            self.inner = tools.Member(network, index)
            self.secrets = self.inner.secrets
            plain = self.inner.do

            def do(effects: list[fx.Effect]) -> None:
                for effect in effects:
                    replaced = None
                    if isinstance(effect, fx.Send) and effect.data[0] in (1, 2, 3):
                        replaced = extra(self, Kind(effect.data[0]), effect.peer)
                    if replaced is None:
                        plain([effect])
                    else:
                        self.tell([effect.peer], *replaced)

            self.inner.do = do

        def start(self) -> None:
            self.inner.start()

        def connected(self, peer: int) -> None:
            self.inner.connected(peer)

        def received(self, peer: int, data: bytes) -> None:
            self.inner.received(peer, data)

        def tick(self) -> int | None:
            wake: int | None = self.inner.tick()
            return wake

    return Seat


def test_row_2_equivocation_after_the_certificate_changes_nothing_but_is_kept(tools: Any) -> None:
    def extra(seat: Any, kind: Kind, _peer: int) -> Any:
        if kind is Kind.REVEAL:
            second = FlipSecrets.generate(seat.network.random.randbytes)
            return [seat.sign(Kind.REVEAL, seat.secrets.reveal_body()), seat.commit(second)]
        return None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.run()
    assert len(agreement(network)) == 1
    assert holds_proof_against(network, 0)
    assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())


def late_adaptive_seats(tools: Any) -> dict[int, Any]:
    """Row 3: seat 0 commits early and collects; seat 1 commits only when it can choose."""

    class Late(tools.Scripted):
        def start(self) -> None:
            self.known: dict[int, bytes] = {}

        def received(self, peer: int, data: bytes) -> None:
            if data[0] == Kind.REVEAL:
                self.known[peer] = decode_signed(data, self.network.flip).body[32:]

    def collect(seat: Any, _kind: Kind, _peer: int) -> None:
        return None

    return {0: honest_but(tools, collect), 1: Late}


def test_row_3_nobody_reveals_to_a_late_committer(tools: Any) -> None:
    """U: no honest x leaves before the last commit is certified."""
    network = tools.Network(4, seats=late_adaptive_seats(tools))
    left = shown_to_honest(network)
    late = network.members[1]
    committed_at = tools.T0 + 1_000

    def commit_late() -> None:
        assert late.known == {}, "a number left before this commitment was made"
        assert left == {}
        late.tell(late.others(), late.commit())

    network.at(committed_at, commit_late)
    network.run()
    assert left == {}, "without the late member's echo there is no certificate"
    agreement(network)


class NaivePeer:
    """Negative control: post the hash; send x to a peer as soon as its hash was seen."""

    def __init__(self, network: Any, index: int) -> None:
        self.network = network
        self.index = index
        self.secrets = FlipSecrets.generate(network.random.randbytes)
        self.key = network.pairs[index].public
        self.hashes: dict[int, bytes] = {}
        self.numbers = {index: self.secrets.x}

    def hash_of(self, salt: bytes, x: bytes) -> bytes:
        return number_commitment(self.network.flip.topic, self.key, salt, x)

    def start(self) -> None:
        own = b"H" + self.hash_of(self.secrets.salt, self.secrets.x)
        for peer in range(len(self.network.members)):
            if peer != self.index:
                self.network.send(self.index, peer, own)

    def connected(self, peer: int) -> None:
        pass

    def tick(self) -> int | None:
        return None

    def received(self, peer: int, data: bytes) -> None:
        if data[:1] == b"H":
            self.hashes[peer] = data[1:]
            self.network.send(self.index, peer, b"X" + self.secrets.salt + self.secrets.x)
        else:
            salt, x = data[1:33], data[33:]
            key = self.network.pairs[peer].public
            expected = number_commitment(self.network.flip.topic, key, salt, x)
            assert expected == self.hashes[peer]
            self.numbers[peer] = x

    def result(self) -> bytes:
        assert len(self.numbers) == len(self.network.members)
        return xor(b"", b"", [self.numbers[i] for i in sorted(self.numbers)])


def test_row_3_negative_control_the_naive_variant_lets_two_colluders_choose_the_result(
    tools: Any,
) -> None:
    wish = b"exactly what the colluders want!"

    class Spy(NaivePeer):
        """Commits early, collects every honest x."""

    class Chooser(NaivePeer):
        def start(self) -> None:
            self.network.at(self.network.now + 100, self.choose)

        def choose(self) -> None:
            known = self.network.members[0].numbers
            honest = [x for i, x in known.items() if i != self.index]
            assert len(honest) == len(self.network.members) - 1
            x = xor(b"", b"", [wish, *honest])
            self.secrets = FlipSecrets(x, self.secrets.salt, bytes(32), bytes(32))
            self.numbers[self.index] = x
            super().start()
            for peer in self.hashes:
                self.network.send(self.index, peer, b"X" + self.secrets.salt + x)

        def received(self, peer: int, data: bytes) -> None:
            if data[:1] == b"H":
                self.hashes[peer] = data[1:]

    network = tools.Network(5, seats={0: Spy, 1: Chooser, 2: NaivePeer, 3: NaivePeer, 4: NaivePeer})
    network.run()
    honest = [member for member in network.members if type(member) is NaivePeer]
    assert len(honest) == 3
    assert {member.result() for member in honest} == {wish}


def test_row_4_a_copied_commitment_cannot_be_opened(tools: Any) -> None:
    class Copier(tools.Scripted):
        def received(self, peer: int, data: bytes) -> None:
            if peer != 1 or data[0] not in (1, 2, 3):
                return
            kind, body = Kind(data[0]), decode_signed(data, self.network.flip).body
            self.tell(self.others(), self.sign(kind, body))

    network = tools.Network(4, seats={0: Copier})
    network.run()
    assert agreement(network) == set()
    assert holds_proof_against(network, 0)
    for outcome in network.outcomes():
        assert isinstance(outcome, fx.Malicious)
        assert [e.proof_kind for e in outcome.evidence] == [BAD_REVEAL]


@pytest.mark.parametrize(
    "change",
    [
        {"challenge_id": 8},
        {"attempt": 1},
        {"genesis": b"\2" * 32},
        {"start_block_hash": b"\2" * 32},
    ],
)
def test_row_4_a_replay_from_elsewhere_is_refused(tools: Any, change: dict[str, Any]) -> None:
    network = tools.Network(3)
    other = tools.flip_for(network.pairs, **change)
    secrets = network.members[1].secrets
    body = secrets.commit_body(other.topic, network.pairs[1].public)
    stale = SignedEnvelope.sign(Kind.COMMIT, other.topic, 1, body, network.pairs[1])
    machine = network.members[0].machine
    machine.start(tools.T0)
    machine.connected(tools.T0, 1)
    assert machine.received(tools.T0, 1, stale.raw) == [fx.Refused(1, "topic")]
    # With this topic's bytes around it the signature does not hold.
    forged = stale.raw[:1] + network.flip.topic + stale.raw[33:]
    assert machine.received(tools.T0, 1, forged) == [fx.Refused(1, "signature")]


@pytest.mark.parametrize("lied_to", [[1], [1, 2], [1, 2, 3]])
def test_row_5_echo_of_the_root_and_of_zero(tools: Any, lied_to: list[int]) -> None:
    def extra(seat: Any, kind: Kind, peer: int) -> Any:
        if kind is Kind.ECHO and peer in lied_to:
            return [seat.sign(Kind.ECHO, bytes(32))]
        return None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.run()
    agreement(network)
    assert all(outcome is not None for outcome in network.outcomes())
    if len(lied_to) < 3:
        assert holds_proof_against(network, 0)


def test_row_6_a_garbage_root_blames_nobody_and_ends(tools: Any) -> None:
    def extra(seat: Any, kind: Kind, _peer: int) -> Any:
        return [seat.sign(Kind.ECHO, b"\5" * 32)] if kind is Kind.ECHO else None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.fate = lambda s, _t, data: [] if s == 0 and data[0] == Kind.BUNDLE else [10]
    left = shown_to_honest(network)
    network.run()
    assert agreement(network) == set()
    assert network.outcomes() == [fx.Offline((0,), fx.Phase.ECHO)] * 3
    assert left == {}
    assert not any(member.machine.evidence for member in network.honest)


def test_row_6_many_garbage_roots_do_not_push_the_true_one_out(tools: Any) -> None:
    def extra(seat: Any, kind: Kind, peer: int) -> Any:
        if kind is Kind.ECHO:
            garbage = [seat.sign(Kind.ECHO, bytes([n + 1]) * 32) for n in range(5)]
            true = decode_signed(seat.inner.disk[Kind.ECHO].envelope, seat.network.flip)
            return [*garbage, true] if peer == 1 else None
        return None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.run()
    assert len(agreement(network)) == 1
    assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())
    assert holds_proof_against(network, 0)


@pytest.mark.parametrize("subset", [[1], [1, 2]])
def test_row_7_an_echo_to_a_subset_is_relayed(tools: Any, subset: list[int]) -> None:
    def extra(_seat: Any, kind: Kind, peer: int) -> Any:
        return [] if kind is Kind.ECHO and peer not in subset else None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.run()
    assert len(agreement(network)) == 1
    assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())


@pytest.mark.parametrize("offset", [-200, -1, 0, 1, 200])
def test_row_7_the_last_echo_around_te(tools: Any, offset: int) -> None:
    """A certificate completed by an echo around Te never splits the honest members."""

    class LateEcho(tools.Scripted):
        def start(self) -> None:
            self.tell(self.others(), self.commit())
            when = self.network.schedule.echo_end_ms + offset
            self.network.at(when, self.echo)

        def echo(self) -> None:
            root = self.network.members[1].machine.root
            self.tell([1], self.sign(Kind.ECHO, root))

        def received(self, peer: int, data: bytes) -> None:
            if data[0] == Kind.REVEAL:
                self.tell([1], self.sign(Kind.REVEAL, self.secrets.reveal_body()))

    network = tools.Network(4, seats={0: LateEcho})
    network.run()
    assert len(agreement(network)) == 1
    assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())


def test_row_8_a_reveal_withheld_from_all_ends_offline_and_bars_a_retry(tools: Any) -> None:
    def extra(_seat: Any, kind: Kind, _peer: int) -> Any:
        return [] if kind is Kind.REVEAL else None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})

    def fate(sender: int, _to: int, data: bytes) -> list[int]:
        return [] if sender == 0 and data[0] == Kind.BUNDLE else [10]

    network.fate = fate
    network.run()
    assert agreement(network) == set()
    assert network.outcomes() == [fx.Offline((0,), fx.Phase.REVEAL)] * 3
    assert not any(member.machine.may_retry for member in network.honest)


@pytest.mark.parametrize("subset", [[1], [2, 3]])
def test_row_8_a_reveal_withheld_from_a_subset_is_relayed(tools: Any, subset: list[int]) -> None:
    def extra(_seat: Any, kind: Kind, peer: int) -> Any:
        return [] if kind is Kind.REVEAL and peer not in subset else None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.fate = lambda s, _t, data: [] if s == 0 and data[0] == Kind.BUNDLE else [10]
    network.run()
    assert len(agreement(network)) == 1
    assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())


@pytest.mark.parametrize("lied_to", [[1], [1, 2], [1, 2, 3]])
def test_row_10_a_signed_bad_reveal(tools: Any, lied_to: list[int]) -> None:
    def extra(seat: Any, kind: Kind, peer: int) -> Any:
        if kind is Kind.REVEAL and peer in lied_to:
            return [seat.sign(Kind.REVEAL, bytes(64))]
        return None

    network = tools.Network(4, seats={0: honest_but(tools, extra)})
    network.fate = lambda s, _t, data: [] if s == 0 and data[0] == Kind.BUNDLE else [10]
    network.run()
    results = agreement(network)
    assert holds_proof_against(network, 0)
    if len(lied_to) < 3:
        assert len(results) == 1, "no abort when a good one is relayed"
        assert all(isinstance(outcome, fx.Success) for outcome in network.outcomes())
    else:
        for outcome in network.outcomes():
            assert isinstance(outcome, fx.Malicious)
            assert outcome.evidence[0].proof_kind == BAD_REVEAL


def test_row_10_a_bad_reveal_that_comes_before_its_commit(tools: Any) -> None:
    network = tools.Network(3)
    pair = network.pairs[1]
    machine = network.members[0].machine
    machine.start(tools.T0)
    machine.connected(tools.T0, 1)
    topic = network.flip.topic
    bad = SignedEnvelope.sign(Kind.REVEAL, topic, 1, bytes(64), pair)
    assert machine.received(tools.T0, 1, bad.raw) == []
    body = network.members[1].secrets.commit_body(topic, pair.public)
    commit = SignedEnvelope.sign(Kind.COMMIT, topic, 1, body, pair)
    effects = machine.received(tools.T0, 1, commit.raw)
    assert [e.evidence.proof_kind for e in effects if isinstance(e, fx.Found)] == [BAD_REVEAL]


def test_row_11_a_forged_bad_reveal_in_an_honest_name_is_refused(tools: Any) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 15)
    machine = network.members[0].machine
    forger = network.pairs[2]
    forged = SignedEnvelope.sign(Kind.REVEAL, network.flip.topic, 1, bytes(64), forger)
    effects = machine.received(network.now, 2, forged.raw)
    assert effects == [fx.Refused(2, "signature")]
    bundle = encode(Bundle((forged,)), network.flip, 2)
    assert machine.received(network.now, 2, bundle) == []
    assert machine.refusals[2, "signature"] == 2
    assert not machine.evidence


def test_row_15_two_live_copies_of_one_key_split_nobody(tools: Any) -> None:
    """A, B: the twin of an honest member signs another commit; both copies fall silent."""

    class Twin(tools.Scripted):
        def start(self) -> None:
            first, second = self.commit(), self.commit(FlipSecrets(*[bytes([7]) * 32] * 4))
            self.tell([1], first)
            self.tell([2, 3], second)

    network = tools.Network(4, seats={0: Twin})
    left = shown_to_honest(network)
    network.run()
    assert agreement(network) == set()
    assert left == {}


def test_row_15_a_member_whose_key_signed_elsewhere_says_so_and_signs_no_more(tools: Any) -> None:
    network = tools.Network(3)
    member = network.members[0]
    member.start()
    member.connected(1)
    other = FlipSecrets(*[bytes([9]) * 32] * 4)
    pair = network.pairs[0]
    body = other.commit_body(network.flip.topic, pair.public)
    stray = SignedEnvelope.sign(Kind.COMMIT, network.flip.topic, 0, body, pair)
    member.received(1, encode(Bundle((stray,)), network.flip, 1))
    assert member.of_type(fx.Silenced) == [fx.Silenced(Kind.COMMIT)]
    network.run(start=False)
    member.do(member.machine.tick(network.schedule.end_ms))
    assert set(member.disk) == {Kind.COMMIT}
    assert member.machine.outcome == fx.Offline((0,), fx.Phase.COMMIT)
    assert not member.of_type(fx.Found), "nobody reports itself"


def test_evidence_before_the_echo_makes_a_member_give_up_and_is_relayed_once(tools: Any) -> None:
    network = tools.Network(4)
    member = network.members[0]
    member.start()
    for peer in (1, 2, 3):
        member.connected(peer)
    topic, pair = network.flip.topic, network.pairs[1]
    secrets = [FlipSecrets(*[bytes([n]) * 32] * 4) for n in (3, 4)]
    commits = [
        SignedEnvelope.sign(Kind.COMMIT, topic, 1, s.commit_body(topic, pair.public), pair)
        for s in secrets
    ]
    member.seen.clear()
    member.received(2, encode(Bundle(tuple(commits)), network.flip, 2))
    (found,) = member.of_type(fx.Found)
    assert found.evidence.proof_kind == EQUIVOCATION
    relayed = [e.peer for e in member.of_type(fx.Send) if e.data[0] == Kind.EVIDENCE]
    assert relayed == [1, 2, 3]
    assert member.machine.gave_up
    assert isinstance(member.machine.outcome, fx.Malicious)
    member.seen.clear()
    again = encode(EvidenceMessage(found.evidence.encoded), network.flip, 3)
    member.received(3, again)
    assert member.seen == []


def test_a_newcomer_gets_the_evidence_after_its_hello(tools: Any) -> None:
    class Equivocator(tools.Scripted):
        def start(self) -> None:
            for peer in self.others():
                other = FlipSecrets.generate(self.network.random.randbytes)
                self.tell([peer], self.commit(other))

    network = tools.Network(4, seats={0: Equivocator})
    network.fate = lambda s, to, _d: [] if 3 in (s, to) else [10]
    network.run(until=tools.T0 + 500)
    assert not network.members[3].machine.evidence
    network.fate = lambda *_: [10]
    for a, b in ((1, 3), (3, 1)):
        who = network.members[a]
        who.do(who.machine.disconnected(network.now, b))
        who.connected(b)
    network.run(until=tools.T0 + 600, start=False)
    assert holds_proof_against(network, 0)


def test_row_23_a_flood_is_cut_off_at_a_bounded_cost(tools: Any) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 50)
    machine = network.members[0].machine
    need = encode_need(network)
    answers = 0
    effects: list[fx.Effect] = []
    for _ in range(100_000):
        effects = machine.received(network.now, 1, need)
        answers += sum(isinstance(e, fx.Send) for e in effects)
        if any(isinstance(e, fx.Disconnect) for e in effects):
            break
    assert fx.Disconnect(1, "flood") in effects
    assert answers < 500
    assert machine.received(network.now, 1, need) == []
    assert any(isinstance(e, fx.Disconnect) for e in machine.connected(network.now, 1))
    later = network.now + 10 * tools.TIMING.delta_ms
    assert not any(isinstance(e, fx.Disconnect) for e in machine.connected(later, 1))


def test_row_23_garbage_is_told_once_and_soon_cut_off(tools: Any) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 50)
    machine = network.members[0].machine
    told = []
    for n in range(1_000):
        effects = machine.received(network.now, 1, bytes([n % 256]) * 70)
        told += [e for e in effects if isinstance(e, fx.Refused)]
        if any(isinstance(e, fx.Disconnect) for e in effects):
            break
    assert n < 100
    assert len(told) == len(set(told))


def test_row_23_memory_is_bounded_whatever_one_key_signs(tools: Any) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 50)
    machine = network.members[0].machine
    pair, topic = network.pairs[1], network.flip.topic
    for n in range(300):
        for kind, length in ((Kind.COMMIT, 64), (Kind.ECHO, 32), (Kind.REVEAL, 64)):
            body = n.to_bytes(2, "little") * (length // 2)
            envelope = SignedEnvelope.sign(kind, topic, 1, body, pair)
            machine.received(network.now + n * 200, 2, envelope.raw)
    member = machine._members[1]
    assert len(member.commits) <= 2
    assert len(member.echoes) <= 3
    assert len(machine.evidence) <= 2


def encode_need(network: Any) -> bytes:
    return encode(Need(Kind.COMMIT, frozenset({0, 1, 2})), network.flip, 1)


def test_the_root_depends_on_every_commitment_and_its_place() -> None:
    pairs = [(bytes([n]) * 32, bytes([n + 100]) * 32) for n in range(4)]
    roots = {commitment_root(bytes(32), order) for order in itertools.permutations(pairs)}
    assert len(roots) == 24
