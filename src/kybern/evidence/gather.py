"""Ask machines and API for a report, all at once. What does not answer is named in the report."""

import asyncio
import json
from collections.abc import Mapping

from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.evidence.hiding import in_object, in_text
from kybern.evidence.questions import script
from kybern.machinery.errors import ApiError
from kybern.machines.parts import answers
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine
from kybern.reach.machines import Machines

MACHINE_SECONDS = 120.0
API_SECONDS = 30.0
# Neither Secrets nor ConfigMaps: what people put there is theirs.
LISTS = {
    "nodes": "/api/v1/nodes",
    "namespaces": "/api/v1/namespaces",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "events": "/api/v1/events",
    "persistentvolumes": "/api/v1/persistentvolumes",
    "persistentvolumeclaims": "/api/v1/persistentvolumeclaims",
    "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices",
    "leases": "/apis/coordination.k8s.io/v1/leases",
    "deployments": "/apis/apps/v1/deployments",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "jobs": "/apis/batch/v1/jobs",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "ingresses": "/apis/networking.k8s.io/v1/ingresses",
    "storageclasses": "/apis/storage.k8s.io/v1/storageclasses",
    "csinodes": "/apis/storage.k8s.io/v1/csinodes",
    "apiservices": "/apis/apiregistration.k8s.io/v1/apiservices",
    "certificatesigningrequests": "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "webhooks": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
}
TEXTS = {"version": "/version", "readyz": "/readyz?verbose", "livez": "/livez?verbose"}


async def gather(cluster: Cluster) -> Mapping[str, str]:
    """Texts by the path that they have in the report, without secrets."""
    machines, api = await asyncio.gather(
        asyncio.gather(*(_machine(cluster, each) for each in cluster.machines)), _api(cluster)
    )
    found = dict(api)
    for each in machines:
        found |= each
    return {path: in_text(text) for path, text in found.items()}


async def _machine(cluster: Cluster, machine: Machine) -> Mapping[str, str]:
    said = await Machines(cluster).run(machine.name, script(cluster, machine), MACHINE_SECONDS)
    found = {f"machines/{machine.name}/{name}.txt": text for name, text in answers(said)}
    return found or {f"machines/{machine.name}/silent.txt": "It did not answer by SSH.\n"}


async def _api(cluster: Cluster) -> Mapping[str, str]:
    found: dict[str, str] = {}
    try:
        async with Client(load(State.of(cluster.name).directory / "admin.conf")) as api:
            for name, path in TEXTS.items():
                found[f"api/{name}.txt"] = await _answer(api, path)
            for name, path in LISTS.items():
                found[f"api/{name}.json"] = _readable(await _answer(api, path))
    except OSError as problem:
        found["api/silent.txt"] = f"{problem}\n"
    return found


async def _answer(api: Client, path: str) -> str:
    """What the API says; an error is what a report is made for."""
    try:
        return (await api.request("GET", path, timeout=API_SECONDS)).decode(errors="replace")
    except ApiError as problem:
        return f"{problem}\n"


def _readable(text: str) -> str:
    try:
        return json.dumps(in_object(json.loads(text)), indent=1) + "\n"
    except json.JSONDecodeError:
        return text
