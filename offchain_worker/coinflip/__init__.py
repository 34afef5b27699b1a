"""Shared randomness among known, possibly Byzantine attestors (coinflip.md)."""
