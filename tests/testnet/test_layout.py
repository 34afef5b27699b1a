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
