"""Which of several objects marked as the default is it: the newest, and of one age the first by name."""

from collections.abc import Iterable

from kybern.machinery.kind import Raw


def newest(candidates: Iterable[Raw], annotations: tuple[str, ...]) -> Raw | None:
    """The default, marked by one of the annotations with "true"; None when there is none."""
    marked = sorted(
        (one for one in candidates if _marked(one, annotations)), key=lambda one: str(one["metadata"]["name"])
    )
    return max(marked, key=lambda one: str(one["metadata"].get("creationTimestamp", "")), default=None)


def _marked(candidate: Raw, annotations: tuple[str, ...]) -> bool:
    held = candidate["metadata"].get("annotations") or {}
    return any(held.get(name) == "true" for name in annotations)
