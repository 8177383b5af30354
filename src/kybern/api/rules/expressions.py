"""The expressions of admission policies and match conditions: what they may name, and what they must give.

Compiled here to tell an author what is wrong, and again by the plugins that run them. The objects are of no known type
(``dyn``), since one policy may be for many kinds; the request and the namespace are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from kybern.api.rules.causes import invalid
from kybern.machinery.cel import types
from kybern.machinery.cel.environment import Environment
from kybern.machinery.cel.libraries import LIBRARIES, PATCHING
from kybern.machinery.cel.libraries.authz import AUTHORIZER, RESOURCE_CHECK
from kybern.machinery.cel.libraries.jsonpatch import JSON_PATCH
from kybern.machinery.cel.program import Program
from kybern.machinery.cel.source import CompileError
from kybern.machinery.cel.types import (
    BOOL,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
)
from kybern.machinery.errors import Cause

OBJECT = "Object"
_STRINGS = map_of(STRING, STRING)
_GVK = object_of("kubernetes.GroupVersionKind", dict.fromkeys(("group", "version", "kind"), STRING))
_GVR = object_of("kubernetes.GroupVersionResource", dict.fromkeys(("group", "version", "resource"), STRING))
_USER = object_of(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)
REQUEST = object_of(
    "kubernetes.AdmissionRequest",
    {
        "kind": _GVK, "resource": _GVR, "subResource": STRING, "requestKind": _GVK, "requestResource": _GVR,
        "requestSubResource": STRING, "name": STRING, "namespace": STRING, "operation": STRING, "userInfo": _USER,
        "dryRun": BOOL, "options": DYN,
    },
)  # fmt: skip
_CONDITION = object_of(
    "kubernetes.NamespaceCondition",
    {**dict.fromkeys(("status", "type", "message", "reason"), STRING), "lastTransitionTime": TIMESTAMP},
)
_METADATA = object_of(
    "kubernetes.NamespaceMetadata",
    {
        **dict.fromkeys(("name", "generateName", "namespace", "UID", "resourceVersion"), STRING),
        **dict.fromkeys(("labels", "annotations"), _STRINGS),
        **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), TIMESTAMP),
        **dict.fromkeys(("deletionGracePeriodSeconds", "generation"), INT),
        "finalizers": list_of(STRING),
    },
)
NAMESPACE = object_of(
    "kubernetes.Namespace",
    {
        "metadata": _METADATA,
        "spec": object_of("kubernetes.NamespaceSpec", {"finalizers": list_of(STRING)}),
        "status": object_of(
            "kubernetes.NamespaceStatus", {"conditions": list_of(_CONDITION), "phase": STRING}
        ),
    },
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be named beside objects, request and namespace. ``patches``: objects of the cluster may be made."""

    params: bool = False
    authorizer: bool = True
    patches: bool = False


class _AnyField(Mapping[str, Type]):
    """The fields of an object that no schema is known of."""

    def __getitem__(self, name: str) -> Type:
        return DYN

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Objects(dict[str, Type]):
    """Types by name; ``Object`` and what lies in it (``Object.spec``) are there without being declared."""

    def __contains__(self, name: object) -> bool:
        return self._is_object(name) or super().__contains__(name)

    def __getitem__(self, name: str) -> Type:
        return object_of(name, _AnyField()) if self._is_object(name) else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  this is what get means here

    @staticmethod
    def _is_object(name: object) -> bool:
        return isinstance(name, str) and (name == OBJECT or name.startswith(f"{OBJECT}."))


@lru_cache
def _base(scope: Scope) -> Environment:
    found = {"object": DYN, "oldObject": DYN, "namespaceObject": NAMESPACE, "request": REQUEST}
    if scope.params:
        found["params"] = DYN
    if scope.authorizer:
        found |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    libraries = (*LIBRARIES, *PATCHING) if scope.patches else LIBRARIES
    return Environment(found, libraries)


def environment(scope: Scope, variables: Mapping[str, Type] | None = None) -> Environment:
    """``variables`` are those of a policy, as far as they are known."""
    found = _base(scope)
    if variables is not None:
        found = found.extend({"variables": object_of("kubernetes.variables", variables)})
    if scope.patches:
        declared = found._declarations  # noqa: SLF001  names of objects are endless, so they cannot be declared
        found = found.extend({})
        found._declarations = replace(declared, types=_Objects(declared.types))  # noqa: SLF001
    return found


@lru_cache(maxsize=1024)
def _plain(scope: Scope, expression: str) -> Program:
    return environment(scope).compile(expression)


MUST_BE_TRUE = (BOOL,)
MESSAGE = (STRING,)
ANNOTATION = (STRING, NULL)
PATCH = (list_of(JSON_PATCH),)
APPLIED = (object_of(OBJECT, {}),)


def compiled(
    expression: str, scope: Scope, wanted: tuple[Type, ...], variables: Mapping[str, Type] | None = None
) -> Program:
    """A program that gives one of the wanted types (none: any). Raises CompileError in upstream's words."""
    try:
        if variables is None and not scope.patches:
            found = _plain(scope, expression)
        else:
            found = environment(scope, variables).compile(expression)
    except CompileError as problem:
        raise CompileError(f"compilation failed: {problem}", problem.issues) from problem
    if wanted and found.result not in wanted:
        names = str(wanted[0]) if len(wanted) == 1 else f"one of [{' '.join(map(str, wanted))}]"
        raise CompileError(f"must evaluate to {names} but got {found.result}")
    return found


def problems(
    field: str,
    expression: str,
    scope: Scope,
    wanted: tuple[Type, ...],
    variables: Mapping[str, Type] | None = None,
) -> Iterator[Cause]:
    """What is wrong with an expression; nothing is said of an empty one."""
    if not expression.strip():
        return
    try:
        compiled(expression, scope, wanted, variables)
    except CompileError as problem:
        yield invalid(field, expression, str(problem))


def variable_type(expression: str, scope: Scope, known: Mapping[str, Type]) -> Type:
    """The type of a policy's variable, which may name those before it; any, when it is wrong."""
    try:
        return as_variable(compiled(expression, scope, (), known).result)
    except CompileError:
        return DYN


def as_variable(found: Type) -> Type:
    """Upstream knows plain types, lists and maps of variables, and takes others for any."""
    if found.kind in ("list", "map"):
        return replace(found, parameters=tuple(as_variable(each) for each in found.parameters))
    return found if found.kind == "plain" and found is not types.DYN else DYN
