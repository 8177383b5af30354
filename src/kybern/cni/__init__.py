"""The pod network: addresses for pods on a node and routes between nodes."""
