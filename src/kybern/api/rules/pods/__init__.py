"""What a valid pod is, in upstream's words; the same rules hold for pod templates."""
