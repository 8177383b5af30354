"""What a score depends on: weighed resources, and a broken line from how full a node is to its score. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from kybern.machinery.causes import invalid, required
from kybern.scheduler.arguments import Arguments
from kybern.scheduler.requests import CPU, MEMORY
from kybern.scheduler.room import Numbers

# Scores in a file go up to 10, those of plugins up to 100.
HIGHEST, SCALE = 10, 10
BOTH: Mapping[str, int] = MappingProxyType({CPU: 1, MEMORY: 1})


@dataclass(frozen=True, slots=True)
class Point:
    """``full`` is a percentage, ``score`` 0 to 100."""

    full: int
    score: int


type Shape = tuple[Point, ...]


def resources(given: Arguments) -> Mapping[str, int]:
    """Weights by name; both CPU and memory when none are listed, and 1 where no weight is told."""
    listed = [(one, one.text("name"), one.integer("weight") or 1) for one in given.children("resources")]
    for one, name, weight in listed:
        if not 1 <= weight <= 100:
            one.wrong(
                invalid(one.at("weight"), weight, f"resource weight of {name} not in valid range (0, 100]")
            )
    return {name: weight for _, name, weight in listed} or BOTH


def shape(given: Arguments) -> Shape:
    """The points of ``shape``, in the order of how full. Words of upstream's validateFunctionShape."""
    listed = given.children("shape")
    found = [(one.integer("utilization"), one.integer("score")) for one in listed]
    if not found:
        given.wrong(required(given.at("shape"), "at least one point must be specified"))
    for (before, _), (now, _), one in zip(found, found[1:], listed[1:], strict=False):
        if before >= now:
            one.wrong(invalid(one.at("utilization"), now, "values must be sorted in increasing order"))
            break
    for (full, score), one in zip(found, listed, strict=True):
        if not 0 <= full <= 100:
            one.wrong(invalid(one.at("utilization"), full, "not in valid range [0, 100]"))
        if not 0 <= score <= HIGHEST:
            one.wrong(invalid(one.at("score"), score, f"not in valid range [0, {HIGHEST}]"))
    return tuple(Point(full, score * SCALE) for full, score in found)


def along(points: Sequence[Point], full: Numbers) -> Numbers:
    """The score of each percentage. Divisions drop what is left over towards 0, as Go's do."""
    found: Numbers = np.full_like(full, points[-1].score)
    for before, after in reversed(tuple(pairwise(points))):
        rise = (after.score - before.score) * (full - before.full)
        step = np.sign(rise) * (np.abs(rise) // (after.full - before.full))
        found = np.where(full <= after.full, before.score + step, found)
    return np.where(full <= points[0].full, points[0].score, found)
