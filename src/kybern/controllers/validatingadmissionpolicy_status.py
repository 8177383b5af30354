"""Say in a validating policy's status which of its expressions do not fit the kinds that it matches.

Reads ValidatingAdmissionPolicy, discovery and OpenAPI. Writes ValidatingAdmissionPolicy.status: typeChecking and
observedGeneration. A policy is checked once a generation: when a kind comes later than the policy, nobody checks it again
(upstream's rule). A group version that is not served is passed over.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from kybern.api.admissionregistration_v1 import (
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
)
from kybern.api.rules.typechecking import GVK, MOST_KINDS, Described, path_of, resources, warnings
from kybern.client import paths
from kybern.loop.controller import Action, Call, Controller, Key, View
from kybern.loop.settings import Settings
from kybern.machinery.cel.documents import schema_of
from kybern.machinery.errors import ApiError

NAME = "validatingadmissionpolicy-status-controller"
"""Its own, and the manager of the fields that it applies."""


@dataclass(frozen=True, slots=True)
class State:
    """``kinds`` are those that the policy matches, as far as they are described; ``params`` of what parametrizes it."""

    policy: ValidatingAdmissionPolicy
    kinds: tuple[Described, ...]
    params: Described | None


def observe(view: View, key: Key) -> State | None:
    policy = view.get(ValidatingAdmissionPolicy, "", key.name)
    if policy is None or (policy.metadata.generation or 0) <= (policy.status.observed_generation or 0):
        return None
    gvks, params = matched(view, policy.spec), _params(policy.spec)
    # All questions first: each that has no answer yet begins this anew.
    documents = {gvk: _answer(view, path_of(gvk.group, gvk.version)["schemas"]) for gvk in (*gvks, *params)}
    kinds = tuple(_described(gvks, documents))
    return State(policy, kinds, next(_described(params, documents), None))


def diff(state: State) -> Iterable[Action]:
    policy = state.policy
    found = [msgspec.to_builtins(one) for one in warnings(policy.spec, state.kinds, state.params)]
    said = {
        "apiVersion": policy.api_version,
        "kind": policy.kind,
        "metadata": {"name": policy.metadata.name},
        "status": {
            "observedGeneration": policy.metadata.generation,
            "typeChecking": {"expressionWarnings": found} if found else {},
        },
    }
    path = paths.one(ValidatingAdmissionPolicy, "", policy.metadata.name, "status")
    yield Call("PATCH", f"{path}?fieldManager={NAME}&force=true", said, "apply")


def matched(view: View, spec: ValidatingAdmissionPolicySpec) -> list[GVK]:
    """The kinds to check, sorted. A rule that names too many is the last one."""
    found: set[GVK] = set()
    for rule in resources(spec):
        named = list(islice(_named(view, rule), MOST_KINDS))
        found.update(named)
        if len(named) == MOST_KINDS:
            break
    return sorted(found)


def _named(view: View, rule: Iterable[tuple[str, str, str]]) -> Iterator[GVK]:
    for group, version, resource in rule:
        listed = _answer(view, path_of(group, version)["resources"]) or {}
        for one in listed.get("resources") or ():
            if resource in (one.get("name"), one.get("singularName")):
                yield GVK(group, version, one["kind"])


def _params(spec: ValidatingAdmissionPolicySpec) -> tuple[GVK, ...]:
    if spec.param_kind is None:
        return ()
    group, _, version = spec.param_kind.api_version.rpartition("/")
    return (GVK(group, version, spec.param_kind.kind),)


def _described(gvks: Iterable[GVK], documents: Mapping[GVK, Any]) -> Iterator[Described]:
    for gvk in gvks:
        document = documents[gvk]
        schema = schema_of(document, gvk.group, gvk.version, gvk.kind) if document else None
        if schema is not None:
            yield Described(gvk, schema)


def _answer(view: View, path: str) -> Any:
    found = view.answer(path)
    return None if isinstance(found, ApiError) else found


def controller(_settings: Settings) -> Controller[State]:
    return Controller(NAME, ValidatingAdmissionPolicy, observe, diff)
