"""How many requests are answered at once (--max-requests-inflight and its like)."""

from kybern.apiserver import metrics
from kybern.machinery.errors import Details, TooManyRequests


class Limits:
    """How many requests may be on their way at once; watches do not count."""

    def __init__(self, reads: int, writes: int) -> None:
        self._limits = (reads, writes)
        self._now = [0, 0]

    def enter(self, *, writing: bool) -> None:
        at = int(writing)
        limit = self._limits[at]
        if limit and self._now[at] >= limit:
            metrics.rejected.labels("mutating" if writing else "readOnly").inc()
            raise TooManyRequests(
                "Too many requests, please try again later.", Details(retry_after_seconds=1)
            )
        self._now[at] += 1

    def leave(self, *, writing: bool) -> None:
        self._now[int(writing)] -= 1
