"""The embedded development chain: executes the compiled runtime and answers JSON-RPC."""
