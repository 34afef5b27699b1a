"""A day in the life: all accounts, the real runtime, the real cores, on a simulated clock."""
