"""What the container runtime's state means for the node: ready, and why not (upstream's runtimeState).

What holds: a runtime that does not answer makes the node not ready when it has been silent for ``DOWN_AFTER`` seconds, and
not before: one that is started anew takes no pod of the node out of its services. What it said last stands until then.
"""

import time
from collections.abc import Callable, Mapping

DOWN_AFTER = 30.0
"""Upstream: maxWaitForContainerRuntime."""
AGAIN = 5.0
"""Seconds until a silent runtime is asked again."""

type Conditions = Mapping[str, tuple[bool, str, str]]
"""Whether, reason and message, by the names of the Container Runtime Interface."""

_UNKNOWN = "container runtime status check may not have completed yet"


class Standing:
    """``clock`` is steady. ``problem``: of the runtime; ``network``: of its network; "" for none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent_since: float | None = None
        self._problem = _UNKNOWN
        self.network = ""

    @property
    def silent(self) -> bool:
        return self._silent_since is not None

    @property
    def problem(self) -> str:
        since = self._silent_since
        if since is not None and self._problem != _UNKNOWN and self._clock() - since >= DOWN_AFTER:
            return "container runtime is down"
        return self._problem

    def now(self) -> float:
        return self._clock()

    def heard(self, conditions: Conditions) -> None:
        """It answered."""
        self._silent_since = None
        ready, reason, message = conditions.get("RuntimeReady", (False, "", "no answer"))
        text = f"container runtime not ready: RuntimeReady=false reason:{reason} message:{message}"
        self._problem = "" if ready else text
        ready, reason, message = conditions.get("NetworkReady", (True, "", ""))
        text = f"container runtime network not ready: NetworkReady=false reason:{reason} message:{message}"
        self.network = "" if ready else text

    def unheard(self, asked: float) -> None:
        """It did not answer what it was asked at that time."""
        if self._silent_since is None:
            self._silent_since = asked
