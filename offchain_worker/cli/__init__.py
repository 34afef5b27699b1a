"""The command `datdot`."""

from offchain_worker.cli.app import main

__all__ = ["main"]
