"""The local testnet: a chain, an author, hosters and attestors, each a process of its own."""
