"""Rules that several kinds share: defaults, checks and printed values, as pure functions on plain values."""
