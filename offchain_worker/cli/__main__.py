"""`python -m offchain_worker.cli` is the command `datdot`."""

from offchain_worker.cli.app import main

main()
