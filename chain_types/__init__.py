"""The chain's words in Python: calls, events, storage and reports, in SCALE."""
