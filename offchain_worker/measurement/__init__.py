"""Measuring any peer: one definition of each figure for all of them (challenge.md §3.5)."""
