"""Give every namespace its service account "default".

Reads Namespace, ServiceAccount. Writes ServiceAccount. Pods that name no account run as this one, so it must be there
before the first pod; a namespace that is going away is left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kybern.api.core_v1 import Namespace, ServiceAccount
from kybern.api.meta_v1 import ObjectMeta
from kybern.loop.controller import Action, Controller, Create, Key, View
from kybern.loop.settings import Settings

NAME = "default"


@dataclass(frozen=True, slots=True)
class State:
    namespace: Namespace
    account: ServiceAccount | None


def observe(view: View, key: Key) -> State | None:
    namespace = view.get(Namespace, "", key.name)
    if namespace is None:
        return None
    return State(namespace, view.get(ServiceAccount, key.name, NAME))


def diff(state: State) -> Iterable[Action]:
    if state.namespace.metadata.deletion_timestamp is None and state.account is None:
        yield Create(ServiceAccount(metadata=ObjectMeta(name=NAME, namespace=state.namespace.metadata.name)))


def namespace_of(account: ServiceAccount, _view: View) -> Iterable[Key]:
    if account.metadata.name == NAME:
        yield Key("", account.metadata.namespace)


def controller(_settings: Settings) -> Controller[State]:
    return Controller(
        "serviceaccount-controller",
        Namespace,
        observe,
        diff,
        watches=((ServiceAccount, namespace_of),),
        component="service-account-controller",
    )
