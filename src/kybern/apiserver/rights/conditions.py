"""Match conditions of authorization webhooks: expressions over the SubjectAccessReview that the webhook would be sent.

``request`` is the spec of a v1 review with all its strings present; ``resourceAttributes`` or ``nonResourceAttributes``
is absent (KEP-3221). A condition that is false excludes the webhook, whatever comes of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.types import BOOL, STRING, list_of, map_of, object_of
from kybern.machinery.cel.values import EvaluationError
from kybern.machinery.kind import Raw

_REQUIREMENT = object_of(
    "kubernetes.SelectorRequirement", {"key": STRING, "operator": STRING, "values": list_of(STRING)}
)
_SELECTOR = {"rawSelector": STRING, "requirements": list_of(_REQUIREMENT)}
_RESOURCE = object_of(
    "kubernetes.ResourceAttributes",
    {
        **dict.fromkeys(("namespace", "verb", "group", "version", "resource", "subresource", "name"), STRING),
        "fieldSelector": object_of("kubernetes.FieldSelectorAttributes", _SELECTOR),
        "labelSelector": object_of("kubernetes.LabelSelectorAttributes", _SELECTOR),
    },
)
_SPEC = object_of(
    "kubernetes.SubjectAccessReviewSpec",
    {
        "resourceAttributes": _RESOURCE,
        "nonResourceAttributes": object_of(
            "kubernetes.NonResourceAttributes", {"path": STRING, "verb": STRING}
        ),
        "user": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
        "uid": STRING,
    },
)
_WORDS = ("namespace", "verb", "group", "version", "resource", "subresource", "name")


class Unclear(Exception):
    """No condition was false, and some could not be evaluated."""


@dataclass(frozen=True, slots=True)
class Condition:
    source: str
    program: Program


@lru_cache
def _environment() -> Environment:
    return Environment({"request": _SPEC})


def condition(source: str) -> Condition:
    """Raises CompileError in upstream's words."""
    try:
        program = _environment().compile(source)
    except CompileError as problem:
        raise CompileError(f"compilation failed: {problem}", problem.issues) from problem
    if program.result != BOOL:
        raise CompileError(f"must evaluate to bool but got {program.result}")
    return Condition(source, program)


def visible(spec: Raw) -> Raw:
    """A review's spec as conditions see it: strings that are empty are there, too."""
    found: Raw = {
        "user": spec.get("user", ""),
        "groups": spec.get("groups") or [],
        "uid": spec.get("uid", ""),
        "extra": spec.get("extra") or {},
    }
    resource, plain = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None:
        selectors = {name: resource[name] for name in ("fieldSelector", "labelSelector") if name in resource}
        found["resourceAttributes"] = {word: resource.get(word, "") for word in _WORDS} | selectors
    if plain is not None:
        found["nonResourceAttributes"] = {word: plain.get(word, "") for word in ("verb", "path")}
    return found


def hold(conditions: Sequence[Condition], spec: Raw) -> bool:
    """Whether all are true. Raises Unclear."""
    seen = {"request": visible(spec)}
    errors: list[str] = []
    for one in conditions:
        try:
            found, _ = one.program.evaluate(seen)
        except EvaluationError as problem:
            errors.append(f"cel evaluation error: expression '{one.source}' resulted in error: {problem}")
            continue
        if found is not True:
            return False
    if errors:
        raise Unclear(errors[0] if len(errors) == 1 else f"[{', '.join(dict.fromkeys(errors))}]")
    return True
