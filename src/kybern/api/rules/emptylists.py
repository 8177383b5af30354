"""Lists that are always answered: none and an empty one are the same once stored, and both are answered as null.

Until then they differ: who sends an empty list manages that field, who leaves it out does not.
"""

from collections.abc import Callable

from kybern.machinery.kind import Raw


def null_when_empty(*fields: str) -> Callable[[Raw], None]:
    """A kind's ``forget``: the lists at these paths become null when they are empty."""
    paths = tuple(field.split(".") for field in fields)

    def forget(raw: Raw) -> None:
        for *above, last in paths:
            within = raw
            for key in above:
                within = within.get(key) or {}
            if within.get(last) == []:
                within[last] = None

    return forget
