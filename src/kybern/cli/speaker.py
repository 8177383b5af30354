"""kybern-speaker: announces addresses of services of type LoadBalancer on this node's network."""

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address
from typing import Any

from kybern.api.core_v1 import Node, ObjectReference, Secret, Service
from kybern.balancers import keys, serving
from kybern.balancers.elect import Key, SeenSlice
from kybern.balancers.link import Link, interface_of
from kybern.balancers.speaker import Speaker
from kybern.client import kubeconfig
from kybern.client.cache import Cache
from kybern.client.events import Recorder
from kybern.client.rest import Client
from kybern.daemon import local, logs
from kybern.daemon.flags import Flags, Values
from kybern.daemon.run import Fatal, ready, run

NAME = "kybern-speaker"
KINDS: tuple[tuple[Any, dict[str, str]], ...] = (
    (Service, {}),
    (Node, {}),
    (SeenSlice, {}),
    (Secret, {"namespace": keys.NAMESPACE, "field_selector": f"metadata.name={keys.NAME}"}),
)

FLAGS = (
    Flags(NAME, "Announces addresses of services of type LoadBalancer on this node's network.")
    .flag("--kubeconfig", str, "", "Path of a kubeconfig that names the API server and an identity.")
    .flag("--hostname-override", str, "", "Name of this node, when it is not the host's name.")
    .flag("--interface", str, "", "Interface to announce on; the one that has --node-ip, when empty.")
    .flag("--node-ip", str, "", "Address of this node, by which its interface is found.")
    .flag("--port", int, 10261, "UDP port on which speakers tell each other that they are alive.")
    .flag(
        "--kube-proxy-healthz",
        str,
        "",
        "URL at which this node's kube-proxy says that it is well: others go first before. Empty: nobody is asked.",
    )
)
local.flag(FLAGS, 10265)


def main() -> None:
    values = FLAGS.parse(sys.argv[1:])
    logs.setup(values["v"], values["logging-format"])
    run(lambda: _speak(values))


async def _speak(values: Values) -> None:
    if not values["kubeconfig"]:
        raise Fatal("cannot start: no API server is named; give --kubeconfig")
    node = values["hostname-override"] or socket.gethostname().lower()
    cache = Cache()
    with closing(_link(values)) as link:
        async with Client(kubeconfig.load(values["kubeconfig"])) as client, asyncio.TaskGroup() as tasks:
            recorder = Recorder(client, NAME, node)

            def tell(service: Key, reason: str, message: str) -> None:
                found = cache.get(Service, *service)
                about = found or ObjectReference(
                    api_version="v1", kind="Service", namespace=service[0], name=service[1]
                )
                recorder.emit(about, "Normal", reason, message)

            speaker = Speaker(node, cache, link, values["port"], tell, _serves(values, tasks))
            for kind, where in KINDS:
                cache.add(kind)
                tasks.create_task(cache.feed(client, kind, tell=lambda _: speaker.changed(), **where))
            tasks.create_task(recorder.run())
            tasks.create_task(local.serve(FLAGS, values, {}))
            ready()
            await speaker.run()


def _serves(values: Values, tasks: asyncio.TaskGroup) -> Callable[[float], bool]:
    url = values["kube-proxy-healthz"]
    if not url:
        return serving.always
    found = serving.Serving()
    tasks.create_task(serving.follow(url, found))
    return found.holds


def _link(values: Values) -> Link:
    interface = values["interface"]
    if not interface:
        try:
            interface = interface_of(ip_address(values["node-ip"]))
        except ValueError as problem:
            raise Fatal(f"cannot find the interface: {problem}; give --interface, or --node-ip") from problem
    if not interface:
        raise Fatal(f"cannot find the interface: none has {values['node-ip']}; give --interface")
    try:
        return Link(interface)
    except OSError as problem:
        raise Fatal(f"cannot announce on {interface}: {problem.strerror}; CAP_NET_RAW is needed") from problem
