"""What the functions that read a string cost: a tenth for every sign, for each time that they go over it."""

from typing import Any

from kybern.machinery.cel import measures
from kybern.machinery.cel.functions import Count, Estimate, Range


def estimate(times: int = 1) -> Estimate:
    def found(sizes: tuple[Range, ...]) -> Range:
        return measures.by(sizes[0], times * measures.TRAVERSAL)

    return found


def count(times: int = 1) -> Count:
    def found(arguments: tuple[Any, ...], _result: Any) -> int:
        return measures.scaled(measures.size_of(arguments[0]), times * measures.TRAVERSAL)

    return found


def same(sizes: tuple[Range, ...]) -> Range:
    """The result is as long as the first argument."""
    return Range(sizes[0].least, sizes[0].most)
