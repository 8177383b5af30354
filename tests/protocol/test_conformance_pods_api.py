"""What upstream's conformance tests ask of pods that the API server and the kubelet do together: generations, ends, resizes.

A kubelet on a real containerd as a node of a real API server; each test stands for several of upstream's
(``tests/data/conformance.json``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.containerd_bed import NODE, SLEEP, Bed, clean, settings

pytestmark = [pytest.mark.containerd, pytest.mark.etcd, pytest.mark.timeout(180)]

CORE = "/api/v1"
PODS = f"{CORE}/namespaces/default/pods"
STRATEGIC = "strategic-merge-patch+json"
UPDATES = 100


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    lab.add_node(NODE)
    found = lab.start(free_ports())
    asked(found, "POST", f"{CORE}/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    return found


@pytest.fixture
async def node(bed: Bed, lab: Lab, server: Server) -> AsyncIterator[None]:
    """A kubelet that is Ready, and leaves nothing behind."""
    config = kubeconfig.load(str(lab.kubeconfig(server, "node")))
    async with Runtime(bed.endpoint) as runtime, Client(config) as client:
        await runtime.greet()
        kubelet = asyncio.create_task(Kubelet(settings(bed), runtime, client, NODE).run())
        try:
            await until(server, f"{CORE}/nodes/{NODE}", lambda found: found["status"].get("conditions"))
            yield
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)
    await clean(bed)


def asked(server: Server, method: str, path: str, body: Any = None, form: str = "json") -> Any:
    code, answer = server.ask(method, path, body, form=form)
    assert code in (200, 201), answer
    return answer


async def until(server: Server, path: str, check: Callable[[Any], Any], seconds: float = 40.0) -> Any:
    limit = time.monotonic() + seconds
    while True:
        code, found = await asyncio.to_thread(server.ask, "GET", path)
        if code == 200 and check(found):
            return found
        assert time.monotonic() < limit, found
        await asyncio.sleep(0.1)


def make(server: Server, name: str, *containers: dict[str, Any], **meta: Any) -> Any:
    usual = {"image": "busybox:1.36", "command": SLEEP}
    spec = {
        "nodeName": NODE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
        "restartPolicy": "OnFailure", "containers": [usual | one for one in containers or ({"name": "c"},)],
    }  # fmt: skip
    return asked(server, "POST", PODS, {"metadata": {"name": name, **meta}, "spec": spec})


def running(pod: Any) -> bool:
    status = pod["status"]
    return status.get("phase") == "Running" and all(one["ready"] for one in status["containerStatuses"])


@pytest.mark.usefixtures("node")
async def test_generations_are_counted_and_observed(server: Server) -> None:
    made = make(server, "counted", generation=100)
    await until(server, f"{PODS}/counted", running)
    for number in range(UPDATES):
        # It may only become shorter.
        patch = {"spec": {"activeDeadlineSeconds": 5000 - number}}
        await asyncio.to_thread(asked, server, "PATCH", f"{PODS}/counted", patch, STRATEGIC)
    settled = await until(
        server, f"{PODS}/counted", lambda p: p["status"]["observedGeneration"] == UPDATES + 1
    )

    # Who gives no signal of wanting to end is there for as long as it may take to.
    stubborn = {"name": "c", "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    make(server, "stubborn", stubborn)
    await until(server, f"{PODS}/stubborn", running)
    asked(server, "DELETE", f"{PODS}/stubborn?gracePeriodSeconds=4")
    ending = await until(server, f"{PODS}/stubborn", lambda p: p["status"]["observedGeneration"] == 2, 3)
    asked(server, "DELETE", PODS)
    await until(server, PODS, lambda found: not found["items"])

    assert made["metadata"]["generation"] == 1
    assert settled["metadata"]["generation"] == UPDATES + 1
    assert {c.get("observedGeneration") for c in settled["status"]["conditions"]} == {UPDATES + 1}
    assert ending["metadata"]["generation"] == 2
    assert ending["metadata"]["deletionTimestamp"]
    assert running(ending)


@pytest.mark.usefixtures("node")
async def test_pods_are_updated_and_removed_as_a_collection(server: Server) -> None:
    for number in range(3):
        make(server, f"many-{number}", labels={"type": "Testing"})
    await until(server, PODS, lambda found: all(map(running, found["items"])))

    changed = asked(server, "PATCH", f"{PODS}/many-0", {"metadata": {"labels": {"time": "now"}}}, STRATEGIC)
    selected = await until(server, f"{PODS}?labelSelector=time=now", lambda found: found["items"])
    asked(server, "DELETE", f"{PODS}?labelSelector=type=Testing")
    await until(server, PODS, lambda found: not found["items"])

    assert [item["metadata"]["name"] for item in selected["items"]] == ["many-0"]
    assert changed["metadata"]["generation"] == 1
    assert all(item["status"]["hostIP"] == "127.0.0.1" for item in selected["items"])


def sized(name: str, requests: dict[str, str], limits: dict[str, str] | None = None) -> dict[str, Any]:
    resources = {"requests": requests, **({"limits": limits} if limits else {})}
    return {"name": name, "resources": resources}


def same(name: str, cpu: str, memory: str) -> dict[str, Any]:
    both = {"cpu": cpu, "memory": memory}
    return sized(name, both, both)


def resized(wanted: list[dict[str, Any]], generation: int) -> Callable[[Any], bool]:
    """As upstream waits: statuses show the resources, no condition of a resize is left, the pod is ready."""

    def check(pod: Any) -> bool:
        if not running(pod) or pod["status"]["observedGeneration"] != generation:
            return False
        shown = {one["name"]: one["resources"] for one in pod["status"]["containerStatuses"]}
        kinds = {condition["type"] for condition in pod["status"]["conditions"]}
        return shown == {c["name"]: c["resources"] for c in wanted} and not any(
            kind.startswith("PodResize") for kind in kinds
        )

    return check


GUARANTEED = [same("c1", "20m", "35Mi"), same("c2", "22m", "37Mi"), same("c3", "24m", "39Mi")]
RESIZES = {
    "net-increase": (
        GUARANTEED,
        [same("c1", "25m", "40Mi"), same("c2", "27m", "42Mi"), same("c3", "19m", "34Mi")],
    ),
    "net-decrease": (
        GUARANTEED,
        [same("c1", "25m", "40Mi"), same("c2", "17m", "32Mi"), same("c3", "19m", "34Mi")],
    ),
    "mixed": (GUARANTEED, [same("c1", "25m", "35Mi"), same("c2", "17m", "42Mi"), same("c3", "29m", "44Mi")]),
    "equivalents": (
        [sized("c1", {"cpu": "2m"}, {"cpu": "10m"})],
        [sized("c1", {"cpu": "1m"}, {"cpu": "5m"})],
    ),
}
BURSTABLE = (
    [
        sized("c1", {"cpu": "20m"}), sized("c2", {"memory": "35Mi"}), sized("c3", {"cpu": "20m", "memory": "35Mi"}),
        sized("c4", {"cpu": "20m"}), sized("c5", {"memory": "35Mi"}), same("c6", "20m", "35Mi"),
    ],
    [
        sized("c1", {"cpu": "25m"}, {"cpu": "35m"}), sized("c2", {"memory": "30Mi"}, {"memory": "50Mi"}),
        sized("c3", {"cpu": "20m", "memory": "30Mi"}), sized("c4", {"cpu": "15m", "memory": "35Mi"}),
        sized("c5", {"cpu": "20m", "memory": "40Mi"}), same("c6", "25m", "40Mi"),
    ],
)  # fmt: skip


@pytest.mark.usefixtures("node")
async def test_pods_are_resized_forth_and_back(server: Server) -> None:
    every = RESIZES | {"burstable": BURSTABLE}
    ids = {}
    for name, (before, _after) in every.items():
        make(server, name, *before)
    for name, (before, after) in every.items():
        pod = await until(server, f"{PODS}/{name}", resized(before, 1))
        ids[name] = [one["containerID"] for one in pod["status"]["containerStatuses"]]
        asked(server, "PATCH", f"{PODS}/{name}/resize", {"spec": {"containers": after}}, STRATEGIC)
    for name, (_before, after) in every.items():
        await until(server, f"{PODS}/{name}", resized(after, 2))
    for name, (before, _after) in RESIZES.items():
        # What a read of the subresource gave is what replaces it.
        pod = asked(server, "GET", f"{PODS}/{name}/resize")
        for container, was in zip(pod["spec"]["containers"], before, strict=True):
            container["resources"] = was["resources"]
        asked(server, "PUT", f"{PODS}/{name}/resize", pod)
    for name, (before, _after) in RESIZES.items():
        pod = await until(server, f"{PODS}/{name}", resized(before, 3))
        assert [one["containerID"] for one in pod["status"]["containerStatuses"]] == ids[name]
        assert {one["restartCount"] for one in pod["status"]["containerStatuses"]} == {0}
    asked(server, "DELETE", PODS)
    await until(server, PODS, lambda found: not found["items"])
