"""Hosters that serve everything but slowly: the challenge passes, and an SLA takes their reward."""

from __future__ import annotations

from pathlib import Path

import pytest
from challenge_world import World, open_world
from trio.testing import MockClock

from chain_types.records import PaymentKind, Settlement, Sla, Verdict
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.verify import verify_history
from offchain_worker.hoster.adversary import Fault

SLA = Sla(latency_p50_us=3_000, throughput=250_000)
"""For the chunks of 64 bytes here slow hosters take five milliseconds each, the proxy ten for a
window's; honest ones almost none, and the client what a stock one takes. Whichever habit the
attestors draw, one of the bounds tells."""


async def settlements(world: World) -> dict[str, Settlement]:
    """How the first challenge of each of two hosters was settled, by the hoster's name."""
    found = {}
    for number in (0, 1):
        snapshot = await world.settled(number)
        assert snapshot.settlement is not None
        (name,) = (
            hoster.name
            for hoster in world.hosters
            if hoster.account.public == snapshot.challenge.hoster
        )
        found[name] = snapshot.settlement
        assert list(verify_history(await read_history(world.client, number)))
    return found


def is_paid(settlement: Settlement) -> bool:
    return any(payment.kind is PaymentKind.HOSTING for payment in settlement.paid)


@pytest.mark.parametrize("fault", [Fault.SLOW, Fault.PROXY])
async def test_the_medians_break_the_sla(
    tmp_path: Path, autojump_clock: MockClock, fault: Fault
) -> None:
    async with open_world(tmp_path) as world:
        honest, cheat = world.hosters
        cheat.fault = fault
        await world.hire(2, sla=SLA)
        found = await settlements(world)
        for settlement in found.values():
            assert settlement.outcome is Verdict.PASSED
        assert is_paid(found[honest.name])
        assert not is_paid(found[cheat.name])
        attestors = [p for p in found[cheat.name].paid if p.kind is PaymentKind.REPORT]
        assert len(attestors) == 5
        assert found[cheat.name].forfeited > 0
