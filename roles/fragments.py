"""What of a member's file is unused, and whether giving it back is worth the seconds in which it serves nobody. Pure.

Read from ``etcdctl endpoint status -w json`` and ``etcdctl alarm list -w json``. etcd's file never shrinks by itself:
what compaction frees is used again, and given back to the disk only by defragmentation, during which the member answers
nothing. See https://etcd.io/docs/v3.5/op-guide/maintenance/.
"""

import json
from dataclasses import dataclass
from typing import Any

SHARE = 0.3  # of the file that has to be unused
LEAST = 16 * 2**20  # bytes that have to be unused
NOSPACE = 1
CORRUPT = 2


@dataclass(frozen=True, slots=True)
class Space:
    """A member's file: its bytes, those in use, and the revision that it is at."""

    size: int
    used: int
    revision: int
    leads: bool

    @property
    def unused(self) -> int:
        return self.size - self.used

    @property
    def worth_it(self) -> bool:
        return self.unused >= LEAST and self.unused >= SHARE * self.size


def space(text: str) -> Space | None:
    """The state of the member that was asked; None when it did not answer."""
    answers: list[dict[str, Any]] = json.loads(text or "[]")
    if not answers:
        return None
    status = answers[0]["Status"]
    return Space(
        size=status.get("dbSize", 0),
        used=status.get("dbSizeInUse", 0),
        revision=status["header"]["revision"],
        leads=status.get("leader", 0) == status["header"]["member_id"],
    )


def alarms(text: str) -> frozenset[int]:
    """The kinds of alarms that are on: NOSPACE (the quota is used up: no writes), CORRUPT (members differ)."""
    answer: dict[str, Any] = json.loads(text or "{}")
    return frozenset(each["alarm"] for each in answer.get("alarms", ()) if each.get("alarm"))
