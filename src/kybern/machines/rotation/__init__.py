"""Exchanging what a cluster trusts while it runs: pure decisions from what the machines show, one step at a time."""
