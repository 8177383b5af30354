"""The objects that a server makes at its start, and what to do about those that are there already.

``wanted`` lists them in the order of making: system namespaces, system priority classes, RBAC defaults, flow control.
``step`` compares one with what is stored and gives the write that is missing, if any; the server repeats it when a write
meets a conflict, since every master does this at its start.

Rules and subjects are only ever added, and nothing is touched whose annotation ``autoupdate`` says "false": what an
administrator took away on purpose stays away. A binding that names another role is made anew, since a reference cannot
change. Namespaces and priority classes are made once.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from typing import Any

import msgspec

from kybern.api.rbac_v1 import PolicyRule
from kybern.auth.rules import uncovered
from kybern.machinery.kind import Raw

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
RBAC = "rbac.authorization.k8s.io"
FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
SCHEDULING = "scheduling.k8s.io"

RBAC_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
FLOW_AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = frozenset({"exempt", "catch-all"})
"""Flow schemas and priority levels that the server cannot do without: always put right."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that shall be there, whole but for what the server fills in on creation."""

    group: str
    plural: str
    object: Raw

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"].get("namespace", ""))

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


class Verb(Enum):
    """``RECREATE``: delete the stored object, then create this one."""

    CREATE = "create"
    UPDATE = "update"
    RECREATE = "recreate"


@dataclass(frozen=True, slots=True)
class Write:
    verb: Verb
    object: Raw


def wanted(gates: Collection[str] = ()) -> Iterator[Wanted]:
    """Everything that a server makes at its start, first things first; with what is there for these features only."""
    for name in SYSTEM_NAMESPACES:
        yield Wanted("", "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    flow = _packaged("flowcontrol.json")
    yield from _objects(flow["priorityClasses"], SCHEDULING, "PriorityClass", "priorityclasses")
    rbac = _packaged("rbac.json")
    roles = (_extended(role, _gated(rbac["gatedRules"], gates)) for role in rbac["clusterRoles"])
    yield from _objects(roles, RBAC, "ClusterRole", "clusterroles")
    yield from _objects(_gated(rbac["gatedClusterRoles"], gates), RBAC, "ClusterRole", "clusterroles")
    yield from _objects(rbac["clusterRoleBindings"], RBAC, "ClusterRoleBinding", "clusterrolebindings")
    bindings = _gated(rbac["gatedClusterRoleBindings"], gates)
    yield from _objects(bindings, RBAC, "ClusterRoleBinding", "clusterrolebindings")
    yield from _objects(rbac["roles"], RBAC, "Role", "roles")
    yield from _objects(rbac["roleBindings"], RBAC, "RoleBinding", "rolebindings")
    levels, schemas = flow["priorityLevelConfigurations"], flow["flowSchemas"]
    yield from _objects(levels, FLOW_CONTROL, "PriorityLevelConfiguration", "prioritylevelconfigurations")
    yield from _objects(schemas, FLOW_CONTROL, "FlowSchema", "flowschemas")


def _gated(facts: Iterable[Raw], gates: Collection[str]) -> Iterator[Raw]:
    for fact in facts:
        if fact["gate"] in gates:
            yield {key: value for key, value in fact.items() if key != "gate"}


def _extended(role: Raw, more: Iterable[Raw]) -> Raw:
    """A role with the rules that features add to it."""
    added = [rule for one in more if one["name"] == role["name"] for rule in one["rules"]]
    return {**role, "rules": [*role["rules"], *added]} if added else role


def _packaged(name: str) -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = msgspec.json.decode(
        files("kybern.auth").joinpath("data", name).read_bytes()
    )
    return found


def _objects(facts: Iterable[Raw], group: str, kind: str, plural: str) -> Iterator[Wanted]:
    for fact in facts:
        metadata = {key: fact[key] for key in ("name", "namespace", "labels", "annotations") if key in fact}
        rest = {key: value for key, value in fact.items() if key not in metadata}
        head = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata}
        yield Wanted(group, plural, head | rest)


def step(want: Wanted, found: Raw | None) -> Write | None:
    """What is to be written so that ``want`` is fulfilled; None when nothing is."""
    if found is None:
        return Write(Verb.CREATE, want.object)
    if want.group == RBAC:
        return _rbac(want, found)
    if want.group == FLOW_CONTROL:
        return _flow(want, found)
    return None


def _rbac(want: Wanted, found: Raw) -> Write | None:
    if (found["metadata"].get("annotations") or {}).get(RBAC_AUTOUPDATE) == "false":
        return None
    if want.object.get("roleRef") != found.get("roleRef"):
        return Write(Verb.RECREATE, want.object)
    new = found | {"metadata": _merged_metadata(want.object["metadata"], found["metadata"])}
    if "roleRef" in want.object:
        held = found.get("subjects") or []
        missing = [one for one in want.object.get("subjects", ()) if one not in held]
        new |= {"subjects": [*held, *missing]} if missing else {}
    elif "aggregationRule" in want.object:
        new |= {
            "aggregationRule": _aggregation(
                want.object["aggregationRule"], found.get("aggregationRule") or {}
            )
        }
    else:
        new |= {"rules": _rules(want.object.get("rules") or [], found.get("rules") or [])}
        new.pop("aggregationRule", None)
    return Write(Verb.UPDATE, new) if new != found else None


def _merged_metadata(want: Raw, found: Raw) -> Raw:
    """Labels and annotations that are missing; those that differ are somebody's choice."""
    added = {key: want[key] | (found.get(key) or {}) for key in ("labels", "annotations") if key in want}
    return found | added


def _rules(want: list[Raw], found: list[Raw]) -> list[Raw]:
    rules = tuple[PolicyRule, ...]
    missing = uncovered(msgspec.convert(found, rules), msgspec.convert(want, rules))
    return [*found, *(msgspec.json.decode(msgspec.json.encode(rule)) for rule in missing)]


def _aggregation(want: Raw, found: Raw) -> Raw:
    """The rules of an aggregated role are a controller's business; only the selectors are the server's."""
    held = found.get("clusterRoleSelectors") or []
    missing = [one for one in want["clusterRoleSelectors"] if one not in held]
    return {**found, "clusterRoleSelectors": [*held, *missing]}


def _flow(want: Wanted, found: Raw) -> Write | None:
    """Mandatory objects are always put right, suggested ones unless their annotation or an edit says otherwise."""
    metadata = found["metadata"]
    follows = _follows(metadata)
    spec: dict[str, Any] = want.object["spec"]
    if want.name in MANDATORY:
        if not follows and "exempt" in spec:
            spec = spec | {"exempt": (found.get("spec") or {}).get("exempt", spec["exempt"])}
    elif not follows:
        return None
    shown = "true" if follows else "false"
    annotations = (metadata.get("annotations") or {}) | {FLOW_AUTOUPDATE: shown}
    new = found | {"metadata": metadata | {"annotations": annotations}, "spec": spec}
    return Write(Verb.UPDATE, new) if new != found else None


def _follows(metadata: Raw) -> bool:
    """Whether the server keeps the spec; without the annotation, whether nobody has edited it."""
    said = (metadata.get("annotations") or {}).get(FLOW_AUTOUPDATE)
    return said == "true" if said in ("true", "false") else bool(metadata.get("generation", 1) == 1)
