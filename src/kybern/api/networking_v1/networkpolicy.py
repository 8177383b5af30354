"""NetworkPolicy: who may talk to the selected pods, and to whom they may talk."""

from kybern.api.rules import netpolicies
from kybern.api.rules.tables import dig, selector, simple
from kybern.machinery.kind import Column, Kind, Raw, Rules, wish_changed


def _default(raw: Raw) -> None:
    spec = raw.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


KIND = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    namespaced=True,
    schema="io.k8s.api.networking.v1.NetworkPolicy",
    singular="networkpolicy",
    short_names=("netpol",),
    storage="networkpolicies",
    table=simple((Column("Pod-Selector"),), lambda raw: [selector(dig(raw, "spec", "podSelector"))]),
    rules=Rules(default=_default, validate=netpolicies.validate),
    storage_version_hash="YpfwF18m1G8=",
    generation=wish_changed,
)
