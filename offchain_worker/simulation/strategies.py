"""The attacks of coinflip.md §9, one class for each idea; the docstring names its row.

Each takes (world, place) and draws its own particulars from its dice unless given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import Anchor, Effect
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.simulation import chain as on_chain
from offchain_worker.simulation import judge
from offchain_worker.simulation.adversary import (
    SIGNED,
    Deviant,
    Dishonest,
    Heard,
    commit_of,
    own_of,
    sign,
    without,
)
from offchain_worker.simulation.network import Line
from offchain_worker.simulation.seat import Run

if TYPE_CHECKING:
    from offchain_worker.simulation.world import World

ZEROS = bytes(32)


class Partial(Deviant):
    """A deviant that treats some peers differently; which, is drawn once for the whole run."""

    def __init__(self, world: World, place: int, lied_to: Collection[int] | None = None) -> None:
        super().__init__(world, place)
        others = [at for at in range(world.scenario.size) if at != place]
        if lied_to is None:
            lied_to = self.dice.sample(others, 1 + self.dice.randrange(len(others)))
        self.lied_to = frozenset(lied_to)

    def lies_to(self, run: Run, index: int) -> bool:
        """Whether that peer gets the other treatment."""
        return run.attempt.places[index] in self.lied_to


class SplitCommit(Partial):
    """Row 1: another commit to one side than to the other."""

    def __init__(self, world: World, place: int, lied_to: Collection[int] | None = None) -> None:
        super().__init__(world, place, lied_to)
        self._second: dict[bytes, bytes] = {}

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Lie about the commit."""
        if not self.lies_to(run, index) or run.attempt.index_of(self.place) is None:
            return (data,)
        if own_of(data, run.machine.index) is Kind.COMMIT:
            self.world.touch(1)
            if run.topic not in self._second:
                secrets = FlipSecrets.generate(self.dice.randbytes)
                self._second[run.topic] = commit_of(self, run.attempt, secrets).raw
            return (self._second[run.topic],)
        return without(data, run.machine.index, Kind.COMMIT)


class CommitAgain(Partial):
    """Row 2: a second commit once the certificate stands."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Add it to the reveal."""
        if own_of(data, run.machine.index) is Kind.REVEAL and self.lies_to(run, index):
            self.world.touch(2)
            secrets = FlipSecrets.generate(self.dice.randbytes)
            return data, commit_of(self, run.attempt, secrets).raw
        return (data,)


class LateCommitter(Dishonest):
    """Row 3: commits only when it must, knowing whatever its friends were told by then.

    With a wish it reveals only when R is as it likes it.
    """

    def __init__(self, world: World, place: int, at_part: float | None = None) -> None:
        super().__init__(world, place)
        self._part = self.dice.random() if at_part is None else at_part
        self._echoed: set[bytes] = set()

    def on_attempt(self, attempt: Attempt) -> None:
        """Wait for the last moment."""
        schedule = attempt.schedule
        span = schedule.echo_end_ms - schedule.start_ms
        self.at(schedule.start_ms + int(self._part * span), self.commit, attempt)

    def commit(self, attempt: Attempt) -> None:
        """Commit; whatever honest x is known now would decide it."""
        self.world.touch(3)
        topic = attempt.flip.topic
        for index, place in enumerate(attempt.places):
            number = self.coalition.numbers.get((topic, index))
            if number is not None and self.world.watch.is_secret_of(topic, place, number):
                self.world.watch.broken("U", f"{self.place} knew the number of {place} in time")
        self.tell(
            attempt, self.others(attempt), commit_of(self, attempt, self.secrets_of(attempt)).raw
        )

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        """Echo what others echo, reveal when others do."""
        topic = attempt.flip.topic
        for one in new:
            if one.kind == Kind.ECHO and topic not in self._echoed and one.body != ZEROS:
                self._echoed.add(topic)
                self.tell(
                    attempt, self.others(attempt), sign(self, attempt, Kind.ECHO, one.body).raw
                )
            elif one.kind == Kind.REVEAL:
                body = self.secrets_of(attempt).reveal_body()
                self.tell(attempt, [place], sign(self, attempt, Kind.REVEAL, body).raw)


class Copier(Dishonest):
    """Row 4: signs a victim's commit, echo and reveal as its own; replays old topics."""

    def __init__(self, world: World, place: int, victim: int | None = None) -> None:
        super().__init__(world, place)
        others = [at for at in range(world.scenario.size) if at != place]
        self._victim = self.dice.choice(others) if victim is None else victim

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        """Copy, and replay."""
        for one in new:
            if attempt.places[one.member % attempt.flip.size] == self._victim:
                self.world.touch(4)
                copy = sign(self, attempt, Kind(one.kind), one.body)
                self.tell(attempt, self.others(attempt), copy.raw)
        if self.dice.random() < 0.1:
            for topic, heard in self.coalition.heard.items():
                if topic != attempt.flip.topic and heard:
                    old = self.dice.choice(heard).raw
                    moved = old[:1] + attempt.flip.topic + old[33:]
                    self.tell(attempt, [place], old, moved)
                    self.relay(attempt, [place], [moved])


class TwoEchoes(Partial):
    """Row 5: another echo to some: of zero, or of another root."""

    def __init__(
        self,
        world: World,
        place: int,
        lied_to: Collection[int] | None = None,
        other: bytes | None = None,
        hides: bool | None = None,
    ) -> None:
        super().__init__(world, place, lied_to)
        random_root = self.dice.choice([ZEROS, self.dice.randbytes(32)])
        self._other = random_root if other is None else other
        self._hides = self.dice.random() < 0.5 if hides is None else hides

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Lie about the echo."""
        if not self.lies_to(run, index):
            return (data,)
        if own_of(data, run.machine.index) is Kind.ECHO:
            self.world.touch(5)
            return (sign(self, run.attempt, Kind.ECHO, self._other).raw,)
        return without(data, run.machine.index, Kind.ECHO) if self._hides else (data,)


class GarbageRoot(Deviant):
    """Row 6: an echo of a root that nothing has."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Garbage instead of the root, and no relay of the true echo."""
        if own_of(data, run.machine.index) is Kind.ECHO:
            self.world.touch(6)
            return (sign(self, run.attempt, Kind.ECHO, self.dice.randbytes(32)).raw,)
        return without(data, run.machine.index, Kind.ECHO)


class WithholdFrom(Partial):
    """Rows 7, 8: withholds own envelopes of a kind from some, or tells them about Te or Tf."""

    def __init__(
        self,
        world: World,
        place: int,
        lied_to: Collection[int] | None = None,
        kind: Kind | None = None,
        late_by: int | None = None,
        late: bool | None = None,
    ) -> None:
        super().__init__(world, place, lied_to)
        self._kind = self.dice.choice((Kind.ECHO, Kind.REVEAL)) if kind is None else kind
        delta = world.timing.delta_ms
        drawn = self.dice.choice([-delta, -30, -1, 0, 1, 30, delta])
        self._late_by = drawn if late_by is None else late_by
        self._late = self.dice.random() < 0.5 if late is None else late

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Hold it back."""
        if not self.lies_to(run, index):
            return (data,)
        own = run.machine.index
        if own_of(data, own) is self._kind:
            reveal = self._kind is Kind.REVEAL
            self.world.touch((9 if self._late else 8) if reveal else 7)
            if self._late:
                schedule = run.attempt.schedule
                end = schedule.reveal_end_ms if reveal else schedule.echo_end_ms
                self.world.scheduler.at(end + self._late_by, self.say, run, index, data)
            return ()
        return without(data, own, self._kind)


class BadReveal(Partial):
    """Row 10: a signed reveal that does not open the commit, to some."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Lie about the number."""
        if not self.lies_to(run, index):
            return (data,)
        if own_of(data, run.machine.index) is Kind.REVEAL:
            self.world.touch(10)
            return (sign(self, run.attempt, Kind.REVEAL, self.dice.randbytes(64)).raw,)
        return without(data, run.machine.index, Kind.REVEAL)


class Forger(Deviant):
    """Rows 11, 13: forges reveals and evidence in honest names, on the wire and on chain."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Add a forgery to own envelopes."""
        if own_of(data, run.machine.index) is None:
            return (data,)
        return data, *self.forgeries(run)

    def forgeries(self, run: Run) -> Sequence[bytes]:
        """Bytes that would blame an honest member if anybody believed them."""
        dice, flip = self.dice, run.attempt.flip
        heard = self.coalition.heard.get(run.topic, [])
        victims = [at for at, place in enumerate(run.attempt.places) if place != self.place]
        victim = dice.choice(victims)
        kind = dice.choice(SIGNED)
        body = dice.randbytes(judge.BODY[kind])
        index = victim.to_bytes(2, "little")
        real = [one for one in heard if one.member == victim]
        signature = dice.choice(real).raw[-64:] if real else dice.randbytes(64)
        forged = bytes([kind]) + run.topic + index + body + signature
        self.world.touch(11)
        out = [forged]
        if real:
            self.world.touch(13)
            pair = dice.choice(real).raw, dice.choice([forged, *(one.raw for one in real)])
            proof = false_proof(flip.challenge_id, flip.attempt, pair, dice)
            head = bytes([Kind.EVIDENCE]) + run.topic + run.machine.index.to_bytes(2, "little")
            out.append(head + proof)
            self.world.chain.submit(self.place, on_chain.ReportCall(proof))
        return out


def false_proof(challenge: int, attempt: int, pair: tuple[bytes, bytes], dice: Random) -> bytes:
    """Evidence over two envelopes that do not prove what it says, sometimes altered."""
    first, second = pair
    if dice.random() < 0.3:
        at = dice.randrange(len(second))
        second = second[:at] + bytes([second[at] ^ 1 << dice.randrange(8)]) + second[at + 1 :]
    if dice.random() < 0.3:
        first = first[:-64] + torsion(first[-64:])
    if dice.random() < 0.1:
        attempt += 1
    if dice.random() < 0.1:
        challenge += 1
    return proof_of(challenge, attempt, first, second, bad_reveal=dice.random() < 0.5)


def proof_of(
    challenge: int, attempt: int, first: bytes, second: bytes, *, bad_reveal: bool
) -> bytes:
    """SCALE of a proof over two byte strings."""
    head = bytes([bad_reveal]) + challenge.to_bytes(8, "little") + attempt.to_bytes(4, "little")
    return head + b"".join(
        (len(part) << 2 | (0 if len(part) < 64 else 1)).to_bytes(
            1 if len(part) < 64 else 2, "little"
        )
        + part
        for part in (first, second)
    )


ORDER = 2**252 + 27742317777372353535851937790883648493


def torsion(signature: bytes) -> bytes:
    """The same signature with S + the group's order: valid to careless verifiers only."""
    number = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + (number % 2**256).to_bytes(32, "little")


class InventingAnchor(Deviant):
    """Row 12: anchors what never was: invented openings, missing echoes, other attempts."""

    def notice(self, run: Run, effect: Effect) -> None:
        """Act on R."""
        if isinstance(effect, Anchor):
            self.world.touch(12)
            for call in self.inventions(effect):
                self.world.chain.submit(self.place, call)
        super().notice(run, effect)

    def inventions(self, effect: Anchor) -> Iterable[on_chain.AnchorCall]:
        """Anchors that differ from the true one somewhere."""
        true = tuple((one.z, one.salt, one.x) for one in effect.openings)
        at = self.dice.randrange(len(true))
        z, salt, _x = true[at]
        invented = (*true[:at], (z, salt, self.dice.randbytes(32)), *true[at + 1 :])
        yield on_chain.AnchorCall(effect.attempt, invented, effect.echoes)
        echoes = (*effect.echoes[:at], self.dice.randbytes(64), *effect.echoes[at + 1 :])
        yield on_chain.AnchorCall(effect.attempt, true, echoes)
        yield on_chain.AnchorCall(effect.attempt, true[:-1], effect.echoes[:-1])
        yield on_chain.AnchorCall(effect.attempt + 1, true, effect.echoes)
        yield on_chain.AnchorCall(judge.FALLBACK, true, effect.echoes)


def low_bit(result: bytes) -> bool:
    """A wish that a random R fulfils half of the time."""
    return bool(result[0] & 1)


class SelectiveAbort(Deviant):
    """Row 17: holds its reveal back until the coalition knows R, and for good if it dislikes R."""

    def __init__(self, world: World, place: int, wish: Callable[[bytes], bool] = low_bit) -> None:
        super().__init__(world, place)
        self._wish = wish
        self._held: dict[bytes, dict[int, bytes]] = {}
        self._liked: set[bytes] = set()

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        """Hold the reveal back until R is known and liked."""
        if run.topic in self._liked:
            return (data,)
        if own_of(data, run.machine.index) is Kind.REVEAL:
            self.world.touch(17)
            self._held.setdefault(run.topic, {})[index] = data
            self.coalition.learn(data)
            self.world.scheduler.at(self.world.scheduler.now, self.consider, run)
            return ()
        return without(data, run.machine.index, Kind.REVEAL)

    def deliver(self, line: Line, data: bytes) -> None:
        """Whatever arrives may be the last number that was missing."""
        super().deliver(line, data)
        if self.run is not None and self.run.topic in self._held:
            self.consider(self.run)

    def anchor(self, effect: Anchor) -> None:
        """Anchor only what is liked."""
        if self._wish(effect.result):
            super().anchor(effect)

    def consider(self, run: Run) -> None:
        """Compute R from what all friends know; reveal if it is liked."""
        root, size, topic = run.machine.root, run.attempt.flip.size, run.topic
        numbers = [self.coalition.numbers.get((topic, index)) for index in range(size)]
        known = [number for number in numbers if number is not None]
        if topic in self._liked or root is None or len(known) < size:
            return
        if self._wish(self.world.combine(topic, root, known)):
            self._liked.add(topic)
            for index, data in self._held.pop(topic, {}).items():
                self.say(run, index, data)


class GivesUp(Dishonest):
    """Row 18: echo(0) at once in every attempt, with or without a commit."""

    def on_line(self, attempt: Attempt, place: int) -> None:
        """Say so to whoever connects."""
        self.world.touch(18)
        if self.place % 2 or self.dice.random() < 0.5:
            self.tell(attempt, [place], commit_of(self, attempt, self.secrets_of(attempt)).raw)
        self.tell(attempt, [place], sign(self, attempt, Kind.ECHO, ZEROS).raw)


class ExpelledNearStart(Dishonest):
    """Rows 24, 25: gives up, and has itself expelled just when the next roster is settled."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Report oneself around s_a − 2 blocks − finality of the next attempt."""
        timing, following = self.world.timing, attempt.schedule.following(attempt.flip.topic)
        settled = following.start_ms - 2 * timing.block_ms - timing.finality_ms
        self.world.touch(24)
        offset = self.dice.choice(
            [-timing.block_ms, -1, 0, 1, timing.block_ms, 3 * timing.block_ms]
        )
        self.at(settled + offset, self.report, attempt)

    def on_line(self, attempt: Attempt, place: int) -> None:
        """Nobody shall get a certificate."""
        self.tell(attempt, [place], sign(self, attempt, Kind.ECHO, ZEROS).raw)

    def report(self, attempt: Attempt) -> None:
        """Two commits, signed for nobody but the chain."""
        flip = attempt.flip
        lives = [FlipSecrets.generate(self.dice.randbytes) for _ in range(2)]
        first, second = (commit_of(self, attempt, life).raw for life in lives)
        proof = proof_of(flip.challenge_id, flip.attempt, first, second, bad_reveal=False)
        self.call(on_chain.ReportCall(proof))


class Silent(Dishonest):
    """Row 8: takes no part at all."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Say nothing."""
        self.world.touch(8)


class Flooder(Deviant):
    """Rows 22, 23: plays along, and besides sends far too much of everything."""

    def __init__(self, world: World, place: int, messages: int = 300) -> None:
        super().__init__(world, place)
        self._left = messages

    def connect(self, run: Run, line: Line, index: int) -> None:
        """Flood whoever connects."""
        super().connect(run, line, index)
        self.world.scheduler.at(self.world.scheduler.now + 40, self.flood, run, index)

    def flood(self, run: Run, index: int) -> None:
        """Needs, garbage, huge and truncated messages, unknown kinds."""
        dice, topic = self.dice, run.topic
        own = run.machine.index.to_bytes(2, "little")
        size = (run.attempt.flip.size + 7) // 8
        need = bytes([Kind.NEED]) + topic + own + bytes([1 + dice.randrange(3)])
        need += ((1 << run.attempt.flip.size) - 1).to_bytes(size, "little")
        self.world.touch(23)
        self.world.touch(22)
        choice = dice.randrange(5)
        while self._left > 0:
            line = run.lines[index]
            if self.run is not run or line is None:
                return
            self._left -= 1
            if choice == 0:
                data = need
            elif choice == 1:
                data = bytes([dice.randrange(256)]) + topic + own + bytes(dice.randrange(120))
            elif choice == 2:
                data = dice.randbytes(dice.randrange(60))
            elif choice == 3:
                kind = dice.choice(SIGNED)
                data = bytes([kind]) + topic + own + bytes(judge.BODY[kind] + 64)
            else:
                data = bytes([Kind.BULK_DATA]) + topic + own + bytes(4_000)
            self.world.network.transmit(line, self, data)


class SlowReader(Deviant):
    """Row 22: plays along, but takes nothing for long whiles, so that what others send piles up."""

    def connect(self, run: Run, line: Line, index: int) -> None:
        """Stop reading now and then."""
        super().connect(run, line, index)
        delta = run.attempt.schedule.delta_ms
        pause = self.dice.randrange(2 * delta)
        self.world.scheduler.at(self.world.scheduler.now + pause, self.stop, run)

    def stop(self, run: Run) -> None:
        """Take nothing for some Δ, or to the end of the attempt."""
        if self.run is run:
            self.world.touch(22)
            self.world.network.stall(self, stalled=True)
            schedule, now = run.attempt.schedule, self.world.scheduler.now
            until = self.dice.choice([now + 3 * schedule.delta_ms, schedule.end_ms])
            self.world.scheduler.at(until, self.go_on)

    def go_on(self) -> None:
        """Read again."""
        self.world.network.stall(self, stalled=False)


class Chaos(Dishonest):
    """Every row: signs and says anything that its key allows, to anybody, at any time."""

    def on_attempt(self, attempt: Attempt) -> None:
        """Commit, mostly; then do things at random moments."""
        dice = self.dice
        self._lives = [self.secrets_of(attempt), FlipSecrets.generate(dice.randbytes)]
        schedule = attempt.schedule
        span = schedule.end_ms - schedule.start_ms
        early = 1 + dice.randrange(2 * schedule.delta_ms)
        faithful = dice.random() < 0.7
        self.after(early, self.commit, attempt)
        for _ in range(dice.randrange(4 if faithful else 30)):
            self.at(schedule.start_ms + dice.randrange(span), self.misbehave, attempt)

    def commit(self, attempt: Attempt) -> None:
        """Tell everybody the first commit."""
        self.tell(attempt, self.others(attempt), commit_of(self, attempt, self._lives[0]).raw)

    def on_line(self, attempt: Attempt, place: int) -> None:
        """Who connects later gets the commit too, mostly."""
        if self.dice.random() < 0.8:
            self.tell(attempt, [place], commit_of(self, attempt, self._lives[0]).raw)

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        """Follow half of the time; answer needs with anything."""
        dice = self.dice
        for one in new:
            if one.kind == Kind.ECHO and dice.random() < 0.5:
                envelope = sign(self, attempt, Kind.ECHO, one.body)
            elif one.kind == Kind.REVEAL and dice.random() < 0.5:
                envelope = sign(self, attempt, Kind.REVEAL, self._lives[0].reveal_body())
            else:
                continue
            self.tell(attempt, self.some(attempt), envelope.raw)
        if data[:1] == bytes([Kind.NEED]) and dice.random() < 0.5:
            self.spread(attempt, [place])

    def some(self, attempt: Attempt) -> list[int]:
        """Some of the others, perhaps none."""
        others = self.others(attempt)
        return self.dice.sample(others, self.dice.randrange(len(others) + 1))

    def spread(self, attempt: Attempt, places: Sequence[int]) -> None:
        """Relay some of what was heard."""
        heard = self.coalition.heard[attempt.flip.topic]
        if heard:
            few = self.dice.choices(heard, k=1 + self.dice.randrange(5))
            self.relay(attempt, places, [one.raw for one in few])

    def misbehave(self, attempt: Attempt) -> None:
        """One thing against the rules."""
        dice, heard = self.dice, self.coalition.heard[attempt.flip.topic]
        some = self.some(attempt)
        choice = dice.randrange(9)
        if choice == 8:
            self.betray(attempt, some)
        elif choice == 0:
            self.world.touch(1)
            self.tell(attempt, some, commit_of(self, attempt, dice.choice(self._lives)).raw)
        elif choice == 1:
            self.world.touch(5)
            roots = self.coalition.bodies(attempt.flip.topic, Kind.ECHO)
            root = dice.choice([*roots, ZEROS, dice.randbytes(32)])
            self.tell(attempt, some, sign(self, attempt, Kind.ECHO, root).raw)
        elif choice == 2:
            self.world.touch(10)
            body = dice.choice([dice.choice(self._lives).reveal_body(), dice.randbytes(64)])
            self.tell(attempt, some, sign(self, attempt, Kind.REVEAL, body).raw)
        elif choice == 3:
            self.world.touch(23)
            self.tell(attempt, some, *(dice.randbytes(dice.randrange(200)) for _ in range(3)))
        elif choice == 4 and heard:
            self.world.touch(4)
            stolen = dice.choice(heard)
            self.tell(attempt, some, sign(self, attempt, Kind(stolen.kind), stolen.body).raw)
        elif choice == 5 and heard:
            self.world.touch(13)
            pair = dice.choice(heard).raw, dice.choice(heard).raw
            flip = attempt.flip
            proof = false_proof(flip.challenge_id, flip.attempt, pair, dice)
            self.accuse(attempt, some, proof)
            self.call(on_chain.ReportCall(proof))
        elif choice == 6:
            self.ask(attempt, some, dice.choice(SIGNED))
        else:
            self.spread(attempt, some)

    def betray(self, attempt: Attempt, places: Sequence[int]) -> None:
        """Blame a friend, or oneself, truly."""
        found = self.coalition.contradictions(attempt.flip.topic)
        if found:
            pair = self.dice.choice(found)
            flip = attempt.flip
            proof = proof_of(flip.challenge_id, flip.attempt, *pair, bad_reveal=False)
            self.accuse(attempt, places, proof)
            self.call(on_chain.ReportCall(proof))

    def hear(self, event: on_chain.Event) -> None:
        """Commit to the fallback, or not, or to nothing real."""
        if isinstance(event, on_chain.CommitOpened) and self.dice.random() < 0.7:
            self.call(on_chain.CommitCall(self.dice.randbytes(32)))
