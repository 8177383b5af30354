"""Prefer nodes that already have the pod's images; large ones count more, and ones that many nodes have count fully.

An image counts with its size times the share of nodes that have it, so that one node with a rare image does not draw every
pod. Sums below 23 MiB count as nothing, above 1000 MiB for each container as everything.
"""

import numpy as np

from kybern.scheduler.facts import PodFacts
from kybern.scheduler.framework import MAX_SCORE, Plugin
from kybern.scheduler.room import Numbers
from kybern.scheduler.table import Mask, Table

LEAST, MOST = 23 << 20, 1000 << 20


def tagged(image: str) -> str:
    """The name with its tag, ``latest`` when it has none."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def score(facts: PodFacts, table: Table, _left: Mask) -> Numbers | None:
    containers = (*facts.pod.spec.init_containers, *facts.pod.spec.containers)
    known = [image for one in containers if (image := table.images.get(tagged(one.image))) and image.columns]
    if not known:
        return None
    total: Numbers = np.zeros(table.columns, np.int64)
    for image in known:
        columns = list(image.columns)
        total[columns] += image.size * len(columns) // len(table)
    most = MOST * max(len(containers), 1)
    found: Numbers = MAX_SCORE * (np.clip(total, LEAST, most) - LEAST) // (most - LEAST)
    return found


PLUGIN = Plugin("ImageLocality", score=score)
