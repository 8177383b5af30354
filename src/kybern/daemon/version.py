"""Which Kubernetes this is: the API that is spoken, and the mark of who speaks it."""

VERSION = "v1.36.2-kybern"
MINOR, COMPATIBLE = "1.36", "1.35"
"""The minor version that it behaves as, and the oldest one that it works beside."""
