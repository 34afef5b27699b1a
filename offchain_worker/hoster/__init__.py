"""A complete hoster: feeds on disk, importing, serving, replicating, receipts (challenge.md §3.4)."""
