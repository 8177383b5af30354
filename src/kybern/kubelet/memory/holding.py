"""All of the node's memory: given to pods, and known across restarts.

What holds: what is given is on disk before a container runs with it; what was kept is true of the machine as it is, or the
kubelet does not start (upstream's rule: memory that is counted twice would be noticed only when it is gone).
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from kybern.api.core_v1 import Pod
from kybern.daemon.files import replace_file
from kybern.kubelet.checkpoint import Checkpoint
from kybern.kubelet.memory import checkpoint
from kybern.kubelet.memory.ledger import (
    Block,
    Hand,
    Kept,
    State,
    agrees,
    returned,
    wishes_of_pod,
)
from kybern.kubelet.topology.hints import Numa

log = logging.getLogger(__name__)


class Unusable(Exception):
    """What is on disk is not true of this machine."""


class Memory:
    """``fresh``: the nodes with nothing given; empty switches all of it off (policy None). Raises Unusable."""

    def __init__(self, file: Path, policy: str, fresh: State, numa: Numa) -> None:
        self._numa = numa
        self.policy = policy
        self._kept = _restored(file, policy, fresh)
        self._checkpoint = Checkpoint(file, lambda: checkpoint.encode(policy, self._kept))

    def hand(self, pod: Pod) -> Hand | None:
        """What gives a pod its memory; None when it gets none for certain, or has it."""
        if not self._kept.state or pod.metadata.uid in self._kept.entries or not wishes_of_pod(pod):
            return None
        return Hand(pod, self._kept.state, self._numa)

    def take(self, uid: str, hand: Hand) -> None:
        """What the hand gave is nobody else's from now on; ``keep`` writes it down."""
        self._kept = Kept(hand.state, {**self._kept.entries, uid: hand.given})

    async def keep(self) -> None:
        """Have on disk who has what. Raises OSError."""
        await self._checkpoint.keep()

    async def release(self, uid: str) -> None:
        """Nothing of a pod runs any more."""
        found = self._kept.entries.get(uid)
        if found is None:
            return
        state = self._kept.state
        for blocks in found.values():
            for block in blocks:
                state = returned(state, block)
        rest = {pod: each for pod, each in self._kept.entries.items() if pod != uid}
        self._kept = Kept(state, rest)
        await self.keep()

    def holders(self) -> frozenset[str]:
        """Uids of the pods that have memory of their own."""
        return frozenset(self._kept.entries)

    def of(self, uid: str, container: str) -> str:
        """The nodes of a container's memory, in the kernel's notation; empty for all."""
        blocks = self.blocks(uid, container)
        return ",".join(str(node) for node in sorted({n for one in blocks for n in one.numa_affinity}))

    def blocks(self, uid: str, container: str) -> tuple[Block, ...]:
        return self._kept.entries.get(uid, {}).get(container, ())

    def allocatable(self) -> tuple[Block, ...]:
        """What pods may have of each node."""
        return tuple(
            Block((node,), sort, table.allocatable)
            for node, cell in sorted(self._kept.state.items())
            for sort, table in sorted(cell.memory_map.items())
            if table.allocatable
        )


def _begin(file: Path, policy: str, kept: Kept) -> None:
    """Write down that nobody has anything. A full disk is no reason to stop: nothing is lost when it cannot be."""
    try:
        replace_file(file, checkpoint.encode(policy, kept))
    except OSError as problem:
        log.warning("cannot write %s: %s; it is written when a pod is given memory", file, problem)


def _restored(file: Path, policy: str, fresh: State) -> Kept:
    nothing: Mapping[str, Mapping[str, tuple[Block, ...]]] = {}
    advice = (
        f'drain this node and delete the memory manager checkpoint file "{file}" before restarting Kubelet'
    )
    try:
        found = checkpoint.read(file)
    except (checkpoint.Corrupt, OSError) as problem:
        raise Unusable(f"could not restore state from checkpoint: {problem}, please {advice}") from problem
    if found is None or (found[0] == policy and not found[1].state and not found[1].entries):
        kept = Kept(fresh, nothing)
        if found is None or found[1] != kept:
            _begin(file, policy, kept)
        return kept
    if found[0] != policy:
        text = (
            f'[memorymanager] configured policy "{policy}" differs from state checkpoint policy "{found[0]}"'
        )
        raise Unusable(f"could not restore state from checkpoint: {text}, please {advice}")
    why = agrees(found[1], fresh)
    if why:
        raise Unusable(f"{why}, please {advice}")
    return found[1]
