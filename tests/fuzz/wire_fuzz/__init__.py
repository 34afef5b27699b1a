"""A seeded fuzzer of all that reads bytes of peers: `python -m wire_fuzz`.

Inputs are generated and mutated (`mutation`) from the shared vectors, from recorded coinflips and
from sessions with a feed (`coinflip`, `hypercore`), each goes to a parser, or to what lies behind
it in the middle of a run, in batches on all cores (`campaign`). The same seed gives the same
inputs on every machine.
"""
