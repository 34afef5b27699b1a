"""The folder of a testnet: who listens where."""

from __future__ import annotations

from pathlib import Path

import pytest

from offchain_worker.errors import UsageError
from offchain_worker.service.config import AttestorConfig, HosterConfig, load_config, parse_address
from offchain_worker.testnet.layout import HOST, Layout, open_layout, write_hoster_config


def made(folder: Path, *, ipv6: bool) -> Layout:
    return open_layout(folder, attestors=4, hosters=1, block_ms=None, port=0, ipv6=ipv6)


@pytest.mark.parametrize(("ipv6", "host"), [(False, "127.0.0.1"), (True, "::1")])
def test_everybody_but_the_chain_listens_there(tmp_path: Path, ipv6: bool, host: str) -> None:
    layout = made(tmp_path, ipv6=ipv6)
    assert layout.url == f"ws://{HOST}:{layout.rpc_port}"
    write_hoster_config(layout, layout.hosters[0], [bytes(32)])
    hoster = load_config(layout.hosters[0] / "hoster.toml", HosterConfig)
    attestors = [
        load_config(folder / "attestor.toml", AttestorConfig).attestor.listen
        for folder in layout.attestors
    ]
    for text in (hoster.hoster.listen, *hoster.feeds[0].upstream, *attestors):
        assert parse_address(text).host == host
    # A second start goes on with it, whatever is left out.
    assert made(tmp_path, ipv6=False).host == host


def test_a_folder_keeps_the_kind_of_address_that_it_was_made_with(tmp_path: Path) -> None:
    made(tmp_path, ipv6=False)
    with pytest.raises(UsageError, match="was made without --ipv6"):
        made(tmp_path, ipv6=True)


def made_for_validators(folder: Path, port: int, *, ipv6: bool = False) -> Layout:
    return open_layout(
        folder,
        attestors=4,
        hosters=2,
        readers=1,
        block_ms=None,
        port=port,
        ipv6=ipv6,
        native=True,
    )


@pytest.mark.parametrize("ipv6", [False, True])
def test_each_validator_has_ports_of_its_own(tmp_path: Path, ipv6: bool) -> None:
    layout = made_for_validators(tmp_path, 0, ipv6=ipv6)
    assert list(layout.validators) == ["validator-1", "validator-2", "validator-3"]
    assert layout.validators["validator-1"].rpc == layout.rpc_port
    ports = [port for pair in layout.validators.values() for port in pair]
    ports += [layout.author_port, *layout.readers.values()]
    ports += [layout.port_of(folder) for folder in layout.hosters + layout.attestors]
    assert len(set(ports)) == len(ports) == len(layout.choices.ports)
    assert list(layout.readers) == ["reader-1"]
    assert layout.choices.block_ms == 1_000
    # A second start goes on with it.
    assert made_for_validators(tmp_path, 0).choices == layout.choices


def test_hosters_and_attestors_share_the_validators(tmp_path: Path) -> None:
    layout = made_for_validators(tmp_path, 0)
    urls = [layout.url_for(folder) for folder in layout.hosters + layout.attestors]
    nodes = [f"ws://{HOST}:{ports.rpc}" for ports in layout.validators.values()]
    assert urls == [*nodes, *nodes]
    config = load_config(layout.attestors[0] / "attestor.toml", AttestorConfig)
    assert config.chain.url == nodes[2]


def test_a_folder_keeps_the_kind_of_chain_that_it_was_made_with(tmp_path: Path) -> None:
    def again(name: str, *, native: bool) -> Layout:
        left_out = {"attestors": None, "hosters": None, "block_ms": None}
        return open_layout(tmp_path / name, **left_out, port=0, native=native)

    made(tmp_path / "embedded", ipv6=False)
    with pytest.raises(UsageError, match="was made without --native"):
        again("embedded", native=True)
    made_for_validators(tmp_path / "native", 0)
    with pytest.raises(UsageError, match="was made with --native"):
        again("native", native=False)
