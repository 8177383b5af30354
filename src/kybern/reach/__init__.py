"""Who reaches whom in a running cluster, and where a packet stays that does not arrive: ``kybern net check``."""
