"""What the watches see, told to the model. Pods and namespaces are watched only while there are policies.

A cluster without policies costs a node one watch that is silent. With the first policy the others begin; when the last one
goes they end, and what they have seen is dropped.
"""

import asyncio
from dataclasses import dataclass, field

from kybern.api.core_v1 import Namespace, Node
from kybern.api.networking_v1 import NetworkPolicy
from kybern.client.verbs import Verbs
from kybern.client.watch import Added, Deleted, Modified, Synced, watch
from kybern.machinery.struct import Object
from kybern.policies.model import Model
from kybern.policies.records import PODS, Key, Network, Policy, SeenPod, networks, pod, policy

type Watched = NetworkPolicy | SeenPod | Namespace | Node


@dataclass(slots=True)
class State:
    """``model`` is what the API asks for; None while nothing is watched that it is made of.

    ``changed`` is set when it may differ, ``turned`` when something else is to be watched.
    """

    node: str
    policies: dict[Key, Policy] = field(default_factory=dict)
    model: Model | None = None
    networks: tuple[Network, ...] | None = None
    listed: set[type] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    turned: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_complete(self) -> bool:
        """Whether enough was listed to decide: nothing may be let through, or stopped, because it was not heard of."""
        if NetworkPolicy not in self.listed:
            return False
        return not self.policies or (self.model is not None and self.listed >= {SeenPod, Namespace})

    @property
    def wants_pods(self) -> bool:
        return bool(self.policies) and self.networks is not None

    def tell(self, kind: type[Watched], key: Key, found: Watched | None) -> None:
        """An object as it is now; None for one that is gone."""
        if kind is NetworkPolicy:
            self._policy(key, policy(found) if isinstance(found, NetworkPolicy) else None)
        elif kind is Node:
            if isinstance(found, Node):
                self._node(networks(found))
        elif self.model is not None:
            if kind is SeenPod:
                self.model.put_pod(key, pod(found) if isinstance(found, SeenPod) else None)
            else:
                labels = found.metadata.labels if isinstance(found, Namespace) else None
                self.model.put_namespace(key[1], labels)
        self.changed.set()

    def sync(self, kind: type[Watched]) -> None:
        self.listed.add(kind)
        self.changed.set()

    def isolated(self, direction: str) -> int:
        """How many pods of this node are isolated in a direction."""
        return self.model.isolated(direction) if self.model else 0

    @property
    def rules(self) -> int:
        """How many rules there are while a pod of this node is isolated."""
        needed = self.model is not None and self.model.is_needed
        return sum(map(len, self.model.table.chains.values())) if self.model and needed else 0

    @property
    def elements(self) -> int:
        needed = self.model is not None and self.model.is_needed
        return sum(map(len, self.model.table.elements.values())) if self.model and needed else 0

    def begin(self) -> None:
        """A model that knows the policies, and no pod yet."""
        self.model = Model(self.node, self.networks or ())
        for key, found in self.policies.items():
            self.model.put_policy(key, found)

    def forget(self) -> None:
        """What the watches have seen is not kept up any more."""
        self.model = None
        self.listed -= {SeenPod, Namespace}
        self.changed.set()

    def _policy(self, key: Key, found: Policy | None) -> None:
        before = bool(self.policies)
        self.policies.pop(key, None)
        if found is not None:
            self.policies[key] = found
        if self.model is not None:
            self.model.put_policy(key, found)
        if bool(self.policies) != before:
            self.turned.set()

    def _node(self, found: tuple[Network, ...]) -> None:
        if self.networks != found:
            self.networks = found
            self.turned.set()


async def follow(client: Verbs, kind: type[Watched], state: State, field_selector: str = "") -> None:
    """Keep the state as the API server has it."""
    async for event in watch(client, kind, field_selector=field_selector):
        match event:
            case Synced(items):
                for item in items:
                    state.tell(kind, _key(item), item)
                state.sync(kind)
            case Added(item) | Modified(item, _):
                state.tell(kind, _key(item), item)
            case Deleted(item):
                state.tell(kind, _key(item), None)


async def attend(client: Verbs, state: State) -> None:
    """For ever: while there are policies, watch what they are about; anew when this node's networks change."""
    while True:
        state.turned.clear()
        if not state.wants_pods:
            await state.turned.wait()
            continue
        state.begin()
        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(follow(client, Namespace, state)),
                tasks.create_task(follow(client, SeenPod, state, PODS)),
            ]
            await state.turned.wait()
            for one in watches:
                one.cancel()
        state.forget()


def _key(item: Object) -> Key:
    metadata = item.metadata  # type: ignore[attr-defined]  # every Object has metadata
    return metadata.namespace, metadata.name
