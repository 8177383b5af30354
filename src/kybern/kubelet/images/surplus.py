"""Which images may go. Pure."""

from collections.abc import Iterable, Mapping

from kybern.kubelet.convert import Image


def surplus(
    images: Iterable[Image], used: frozenset[str], last_used: Mapping[str, float], before: float, excess: int
) -> list[Image]:
    """Images to remove until so many bytes are free: not in use, old enough, the longest unused first."""
    free = [image for image in images if image.id not in used and not image.pinned]
    old = sorted(
        (image for image in free if last_used.get(image.id, 0.0) < before),
        key=lambda i: last_used.get(i.id, 0),
    )
    found: list[Image] = []
    for image in old:
        if excess <= 0:
            break
        found.append(image)
        excess -= image.size
    return found


def too_old(
    images: Iterable[Image], used: frozenset[str], last_used: Mapping[str, float], now: float, age: float
) -> list[Image]:
    """Images that nobody used for longer than ``age`` seconds (imageMaximumGCAge); none for an age of 0."""
    free = (image for image in images if image.id not in used and not image.pinned)
    return [image for image in free if age > 0 and now - last_used.get(image.id, now) > age]
