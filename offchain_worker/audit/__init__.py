"""Auditing a hoster: the session, the receipt, the multiproof, the report (challenge.md §3, §4)."""
