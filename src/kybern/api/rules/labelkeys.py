"""Label keys beside a selector: what a pod itself says for them becomes part of the selector when the pod is made.

So schedulers need not know of the keys, and a change of the pod's labels does not change whom the pod looks for. A term
without a selector selects nothing and stays so (upstream's strategy of pods).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kybern.api.rules.causes import invalid
from kybern.machinery.errors import Cause
from kybern.machinery.kind import Raw

_AFFINITIES = ("podAffinity", "podAntiAffinity")
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"


def merge(spec: Raw, labels: Mapping[str, str]) -> None:
    """Of a new pod with these labels: its affinities and its spread constraints."""
    for term in _terms(spec.get("affinity") or {}):
        _merge(term, labels, matchLabelKeys="In", mismatchLabelKeys="NotIn")
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge(constraint, labels, matchLabelKeys="In")


def _terms(affinity: Raw) -> Iterator[Raw]:
    for kind in _AFFINITIES:
        found = affinity.get(kind) or {}
        for preferred in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            if preferred.get("podAffinityTerm") is not None:
                yield preferred["podAffinityTerm"]
        yield from found.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def _merge(term: Raw, labels: Mapping[str, str], **operators: str) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for keys, operator in operators.items()
        for key in term.get(keys) or ()
        if key in labels
    ]
    if added:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def told_twice(field: str, keys: Iterable[str], selector: Mapping[str, Any] | None) -> Iterator[Cause]:
    """Keys that the selector names by itself, too. The selector has by now what the keys added to it.

    The number of a key follows the field directly.
    """
    places = {key: at for at, key in enumerate(keys)}
    seen = set((selector or {}).get("matchLabels") or ())
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key", "")
        if key in places and key in seen:
            yield invalid(f"{field}[{places[key]}]", key, _IN_BOTH)
        seen.add(key)
