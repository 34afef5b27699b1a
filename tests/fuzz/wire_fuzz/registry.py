"""Everything that is fuzzed."""

from __future__ import annotations

from wire_fuzz.coinflip import targets as coinflip
from wire_fuzz.hypercore import targets as hypercore
from wire_fuzz.target import Target

TARGETS: dict[str, tuple[type[Target], float]] = {
    "envelope": (coinflip.EnvelopeTarget, 0.08),
    "signed envelope": (coinflip.SignedTarget, 0.05),
    "hello, ping, bulk": (coinflip.HelloTarget, 0.05),
    "need": (coinflip.NeedTarget, 0.05),
    "bundle": (coinflip.BundleTarget, 0.06),
    "proof": (coinflip.ProofTarget, 0.05),
    "evidence": (coinflip.EvidenceTarget, 0.05),
    "channels": (coinflip.MuxTarget, 0.06),
    "machine": (coinflip.MachineTarget, 0.05),
    "messages": (hypercore.MessageTarget, 0.13),
    "manifest": (hypercore.ManifestTarget, 0.06),
    "signature": (hypercore.SignatureTarget, 0.04),
    "handshake": (hypercore.HandshakeTarget, 0.01),
    "stream": (hypercore.StreamTarget, 0.01),
    "client": (hypercore.ClientTarget, 0.06),
    "answers": (hypercore.AnswerTarget, 0.06),
    "receipt": (hypercore.ReceiptTarget, 0.05),
    "report": (hypercore.ReportTarget, 0.02),
    "multiproof": (hypercore.MultiproofTarget, 0.03),
    "peers": (hypercore.PeersTarget, 0.03),
}
"""By name; the second is the share of all inputs."""
