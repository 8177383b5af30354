"""What things measure and cost: whole numbers of 64 bits that stop at the greatest one, and ranges of them.

The factors are cel-go's: a cost is about what reading ten characters takes. A cost that is not known is UNBOUNDED, which
no budget allows.
"""

import math
from typing import Any

from kybern.machinery.cel.functions import Range

MOST = 2**64 - 1
TRAVERSAL = 0.1
"""What one character of a string costs."""
PATTERN = 0.25
"""What one character of a regular expression costs for every character of the text."""
LIST, MAP, STRUCT = 10, 30, 40
"""What making a list, a map or an object costs."""

ONE = Range(1, 1)
UNBOUNDED = Range(0, MOST)


def plus(*numbers: int) -> int:
    return min(sum(numbers), MOST)


def times(one: int, other: int) -> int:
    return min(one * other, MOST)


def scaled(number: int, factor: float) -> int:
    """Rounded up, as cel-go does it: in floating point."""
    found = math.ceil(float(number) * factor)
    return min(found, MOST)


def sum_of(*ranges: Range) -> Range:
    return Range(plus(*(each.least for each in ranges)), plus(*(each.most for each in ranges)))


def product(one: Range, other: Range) -> Range:
    return Range(times(one.least, other.least), times(one.most, other.most))


def by(found: Range, factor: float) -> Range:
    return Range(scaled(found.least, factor), scaled(found.most, factor))


def union(one: Range, other: Range) -> Range:
    return Range(min(one.least, other.least), max(one.most, other.most))


def size_of(value: Any) -> int:
    """Signs of a string, bytes, items; what has no size counts as one."""
    if isinstance(value, str | bytes | list | tuple | dict):
        return len(value)
    measure = getattr(value, "size", None)
    return measure() if callable(measure) else 1


def traversal(value: Any) -> int:
    """The cost of looking at everything in a value."""
    if isinstance(value, str):
        return int(len(value.encode(errors="surrogatepass")) * TRAVERSAL)
    if isinstance(value, bytes):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list | tuple):
        return sum(map(traversal, value))
    if isinstance(value, dict):
        return sum(traversal(key) + traversal(each) for key, each in value.items())
    return 1
