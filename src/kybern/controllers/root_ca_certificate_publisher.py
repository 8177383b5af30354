"""Publish the certificate authority of the API server in every namespace, as config map "kube-root-ca.crt".

Reads Namespace, ConfigMap. Writes ConfigMap. Pods get it beside their token, to know whom they talk to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import ConfigMap, Namespace
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Key, Patch, View
from kybern.loop.settings import Settings
from kybern.machinery.struct import replace

NAME = "kube-root-ca.crt"
DESCRIPTION = "kubernetes.io/description"
TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


@dataclass(frozen=True, slots=True)
class State:
    namespace: Namespace
    published: ConfigMap | None
    authority: str


def observing(authority: str) -> Callable[[View, Key], State | None]:
    def observe(view: View, key: Key) -> State | None:
        namespace = view.get(Namespace, "", key.name)
        if namespace is None:
            return None
        return State(namespace, view.get(ConfigMap, key.name, NAME), authority)

    return observe


def diff(state: State) -> Iterable[Action]:
    if state.namespace.metadata.deletion_timestamp is not None:
        return
    data, old = {"ca.crt": state.authority}, state.published
    if old is None:
        name = ObjectMeta(name=NAME, namespace=state.namespace.metadata.name, annotations={DESCRIPTION: TEXT})
        yield Create(ConfigMap(metadata=name, data=data))
    elif old.data != data or old.metadata.annotations.get(DESCRIPTION) != TEXT:
        annotations = {**old.metadata.annotations, DESCRIPTION: TEXT}
        yield Patch(old, replace(old, data=data, metadata=replace(old.metadata, annotations=annotations)))


def namespace_of(published: ConfigMap, _view: View) -> Iterable[Key]:
    if published.metadata.name == NAME:
        yield Key("", published.metadata.namespace)


def controller(settings: Settings) -> Controller[State]:
    return Controller(
        "root-ca-certificate-publisher-controller",
        Namespace,
        observing(settings.root_ca),
        diff,
        watches=((ConfigMap, namespace_of),),
        component="root-ca-cert-publisher",
    )
