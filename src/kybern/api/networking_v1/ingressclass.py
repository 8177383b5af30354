"""IngressClass: which controller serves an ingress."""

from typing import Any

from kybern.api.rules import ingresses
from kybern.api.rules.tables import AGE, NAME, NONE, age, dig, name, text
from kybern.machinery.kind import Column, Kind, Raw, Rules, Table, wish_changed

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def _parameters(raw: Raw) -> str:
    found = dig(raw, "spec", "parameters")
    if not found:
        return NONE
    kind = found.get("kind", "")
    if found.get("apiGroup"):
        kind += "." + found["apiGroup"]
    return f"{kind}/{found.get('name', '')}"


def _cells(raw: Raw, now: float) -> list[Any]:
    shown = name(raw)
    if dig(raw, "metadata", "annotations", _DEFAULT) == "true":
        shown += " (default)"
    return [shown, text(dig(raw, "spec", "controller")), _parameters(raw), age(raw, now)]


def _default(raw: Raw) -> None:
    parameters = raw.setdefault("spec", {}).get("parameters")
    if parameters is not None and not parameters.get("scope"):
        parameters["scope"] = "Cluster"


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    schema="io.k8s.api.networking.v1.IngressClass",
    singular="ingressclass",
    storage="ingressclasses",
    table=Table((NAME, Column("Controller"), Column("Parameters"), AGE), _cells),
    rules=Rules(default=_default, validate=ingresses.ingress_class),
    storage_version_hash="l/iqIbDgFyQ=",
    generation=wish_changed,
)
