"""The coinflip: recorded runs of its machine, and what reads its peers' bytes."""
