"""Fields that are there only with a feature gate, of pods and of what makes pods: see ``api.rules.pods.projections``."""

from collections.abc import Collection
from typing import Any

from kybern.api.rules.pods import projections
from kybern.apiserver.privileged import TEMPLATES
from kybern.machinery.kind import Kind, Raw


def drop(kind: Kind, new: Raw, old: Raw | None, gates: Collection[str]) -> None:
    """Take out of an object that is about to be written what no gate of these lets in."""
    path = TEMPLATES.get((kind.group, kind.plural))
    if path is not None:
        projections.drop(_spec(new, path), _spec(old or {}, path), gates)


def _spec(raw: Raw, path: tuple[str, ...]) -> Raw:
    found: Any = raw
    for part in path:
        found = (found or {}).get(part)
    return found or {}
