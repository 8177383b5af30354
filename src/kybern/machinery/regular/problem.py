"""What is wrong with a pattern."""


class PatternError(ValueError):
    """A pattern that Go refuses; says why in Go's words."""

    def __init__(self, says: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {says}: `{part}`")
