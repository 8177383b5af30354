"""Prefer nodes on which CPU and memory would be used up evenly, so that neither is left over without the other.

The score is (1 - deviation) of 100, where the deviation of two shares is half their distance. Pods that ask for neither are
not judged, or a crowd of them would go to one node.
"""

import numpy as np

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Plugin
from kybern.scheduler.requests import CPU, MEMORY
from kybern.scheduler.table import Mask, Numbers, Table


def score(facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    if not facts.asked.get(CPU) and not facts.asked.get(MEMORY):
        return None
    shares, has = [], []
    for name in (CPU, MEMORY):
        row = table.row(name)
        allocatable = table.allocatable[row]
        used = table.requested[row] + facts.asked.get(name, 0)
        shares.append(np.minimum(used / np.maximum(allocatable, 1), 1.0))
        has.append(allocatable > 0)
    both = has[0] & has[1]
    deviation = np.where(both, np.abs(shares[0] - shares[1]) / 2, 0.0)
    found: Numbers = ((1 - deviation) * MAX_SCORE).astype(np.int64)
    return found


PLUGIN = Plugin("NodeResourcesBalancedAllocation", score=score)
