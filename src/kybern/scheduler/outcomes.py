"""What a decision comes to, and its words. Pure."""

from dataclasses import dataclass

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Refused:
    """``plugins`` are those that refused at least one node; ``helpful`` the nodes where others' leaving could help."""

    nodes: int
    reasons: str
    plugins: frozenset[str]
    helpful: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What the pod's condition and event say when nobody leaves for it."""
        return self.saying(self.nobody_leaves)

    @property
    def nobody_leaves(self) -> str:
        """What preemption says when it finds no node where somebody's leaving helps."""
        others = {NO_VICTIMS: len(self.helpful), NOT_HELPFUL: self.nodes - len(self.helpful)}
        parts = ", ".join(sorted(f"{number} {reason}" for reason, number in others.items() if number))
        return f"preemption: 0/{self.nodes} nodes are available: {parts}." if self.nodes else ""

    def saying(self, more: str) -> str:
        """The same with other words about preemption; without any when somebody leaves."""
        return f"{self.reasons} {more}" if more else self.reasons


def turned_down(plugin: str, reason: str) -> Refused:
    """A pod whose node was refused by ``reserve`` or ``permit`` (upstream's FitError of one node)."""
    return Refused(1, f"0/1 nodes are available: 1 {reason}.", frozenset((plugin,)))
