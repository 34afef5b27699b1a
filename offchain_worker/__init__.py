"""DatDot's off-chain worker: attestors and hosters of Hypercore feeds."""
