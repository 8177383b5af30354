"""Room for expressions that nest deeply: as deep as the grammar's limit allows, which may be deeper than Python's default.

The limit is Python's for all that runs, and others rely on it; so it is raised only for work that has failed at it, and only
as long as that takes.
"""

import sys
from collections.abc import Callable

_DEPTH = 20_000


def with_room[Result](work: Callable[[], Result]) -> Result:
    """Does again, deeper, what ended with a RecursionError."""
    before = sys.getrecursionlimit()
    if before >= _DEPTH:
        raise RecursionError("an expression nests deeper than can be")
    sys.setrecursionlimit(_DEPTH)
    try:
        return work()
    finally:
        sys.setrecursionlimit(before)
