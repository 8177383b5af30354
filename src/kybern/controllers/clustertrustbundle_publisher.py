"""Publish the certificate authority of the API server as the one ClusterTrustBundle of kubernetes.io/kube-apiserver-serving.

Reads ClusterTrustBundle, Namespace. Writes ClusterTrustBundle, and deletes all others of that signer. The name tells the
content, so that a new authority comes beside the old one before that goes (KEP-3257).
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kybern.api.certificates_v1beta1 import ClusterTrustBundle, ClusterTrustBundleSpec
from kybern.api.core_v1 import Namespace
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Delete, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

NAME = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
SIGNER = "kubernetes.io/kube-apiserver-serving"
# There is one thing to do for the whole cluster; this is what wakes the loop when nothing is published yet.
_KEY = Key("", "kube-system")


@dataclass(frozen=True, slots=True)
class State:
    published: tuple[ClusterTrustBundle, ...]
    authority: str


def name_of(authority: str) -> str:
    return f"{SIGNER.replace('/', ':')}:{hashlib.sha256(authority.encode()).hexdigest()[:24]}"


def observing(authority: str) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        if key != _KEY:
            return None
        found = (one for one in view.list(ClusterTrustBundle) if one.spec.signer_name == SIGNER)
        return State(tuple(found), authority)

    return observe


def diff(state: State) -> Iterable[Action]:
    name = name_of(state.authority)
    spec = ClusterTrustBundleSpec(signer_name=SIGNER, trust_bundle=state.authority)
    current = next((one for one in state.published if one.metadata.name == name), None)
    if current is None:
        yield Create(ClusterTrustBundle(metadata=ObjectMeta(name=name), spec=spec))
    elif current.spec != spec:
        yield Patch(current, replace(current, spec=spec))
    for one in state.published:
        if one.metadata.name != name:
            yield Delete(one)


def of_the_signer(bundle: ClusterTrustBundle, _view: View) -> Iterable[Key]:
    if bundle.spec.signer_name == SIGNER:
        yield _KEY


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        NAME,
        Namespace,
        observing(settings.root_ca),
        diff,
        watches=((ClusterTrustBundle, of_the_signer),),
        component="kube-apiserver-serving-clustertrustbundle-publisher",
    )
