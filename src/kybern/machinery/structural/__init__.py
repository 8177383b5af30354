"""Schemas of custom kinds: what they keep of a value, fill in, and ask of it. Pure; definitions are plain values."""
