"""`datdot hoster`: serve feeds and be paid for it."""

from __future__ import annotations

from typing import Annotated

import typer

from chain_types.words import Call
from offchain_worker.cli.common import ConfigOption, LogOption, StdinOption, run_service
from offchain_worker.cli.provider import submit_as_provider
from offchain_worker.hoster.adversary import Fault
from offchain_worker.service.logs import LogFormat

app = typer.Typer(no_args_is_help=True, help="Register, run and retire a hoster.")


@app.command(epilog="Example: `datdot hoster run --config hoster.toml`")
def run(
    config: ConfigOption,
    adversary: Annotated[
        Fault | None, typer.Option(help="Cheat in this way, to see attestors notice.")
    ] = None,
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Serve and replicate the configured feeds and accept offers, until Ctrl-C."""
    from offchain_worker.service.hoster import load_hoster, serve_hoster

    settings = load_hoster(config)
    run_service(
        lambda: serve_hoster(settings, adversary), log=log, until_stdin_closes=until_stdin_closes
    )


@app.command(epilog="Example: `datdot hoster register --config hoster.toml`")
def register(config: ConfigOption) -> None:
    """Register the account with the Noise key and endpoint of the configuration."""
    from chain_types.records import Endpoint
    from offchain_worker.service.hoster import load_hoster
    from offchain_worker.service.registration import hoster_registration

    settings = load_hoster(config)
    submit_as_provider(
        settings.url,
        settings.account,
        lambda genesis: hoster_registration(
            genesis,
            settings.account,
            settings.noise_key,
            Endpoint.of(settings.endpoint.host, settings.endpoint.port),
        ),
        "registered as a hoster",
    )


@app.command(epilog="Example: `datdot hoster drain --config hoster.toml`")
def drain(config: ConfigOption) -> None:
    """Accept no more hostings; those that run go on."""
    from chain_types.calls import Drain
    from chain_types.records import Role

    _change(config, Drain(Role.HOSTER), "drained")


@app.command(epilog="Example: `datdot hoster undrain --config hoster.toml`")
def undrain(config: ConfigOption) -> None:
    """Accept hostings again."""
    from chain_types.calls import Undrain
    from chain_types.records import Role

    _change(config, Undrain(Role.HOSTER), "undrained")


@app.command(epilog="Example: `datdot hoster deregister --config hoster.toml`")
def deregister(config: ConfigOption) -> None:
    """Leave; only without hostings. The bond is free some time after the last one."""
    from chain_types.calls import Deregister
    from chain_types.records import Role

    _change(config, Deregister(Role.HOSTER), "deregistered")


@app.command(epilog="Example: `datdot hoster withdraw --config hoster.toml`")
def withdraw(config: ConfigOption) -> None:
    """Take the bond back once it is free."""
    from chain_types.calls import WithdrawBond
    from chain_types.records import Role

    _change(config, WithdrawBond(Role.HOSTER), "bond withdrawn")


def _change(config: ConfigOption, call: Call, done: str) -> None:
    from offchain_worker.service.hoster import load_hoster

    settings = load_hoster(config)
    submit_as_provider(settings.url, settings.account, lambda _genesis: call, done)
