"""`datdot attestor`: audit hosters."""

from __future__ import annotations

from typing import Annotated

import typer

from chain_types.words import Call
from offchain_worker.attestor.adversary import Fault
from offchain_worker.cli.common import ConfigOption, LogOption, StdinOption, run_service
from offchain_worker.cli.provider import submit_as_provider
from offchain_worker.service.logs import LogFormat

app = typer.Typer(no_args_is_help=True, help="Register, run and retire an attestor.")


@app.command(epilog="Example: `datdot attestor run --config attestor.toml`")
def run(
    config: ConfigOption,
    adversary: Annotated[
        Fault | None, typer.Option(help="Cheat in this way, to see the others and the chain react.")
    ] = None,
    log: LogOption = LogFormat.TEXT,
    until_stdin_closes: StdinOption = False,
) -> None:
    """Take part in every challenge that this attestor is drawn for, until Ctrl-C."""
    from offchain_worker.service.attestor import load_attestor, serve_attestor

    settings = load_attestor(config)
    run_service(
        lambda: serve_attestor(settings, adversary), log=log, until_stdin_closes=until_stdin_closes
    )


@app.command(epilog="Example: `datdot attestor register --config attestor.toml`")
def register(config: ConfigOption) -> None:
    """Register the account with the session key and endpoint of the configuration."""
    from chain_types.records import Endpoint
    from offchain_worker.service.attestor import load_attestor
    from offchain_worker.service.registration import attestor_registration

    settings = load_attestor(config)
    submit_as_provider(
        settings.url,
        settings.account,
        lambda genesis: attestor_registration(
            genesis,
            settings.account,
            settings.session_key,
            Endpoint.of(settings.endpoint.host, settings.endpoint.port),
            settings.capacity,
        ),
        "registered as an attestor",
    )


@app.command(epilog="Example: `datdot attestor drain --config attestor.toml`")
def drain(config: ConfigOption) -> None:
    """Ask to be drawn no more; challenges that run go on."""
    from chain_types.calls import Drain
    from chain_types.records import Role

    _change(config, Drain(Role.ATTESTOR), "drained")


@app.command(epilog="Example: `datdot attestor undrain --config attestor.toml`")
def undrain(config: ConfigOption) -> None:
    """Ask to be drawn again."""
    from chain_types.calls import Undrain
    from chain_types.records import Role

    _change(config, Undrain(Role.ATTESTOR), "undrained")


@app.command(epilog="Example: `datdot attestor deregister --config attestor.toml`")
def deregister(config: ConfigOption) -> None:
    """Leave; only in no open challenge. The bond is free some time after the last one."""
    from chain_types.calls import Deregister
    from chain_types.records import Role

    _change(config, Deregister(Role.ATTESTOR), "deregistered")


@app.command(epilog="Example: `datdot attestor withdraw --config attestor.toml`")
def withdraw(config: ConfigOption) -> None:
    """Take the bond back once it is free."""
    from chain_types.calls import WithdrawBond
    from chain_types.records import Role

    _change(config, WithdrawBond(Role.ATTESTOR), "bond withdrawn")


def _change(config: ConfigOption, call: Call, done: str) -> None:
    from offchain_worker.service.attestor import load_attestor

    settings = load_attestor(config)
    submit_as_provider(settings.url, settings.account, lambda _genesis: call, done)
