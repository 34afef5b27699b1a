"""JSON-RPC: what substrate-interface and polkadot.js call of a node."""
