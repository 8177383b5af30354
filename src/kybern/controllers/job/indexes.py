"""Sets of completion indexes, and what a pod says about its own; pure."""

from collections.abc import Iterable

from kybern.api.core_v1 import Pod

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"


def parsed(text: str, completions: int) -> frozenset[int]:
    """The indexes that a list such as ``1,3-5`` names, without those that a job does not have any more."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        low, _, high = part.partition("-")
        found.update(range(int(low), min(int(high or low) + 1, completions)))
    return frozenset(one for one in found if one < completions)


def shown(indexes: Iterable[int]) -> str:
    """Two that follow each other are a list, three are a range."""
    parts: list[list[int]] = []
    for one in sorted(indexes):
        if parts and parts[-1][-1] == one - 1:
            parts[-1].append(one)
        else:
            parts.append([one])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in parts
    )  # fmt: skip


def index_of(pod: Pod) -> int | None:
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else None


def _number(pod: Pod, annotation: str) -> int:
    text = pod.metadata.annotations.get(annotation, "0")
    return int(text) if text.isdecimal() else 0


def failures_of(pod: Pod) -> int:
    """How often pods of this index had failed before this one was made."""
    return _number(pod, FAILURES)


def ignored_of(pod: Pod) -> int:
    return _number(pod, IGNORED)
