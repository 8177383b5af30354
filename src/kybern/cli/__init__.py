"""Console scripts; the only place that wires things together."""
