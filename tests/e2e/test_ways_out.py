"""Attestors as processes, with proxies in their configuration, in a network on IPv6."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
from e2e_network import closed, events_of, holds, log_of, open_network, reasons, until
from socks_server import socks_server

from chain_types.records import Verdict
from chain_types.report import Reason
from offchain_worker.service.config import AttestorConfig, load_config, write_config
from offchain_worker.testnet.layout import Layout

PASSWORD = "correct-horse"  # noqa: S105


def take_proxy(folder: Path, *proxies: str) -> None:
    path = folder / "attestor.toml"
    config = load_config(path, AttestorConfig)
    section = msgspec.structs.replace(config.attestor, proxy=list(proxies))
    write_config(path, msgspec.structs.replace(config, attestor=section))
    path.chmod(0o600)


async def test_proxies_carry_audits_and_a_broken_one_costs_its_owner_only(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"socks5://127.0.0.1:{unused.getsockname()[1]}"
        async with socks_server(credentials=("me", PASSWORD)) as server:
            ours = f"socks5://me:{PASSWORD}@127.0.0.1:{server.port}"

            def configure(layout: Layout) -> None:
                first, second, third, *_ = layout.attestors
                take_proxy(first, ours)
                take_proxy(second, nobody)
                take_proxy(third, nobody, ours)

            async with open_network(tmp_path, hosters=1, ipv6=True, configure=configure) as network:
                snapshot = await until(network, "hoster-1", 0, closed)
                stage = snapshot.challenge.stage
                found = await reasons(network, snapshot)
                assert set(found) == {f"attestor-{n}" for n in (1, 3, 4, 5)}
                # On a busy machine a chunk may come too late; nobody is out of reach.
                assert set(found.values()) <= {None, Reason.TIMEOUT}
                assert None in (found["attestor-1"], found["attestor-3"])
                assert stage.outcome is Verdict.PASSED
                hoster = network.layout.port_of(network.layout.hosters[0])
                # Each of the two audits, and what the two observed besides.
                assert server.seen[f"::1 {hoster}"] >= 2
                missed = events_of(network, "attestor-2", snapshot.id)
                assert "audit.missed" in missed
                assert "egress.failed" in missed
                assert "egress.failed" in events_of(network, "attestor-3", snapshot.id)
                for name, registered in (("attestor-1", False), ("attestor-4", True)):
                    events = events_of(network, name, snapshot.id)
                    assert ("egress.registered" in events) == registered, name
                await holds(network, snapshot)
                for log in network.layout.logs.iterdir():
                    assert PASSWORD not in log.read_text()
                assert log_of(network, "attestor-1")
