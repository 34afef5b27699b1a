"""Measuring any peer: one definition of each figure, for hosters and attestors (challenge.md §3.5)."""
