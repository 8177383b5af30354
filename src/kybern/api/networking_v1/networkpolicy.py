"""NetworkPolicy: who may talk to the selected pods, and to whom they may talk."""

from kybern.api.rules.tables import dig, selector, simple
from kybern.machinery.kind import Column, Kind, wish_changed

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
    storage_version_hash="YpfwF18m1G8=",
    generation=wish_changed,
)
