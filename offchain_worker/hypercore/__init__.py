"""The Hypercore wire protocol, as far as auditor and hoster need it (hypercore.md)."""
