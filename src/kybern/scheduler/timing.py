"""How long parts of an attempt take, for those who decide and know no clock. Pure: who measures is handed in."""

from typing import Protocol

# Upstream's status codes, as its metrics name them.
SUCCESS, ERROR, SKIPPED, WAITS = "Success", "Error", "Skip", "Wait"
UNSCHEDULABLE, HOPELESS = "Unschedulable", "UnschedulableAndUnresolvable"


class Timing(Protocol):
    """``passed`` ends an extension point, under upstream's name of it; the next one begins then, or with ``start``.

    ``taken`` are the seconds since the attempt began. ``asked`` are the plugins that had a say at a point.
    """

    def taken(self) -> float: ...

    def start(self) -> None: ...

    def passed(self, point: str, status: str = SUCCESS) -> None: ...

    def asked(self, point: str, plugins: tuple[str, ...]) -> None: ...


class Untimed:
    """Nobody wants to know."""

    def taken(self) -> float:
        return 0.0

    def start(self) -> None:
        return

    def passed(self, point: str, status: str = SUCCESS) -> None:
        return

    def asked(self, point: str, plugins: tuple[str, ...]) -> None:
        return


UNTIMED = Untimed()
