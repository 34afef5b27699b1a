"""Hypercore: recorded bytes of npm peers, and what reads a hoster's or a reader's bytes."""
