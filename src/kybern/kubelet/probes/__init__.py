"""Probes of containers: one file a kind of probe, one line in ``PROBES``; pure counting in ``tally.py``."""
