"""Who cheats: `FAULT` or `NAME=FAULT`."""

from __future__ import annotations

from pathlib import Path

import pytest

from offchain_worker.attestor.adversary import Fault as AttestorFault
from offchain_worker.errors import UsageError
from offchain_worker.hoster.adversary import Fault as HosterFault
from offchain_worker.testnet.layout import Choices, Layout
from offchain_worker.testnet.run import cheats

LAYOUT = Layout(Path("net"), Choices(attestors=5, hosters=2, block_ms=500, ports=[0] * 9))


def test_a_fault_alone_is_the_last_ones() -> None:
    assert cheats([], LAYOUT) == {}
    for fault in AttestorFault:
        assert cheats([fault], LAYOUT) == {"attestor-5": fault}
    for hoster_fault in HosterFault:
        assert cheats([hoster_fault], LAYOUT) == {"hoster-2": hoster_fault}


def test_names_choose_who_cheats() -> None:
    texts = ["attestor-2=withhold", "hoster-1=flip-bit", "equivocate"]
    assert cheats(texts, LAYOUT) == {
        "attestor-2": "withhold",
        "hoster-1": "flip-bit",
        "attestor-5": "equivocate",
    }


@pytest.mark.parametrize("text", ["", "lie", "=withhold", "attestor-1=", "attestor-1=lie", "a=b=c"])
def test_what_is_no_fault_is_named_with_all_that_are(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        cheats([text], LAYOUT)
    sentence = str(refused.value)
    assert sentence.startswith(f"--adversary {text!r} names no fault; write FAULT or NAME=FAULT")
    assert all(fault in sentence for fault in [*AttestorFault, *HosterFault])


@pytest.mark.parametrize("text", ["attestor-6=withhold", "hoster-1=withhold", "author=equivocate"])
def test_a_name_that_cannot_do_it_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"{text}' names nobody who can do that; .* attestor-5"):
        cheats([text], LAYOUT)
