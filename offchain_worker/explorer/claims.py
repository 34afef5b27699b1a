"""What a verifier says when something does not follow, and how it finds money that moved."""

from __future__ import annotations

from collections.abc import Iterable

from chain_types.runtime import EventRecord, OtherEvent


class DoesNotHold(Exception):
    """Something on chain does not follow from the rest; the message says what and where."""


def require(condition: bool, otherwise: str) -> None:
    """Go on only if a claim holds.

    Raises:
        DoesNotHold: it does not; with the sentence.
    """
    if not condition:
        raise DoesNotHold(otherwise)


def balance_moved(
    events: Iterable[EventRecord], name: str, amount: int, who: bytes | None = None
) -> bool:
    """Whether one of the events of `Balances` tells of this amount, of this account if given."""
    return any(
        isinstance(record.event, OtherEvent)
        and (record.event.pallet, record.event.name) == ("Balances", name)
        and record.event.fields["amount"] == amount
        and (who is None or bytes(record.event.fields["who"]) == who)
        for record in events
    )
