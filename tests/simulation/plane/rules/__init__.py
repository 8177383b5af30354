"""What must hold of a cluster at rest: one file for each thing looked at, each rule a line in ``checker.CHECKS``."""
