"""The messages of the peer exchange, and what is made of what peers say."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_types.records import Endpoint
from offchain_worker.swarm.admission import source_of
from offchain_worker.swarm.peer_exchange import (
    ANSWERS,
    DIALS,
    MAX_ENDPOINTS,
    MAX_KNOWN,
    MAX_KNOWN_PER_SITE,
    MAX_MESSAGE_BYTES,
    RETRY_S,
    AddressBook,
    Listening,
    Peers,
    PeersError,
    Reach,
    reach_of,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "peers.json").read_text())
CHOICES = random.Random(1)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str).filter(lambda ip: "%" not in ip)
).filter(lambda ip: reach_of(ip) is not Reach.NOWHERE)
ENDPOINTS = st.builds(Endpoint.of, HOSTS, st.integers(1, 65535))


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(VECTORS["valid"])
def test_vectors_are_read_and_written(vector: dict[str, Any]) -> None:
    others = tuple(Endpoint.of(one["host"], one["port"]) for one in vector["others"])
    peers = Peers(vector["port"], others)
    assert Peers.decode(bytes.fromhex(vector["message"])) == peers
    assert peers.encode().hex() == vector["message"]


@named(VECTORS["refused"])
def test_what_is_no_message_is_refused_with_a_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(PeersError, match=vector["reason"]):
        Peers.decode(bytes.fromhex(vector["message"]))


@given(st.integers(0, 65535), st.lists(ENDPOINTS, max_size=MAX_ENDPOINTS, unique=True))
def test_whatever_is_encoded_is_decoded(port: int, others: list[Endpoint]) -> None:
    peers = Peers(port, tuple(others))
    message = peers.encode()
    assert len(message) <= MAX_MESSAGE_BYTES
    assert Peers.decode(message) == peers


@given(
    st.one_of(
        st.binary(max_size=700),
        st.builds(
            lambda message, cut, tail: message[:cut] + tail,
            st.sampled_from([bytes.fromhex(one["message"]) for one in VECTORS["valid"]]),
            st.integers(0, 40),
            st.binary(max_size=40),
        ),
    )
)
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    try:
        peers = Peers.decode(message)
    except PeersError:
        return
    assert peers.encode() == message


def test_a_message_has_room_for_32() -> None:
    others = tuple(Endpoint.of("8.8.8.8", port) for port in range(1, 34))
    with pytest.raises(ValueError, match="at most 32"):
        Peers(0, others).encode()


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("127.0.0.1", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("10.0.0.1", Reach.NETWORK),
        ("172.31.255.255", Reach.NETWORK),
        ("192.168.0.1", Reach.NETWORK),
        ("169.254.1.1", Reach.NETWORK),
        ("100.64.0.1", Reach.NETWORK),
        ("fe80::1", Reach.NETWORK),
        ("fc00::1", Reach.NETWORK),
        ("2001:db8::1", Reach.NETWORK),
        ("2002:7f00:1::", Reach.NETWORK),
        ("172.32.0.1", Reach.INTERNET),
        ("8.8.8.8", Reach.INTERNET),
        ("2606:4700::1", Reach.INTERNET),
        ("::ffff:127.0.0.1", Reach.NOWHERE),
    ],
)
def test_reach_follows_the_chains_rules(host: str, reach: Reach) -> None:
    assert reach_of(host) is reach


def test_who_asks_is_told_of_the_others_and_not_of_itself() -> None:
    listening = Listening()
    assert listening.asked("anna", "8.8.8.8", 1, 0.0, CHOICES) == ()
    assert listening.asked("boris", "8.8.4.4", 0, 0.0, CHOICES) == (Endpoint.of("8.8.8.8", 1),)
    assert listening.asked("clara", "1.1.1.1", 3, 0.0, CHOICES) == (Endpoint.of("8.8.8.8", 1),)
    assert listening.asked("anna", "8.8.8.8", 1, 0.0, CHOICES) == (Endpoint.of("1.1.1.1", 3),)
    listening.forget("clara")
    listening.forget("nobody")
    assert listening.asked("dora", "9.9.9.9", 0, 0.0, CHOICES) == (Endpoint.of("8.8.8.8", 1),)
    assert listening.endpoints == {Endpoint.of("8.8.8.8", 1)}


def test_an_own_address_is_the_one_that_the_caller_calls_from() -> None:
    # There is no way to name somebody else as oneself.
    listening = Listening()
    listening.asked("liar", "6.6.6.6", 443, 0.0, CHOICES)
    assert {endpoint.host for endpoint in listening.endpoints} == {"6.6.6.6"}


def test_inner_addresses_are_told_to_nobody_outside() -> None:
    listening = Listening()
    listening.asked("inside", "127.0.0.1", 1, 0.0, CHOICES)
    listening.asked("near", "10.0.0.1", 1, 0.0, CHOICES)
    assert listening.asked("outside", "8.8.8.8", 0, 0.0, CHOICES) == ()
    found = listening.asked("neighbour", "10.0.0.2", 0, 0.0, CHOICES)
    assert found == (Endpoint.of("10.0.0.1", 1),)
    found = listening.asked("here", "127.0.0.1", 0, 0.0, CHOICES)
    assert found is not None
    assert len(found) == 2


def test_answers_are_rationed_for_each_caller() -> None:
    listening = Listening()
    answers = [listening.asked("anna", "8.8.8.8", 1, 0.0, CHOICES) for _ in range(5)]
    assert answers == [()] * ANSWERS.burst + [None] * (5 - ANSWERS.burst)
    assert listening.asked("boris", "8.8.8.8", 2, 0.0, CHOICES) is not None
    assert listening.asked("anna", "8.8.8.8", 1, 1 / ANSWERS.per_second, CHOICES) is not None


def test_one_source_does_not_fill_the_list() -> None:
    listening = Listening()
    for caller in range(200):
        listening.asked(("flood", caller), "6.6.6.6", caller + 1, 0.0, CHOICES)
    assert len(listening.endpoints) == MAX_KNOWN_PER_SITE
    for caller in range(200):
        listening.asked(caller, f"8.8.{caller}.1", 1, 0.0, CHOICES)
    assert len(listening.endpoints) == MAX_KNOWN
    for caller in range(200):
        listening.forget(("flood", caller))
        listening.forget(caller)
    assert listening.endpoints == frozenset()
    assert not listening._per_site
    assert not listening._answers


def dialled(book: AddressBook, seconds: int) -> list[Endpoint]:
    """What a book gives out in so many seconds to somebody who always asks."""
    found = []
    for second in range(seconds):
        while (endpoint := book.to_dial(float(second))) is not None:
            found.append(endpoint)
    return found


def test_a_victim_gets_few_connections_whatever_peers_say() -> None:
    book = AddressBook()
    victim = [Endpoint.of("8.8.8.8", port) for port in range(1, 1000)]
    made = []
    for second in range(600):
        book.heard(victim[second : second + 32], "6.6.6.6")
        while (endpoint := book.to_dial(float(second))) is not None:
            made.append(endpoint)
    # Four at once, and four more in ten minutes; not one for each message.
    assert len(made) <= 8
    assert len(set(made)) == len(made)


def test_connections_to_all_together_are_rationed() -> None:
    book = AddressBook()
    made = []
    for second in range(600):
        told = [Endpoint.of(f"8.{second % 256}.{n}.1", 1 + second // 256) for n in range(32)]
        book.heard(told, "6.6.6.6")
        while (endpoint := book.to_dial(float(second))) is not None:
            made.append(endpoint)
        assert len(book) <= MAX_KNOWN
    assert len(made) <= DIALS.burst + 600 * DIALS.per_second


def test_an_address_leads_no_further_inside_than_its_teller_is() -> None:
    inner = [Endpoint.of("127.0.0.1", 22), Endpoint.of("192.168.1.1", 80)]
    book = AddressBook()
    assert book.heard([*inner, Endpoint.of("8.8.8.8", 1)], "6.6.6.6") == 2
    assert dialled(book, 60) == [Endpoint.of("8.8.8.8", 1)]
    book = AddressBook()
    assert book.heard(inner, "10.0.0.1") == 1
    assert dialled(book, 60) == [Endpoint.of("192.168.1.1", 80)]
    book = AddressBook()
    assert book.heard(inner, "127.0.0.1") == 0
    assert set(dialled(book, 60)) == set(inner)


def test_an_address_is_dialled_again_only_much_later() -> None:
    book = AddressBook([Endpoint.of("8.8.8.8", 2)])
    endpoint = Endpoint.of("8.8.8.8", 1)
    assert book.heard([endpoint, endpoint, Endpoint.of("8.8.8.8", 2)], "6.6.6.6") == 0
    assert book.to_dial(0.0) == endpoint
    book.heard([endpoint], "6.6.6.6")
    assert book.to_dial(RETRY_S - 1) is None
    assert book.to_dial(RETRY_S) == endpoint


def test_what_was_dialled_gives_way_to_news() -> None:
    book = AddressBook()
    crowd = [Endpoint.of("8.8.8.8", port) for port in range(1, MAX_KNOWN_PER_SITE + 2)]
    assert book.heard(crowd, "6.6.6.6") == 1
    assert book.to_dial(0.0) == crowd[0]
    assert book.heard([crowd[-1]], "6.6.6.6") == 0
    assert len(book) == MAX_KNOWN_PER_SITE


@given(st.lists(st.tuples(ENDPOINTS, HOSTS, st.booleans()), max_size=60))
def test_counts_stay_true(steps: list[tuple[Endpoint, str, bool]]) -> None:
    book = AddressBook()
    for at, (endpoint, teller, dials) in enumerate(steps):
        book.heard([endpoint], teller)
        if dials:
            book.to_dial(float(at))
    counted = [source_of(endpoint.host) for endpoint in book._known]
    assert dict(book._per_site) == {site: counted.count(site) for site in counted}
