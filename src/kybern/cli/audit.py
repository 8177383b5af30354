"""``kybern audit``: a cluster beside the CIS Kubernetes Benchmark. Exit code as of monitoring plugins: 0, 1, 2 or 3."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import fill, indent
from typing import Annotated, Any

import typer

from kybern.cli import machines
from kybern.cli.machines import Topology
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machines.cis.questions import script
from kybern.machines.cis.record import Finding, Level, Objects, Place
from kybern.machines.cis.report import code, counts, findings, line
from kybern.machines.errors import MachineError
from kybern.machines.parts import answers
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine
from kybern.reach.machines import Machines

WITHIN = 60.0  # seconds a machine may take
API_SECONDS = 30.0
WIDTH = 110
RBAC, REGISTRATION = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
LISTS = {
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "clusterroles": f"{RBAC}/clusterroles",
    "clusterrolebindings": f"{RBAC}/clusterrolebindings",
    "roles": f"{RBAC}/roles",
    "rolebindings": f"{RBAC}/rolebindings",
    "validatingwebhookconfigurations": f"{REGISTRATION}/validatingwebhookconfigurations",
    "validatingadmissionpolicybindings": f"{REGISTRATION}/validatingadmissionpolicybindings",
    # Their names and no more: see ``NAMES``.
    "bootstraptokens": "/api/v1/namespaces/kube-system/secrets?fieldSelector=type%3Dbootstrap.kubernetes.io/token",
}
NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def audit(
    topology: Topology = "lab",
    output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text",
    everything: Annotated[bool, typer.Option("--all", help="Show what passed, too.")] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line and an exit code, as monitoring plugins answer.")
    ] = False,
) -> None:
    """Compare the cluster with the CIS Kubernetes Benchmark v1.12, and change nothing."""
    if output not in ("text", "json"):
        raise MachineError(f'there is no output "{output}"; say text or json')
    cluster = machines.read(topology, None)
    found = findings(cluster, *asyncio.run(look(cluster)))
    if nagios:
        print(line(found))
    elif output == "json":
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        show(cluster, found, everything=everything)
    raise typer.Exit(code(found))


def show(cluster: Cluster, found: Sequence[Finding], *, everything: bool) -> None:
    for one in found:
        if everything or one.level is not Level.PASSED:
            print(f"{one.number:8}{one.level.upper():11}{one.wants}")
            for text in (_where(cluster, one), one.why):
                if text:
                    print(indent(fill(text, WIDTH), " " * 8))
    told = counts(found)
    print(f"\n{cluster.name}: {', '.join(f'{number} {level}' for level, number in told.items())}.")


def _where(cluster: Cluster, one: Finding) -> str:
    """What is said; of which machines, unless it is of all that were asked."""
    if not one.machines or len(one.machines) == len(cluster.machines):
        return one.said
    return f"{one.said} ({', '.join(one.machines)})"


async def look(cluster: Cluster) -> tuple[Mapping[str, Place], Objects]:
    """Ask all machines and the API at once."""
    (lists, kubelets), texts = await asyncio.gather(
        _api(cluster), asyncio.gather(*(_texts(cluster, each) for each in cluster.machines))
    )
    places = {
        machine.name: Place(cluster, machine, told, kubelets.get(machine.name))
        for machine, told in zip(cluster.machines, texts, strict=True)
    }
    admin = State.of(cluster.name).directory / "admin.conf"
    mode = admin.stat().st_mode & 0o7777 if admin.exists() else None
    return places, Objects(cluster, lists, mode)


async def _texts(cluster: Cluster, machine: Machine) -> Mapping[str, str]:
    return dict(answers(await Machines(cluster).run(machine.name, script(cluster, machine), WITHIN)))


async def _api(cluster: Cluster) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    lists: dict[str, Any] = {}
    kubelets: dict[str, Any] = {}
    try:
        async with Client(load(State.of(cluster.name).directory / "admin.conf")) as api:
            for name, path in LISTS.items():
                accept = NAMES if name == "bootstraptokens" else "application/json"
                lists[name] = (await _answer(api, path, accept) or {}).get("items")
            for machine in cluster.machines:
                if machine.is_node:
                    told = await _answer(api, f"/api/v1/nodes/{machine.name}/proxy/configz")
                    kubelets[machine.name] = (told or {}).get("kubeletconfig")
    except OSError:
        return lists, kubelets
    return lists, kubelets


async def _answer(api: Client, path: str, accept: str = "application/json") -> dict[str, Any] | None:
    """None when the API, or the kubelet behind it, does not say."""
    try:
        found = json.loads(await api.request("GET", path, timeout=API_SECONDS, accept=accept))
    except (ApiError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
