"""When the API is told of a container that somebody means to attach to (``stdin: true``). Pure.

What holds: a container that ends at once is never told to be running. kubectl attaches to a pod that it sees ready and reads
the log of one that it sees ended (``kubectl run -i``, ``kubectl debug``). In between there is no right answer: an attach to
a container that ends at that moment gets nothing of what was written before, and an error makes kubectl of 1.36 on, which
reads the log before it attaches, print it twice (kubernetes/kubectl#1848). Upstream's kubelet sees containers once a second
(``genericPlegRelistPeriod``), so that what ends sooner is seen ended there; here a start is noticed at once.
"""

from collections.abc import Iterator

from kybern.api.core_v1 import Pod
from kybern.kubelet.parts import containers
from kybern.kubelet.runtime import Actual, Instance

PERIOD = 1.0


class Unseen:
    """One pod's; ``period`` in seconds. What ran at the first look was told of by a kubelet before this one."""

    def __init__(self, period: float = PERIOD) -> None:
        self._period = period
        self._first: dict[str, float] | None = None
        """The runs that are there, with the time at which each was first seen."""

    def left(self, pod: Pod, actual: Actual, now: float) -> float | None:
        """Seconds for which nothing is to be told of the pod yet, or None. ``now`` is of a clock that nobody sets."""
        known, began = (self._first, now) if self._first is not None else ({}, now - self._period)
        self._first = {run.id: known.get(run.id, began) for run in _attachable(pod, actual)}
        last = max(self._first.values(), default=began) + self._period
        return last - now if self._first and last > now else None


def _attachable(pod: Pod, actual: Actual) -> Iterator[Instance]:
    """The running ones that have an input."""
    for container, _init in containers(pod):
        run = actual.here(container.name) if container.stdin else None
        if run is not None and run.running:
            yield run
