"""A complete hoster: feeds on disk, imports, serving, replicas, receipts (challenge.md §3.4)."""
