"""`datdot keys`: key files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from offchain_worker.service.keyfiles import KeyKind, describe_key, write_key

app = typer.Typer(no_args_is_help=True, help="Make and show key files.")


@app.command(epilog="Example: `datdot keys new session attestor/session.json`")
def new(
    kind: Annotated[KeyKind, typer.Argument(help="What the key is for.")],
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
) -> None:
    """Make a key from the operating system's randomness and write it, readable by you alone."""
    public = write_key(file, kind)
    typer.echo(_line(kind, public))


@app.command(epilog="Example: `datdot keys show attestor/session.json`")
def show(file: Annotated[Path, typer.Argument(help="A key file.")]) -> None:
    """Show a key file's kind and public key; never its secret."""
    kind, public = describe_key(file)
    typer.echo(_line(kind, public))


def _line(kind: KeyKind, public: bytes) -> str:
    if kind is KeyKind.ACCOUNT:
        from offchain_worker.chain.accounts import ss58_encode

        return f"{kind} 0x{public.hex()} {ss58_encode(public)}"
    return f"{kind} 0x{public.hex()}"
