"""One speaker as a process of its own, in whatever network namespace it is started in, with a world made for it.

python -m tests.protocol.speaking NAME INTERFACE PORT NAME=ADDRESS,... SERVICE_ADDRESS,... [HEALTHZ_URL]
"""

import asyncio
import base64
import sys

from kybern.api.core_v1 import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeCondition,
    NodeStatus,
    Secret,
    Service,
    ServiceSpec,
    ServiceStatus,
)  # fmt: skip
from kybern.api.meta_v1 import ObjectMeta
from kybern.balancers import keys
from kybern.balancers.elect import SeenSlice
from kybern.balancers.link import Link
from kybern.balancers.serving import Serving, always, follow
from kybern.balancers.speaker import Speaker
from kybern.client.cache import Cache
from kybern.client.watch import Synced

KEY = base64.b64encode(b"k" * 32).decode()


def world(nodes: dict[str, str], addresses: list[str]) -> Cache:
    cache = Cache()
    for kind in (Node, Service, SeenSlice, Secret):
        cache.add(kind)
    ready = (NodeCondition(type="Ready", status="True"),)
    cache.apply(
        Synced(
            tuple(
                Node(
                    metadata=ObjectMeta(name=name),
                    status=NodeStatus(
                        conditions=ready, addresses=(NodeAddress(type="InternalIP", address=address),)
                    ),
                )
                for name, address in nodes.items()
            )
        )
    )
    cache.apply(
        Synced(
            tuple(
                Service(
                    metadata=ObjectMeta(namespace="a", name=f"s{at}"),
                    spec=ServiceSpec(type="LoadBalancer"),
                    status=ServiceStatus(
                        load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=address),))
                    ),
                )
                for at, address in enumerate(addresses)
            )
        )
    )
    cache.apply(Synced(()), SeenSlice)
    key = Secret(metadata=ObjectMeta(namespace=keys.NAMESPACE, name=keys.NAME), data={keys.FIELD: KEY})
    cache.apply(Synced((key,)))
    return cache


async def speak(name: str, interface: str, port: str, nodes: str, addresses: str, healthz: str = "") -> None:
    told = dict(one.split("=") for one in nodes.split(","))
    cache = world(told, addresses.split(","))
    found = Serving()
    serves = found.holds if healthz else always
    async with asyncio.TaskGroup() as tasks:
        if healthz:
            tasks.create_task(follow(healthz, found))
        await Speaker(name, cache, Link(interface), int(port), lambda *_: None, serves).run()


if __name__ == "__main__":
    asyncio.run(speak(*sys.argv[1:]))
