"""Finding objects by labels, and selectors by the labels that they choose, without looking at all of a namespace.

What holds: both ways give at least all that match, in a namespace, so whoever asks still matches; with ten thousand pods
in a namespace a service of ten looks at ten. An object is found by each of its labels; a selector by the first, in
alphabetical order, of the labels that it asks for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kybern.loop.controller import View
from kybern.machinery.struct import Object

LABEL, SELECTOR = "label", "selector"


def by_label(item: Any) -> Iterable[str]:
    """Index LABEL: objects by namespace and label."""
    namespace = item.metadata.namespace
    for key, value in item.metadata.labels.items():
        yield f"{namespace}/{key}={value}"


def bearing[T: Object](view: View, kind: type[T], namespace: str, labels: Mapping[str, str]) -> Iterable[T]:
    """Objects that may bear all of these labels; all of the namespace when there are none."""
    if not labels:
        return view.list(kind, namespace)
    found = (tuple(view.index(kind, LABEL, f"{namespace}/{key}={value}")) for key, value in labels.items())
    return min(found, key=len)


def by_selector(labels_of: Callable[[Any], Mapping[str, str]]) -> Callable[[Any], Iterable[str]]:
    """Index SELECTOR: objects by the labels that they ask for; those that ask for none are found by all labels."""

    def index(item: Any) -> Iterable[str]:
        asked = labels_of(item)
        first = min(asked, default="")
        yield f"{item.metadata.namespace}/{first}={asked[first]}" if asked else f"{item.metadata.namespace}/"

    return index


def asking[T: Object](view: View, kind: type[T], namespace: str, labels: Mapping[str, str]) -> Iterable[T]:
    """Objects whose selectors may match these labels."""
    yield from view.index(kind, SELECTOR, f"{namespace}/")
    for key, value in labels.items():
        yield from view.index(kind, SELECTOR, f"{namespace}/{key}={value}")
