"""A seeded fuzzer of all that reads bytes of coinflip peers: `python -m coinflip_fuzz`.

Inputs are generated and mutated from the shared vectors and from recorded runs (`corpus`,
`mutation`), each goes to a parser or to a machine in the middle of a run (`targets`), in batches
on all cores (`campaign`). The same seed gives the same inputs on every machine.
"""
