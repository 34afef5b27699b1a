"""Whole coinflips on a virtual clock, attacked: one integer is one run (coinflip.md §9)."""
