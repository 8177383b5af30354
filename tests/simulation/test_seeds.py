"""A seed tells the whole story: what went wrong once can be looked at again."""

import os
import subprocess
import sys
from difflib import unified_diff
from pathlib import Path

import pytest

STORY = """
from tests.simulation.plane.story import told
from tests.simulation.plane.virtual import simulated
print(*simulated(lambda: told(20, 120, {seed}), {seed}).trace, sep="\\n")
"""


def written(seed: int, hashes: str) -> list[str]:
    """Every write of a story, told in a process of its own with its own order of sets of words."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root / "src"), str(root)))
    told = subprocess.run(
        [sys.executable, "-c", STORY.format(seed=seed)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONHASHSEED": hashes},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=300,
    )
    return told.stdout.splitlines()


@pytest.mark.timeout(600)
def test_one_seed_told_twice_writes_the_same_at_the_same_times() -> None:
    once, again, other = written(4, "1"), written(4, "2"), written(5, "1")

    assert len(once) > 2000
    assert list(unified_diff(once, again, n=0))[:10] == []
    assert once != other
