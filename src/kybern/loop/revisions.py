"""Revisions of a pod template, kept as ControllerRevisions; pure, and the same for daemon sets and stateful sets.

What holds: a revision's data is what ``kubectl rollout undo`` patches the owner with; its name ends in a hash of the
template, which differs when ``status.collisionCount`` does; of several revisions with the same template the one with
the highest number counts. Templates are compared as they are read, so that revisions that upstream wrote are known again;
one that lacks a default of today, because it was written before that was one, is the same template still: no rollout
comes of a new version of the control plane.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kybern.api.apps_v1 import ControllerRevision
from kybern.api.core_v1 import PodTemplateSpec
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.rules.podspec import default_template
from kybern.loop.owners import controller_reference
from kybern.machinery.struct import decoder, encode

LABEL = "controller-revision-hash"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST = 223


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """The patch that makes an owner have this template."""
    return {"spec": {"template": {**json.loads(encode(template)), "$patch": "replace"}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec | None:
    """The template that a revision holds; None when it holds something else."""
    spec = revision.data.get("spec") if isinstance(revision.data, dict) else None
    found = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(found, dict):
        return None
    body = json.dumps({key: value for key, value in found.items() if key != "$patch"}).encode()
    return decoder(PodTemplateSpec).decode(body)


def holds(revision: ControllerRevision, template: PodTemplateSpec) -> bool:
    found = template_of(revision)
    return found is not None and (found == template or _defaulted(encode(found)) == template)


@lru_cache(maxsize=256)
def _defaulted(body: bytes) -> PodTemplateSpec:
    """A template as the API server would complete it today. Bytes, since a history is compared again and again."""
    holder: dict[str, Any] = {"template": json.loads(body)}
    default_template(holder)
    return decoder(PodTemplateSpec).decode(json.dumps(holder["template"]).encode())


def digest(template: PodTemplateSpec, collisions: int | None) -> str:
    """Letters and digits that make no words; changes with the template and with the number of collisions."""
    seed = encode(template) + str(collisions or "").encode()
    number = int.from_bytes(hashlib.sha256(seed).digest()[:4])
    return "".join(_LETTERS[ord(digit) % len(_LETTERS)] for digit in str(number))


def name_of(owner: str, mark: str) -> str:
    return f"{owner[:_LONGEST]}-{mark}"


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of one owner: the one of its template (None: to be made), and the others, oldest first.

    ``marks`` are the hashes of all that have the template: somebody may have written it a second time.
    """

    current: ControllerRevision | None
    old: tuple[ControllerRevision, ...]
    marks: frozenset[str] = frozenset()

    @property
    def following(self) -> int:
        """The number of the newest revision."""
        return max((one.revision or 0 for one in self.old), default=0) + 1


def history(found: Iterable[ControllerRevision], template: PodTemplateSpec) -> History:
    ordered = sorted(found, key=lambda one: (one.revision or 0, one.metadata.name))
    same = [one for one in ordered if holds(one, template)]
    current = same[-1] if same else None
    marks = frozenset(one.metadata.labels.get(LABEL, "") for one in same) - {""}
    return History(current, tuple(one for one in ordered if one is not current), marks)


def made(
    owner: Any, mark: str, number: int, labels: Mapping[str, str], template: PodTemplateSpec
) -> ControllerRevision:
    """A new revision of an owner's template."""
    return ControllerRevision(
        metadata=ObjectMeta(
            name=name_of(owner.metadata.name, mark),
            namespace=owner.metadata.namespace,
            labels=labels,
            annotations=owner.metadata.annotations,
            owner_references=(controller_reference(owner),),
        ),
        data=data_of(template),
        revision=number,
    )


def surplus(
    old: Sequence[ControllerRevision], live: frozenset[str], limit: int | None
) -> Iterable[ControllerRevision]:
    """What goes beyond the limit, oldest first; never one of the names or hashes in ``live``."""
    idle = [one for one in old if not live & {one.metadata.name, one.metadata.labels.get(LABEL, "")}]
    count = len(idle) - (limit if limit is not None else 10)
    return idle[: max(count, 0)]
