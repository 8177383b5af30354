"""Installing machines over the network: what the server answers to a machine that boots, and what it remembers of it."""
