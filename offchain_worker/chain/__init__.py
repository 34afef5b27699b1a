"""The chain from outside: JSON-RPC, finalized heads, transactions, accounts, typed reads."""
