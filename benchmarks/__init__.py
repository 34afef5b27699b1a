"""Figures of DatDot on one machine: `python -m benchmarks`. Not part of the wheel."""
