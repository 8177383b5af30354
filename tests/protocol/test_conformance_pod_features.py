"""What upstream's conformance tests ask of init containers, hooks, probes and ephemeral containers.

Each test stands for several of upstream's (``tests/data/conformance.json``), and runs their pods side by side.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from kybern._proto import health_pb2 as pb
from kybern._proto import health_pb2_grpc as rpc
from kybern.api.core_v1 import Pod
from tests.protocol.containerd_bed import SLEEP, OneNode, first, running, waits_for
from tests.protocol.pods_bed import IMAGE, outputs, over, said, shell, until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


def init(name: str, *command: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": list(command), **more}


def told(node: OneNode, pod: Pod) -> list[Any]:
    """All statuses that were ever told of a pod, as they were patched."""
    bodies = [body for _revision, _kind, where, body in node.api.log if where == "/api/v1/pods"]
    uid = pod.metadata.uid
    return [b["status"] for b in bodies if b.get("status") and b.get("metadata", {}).get("uid") == uid]


async def test_init_containers_run_before_all_others(node: OneNode) -> None:
    both = [init("init1", "/bin/true"), init("init2", "/bin/true")]
    await node.add(
        "never", {"name": "c", "command": ["/bin/true"]}, restartPolicy="Never", initContainers=both
    )
    await node.add("always", {"name": "c", "command": SLEEP}, restartPolicy="Always", initContainers=both)

    never, always = await node.until("never", over), await node.until("always", running)

    assert (never.status.phase, always.status.phase) == ("Succeeded", "Running")
    for pod in (never, always):
        assert {c.type: c.status for c in pod.status.conditions}["Initialized"] == "True"
        assert [s.ready for s in pod.status.init_container_statuses] == [True, True]
        codes = [
            s.state.terminated.exit_code
            for s in pod.status.init_container_statuses
            if s.state and s.state.terminated
        ]
        assert codes == [0, 0]


async def test_an_init_container_that_fails_holds_all_others_up(node: OneNode) -> None:
    fails, well = ("/bin/false",), ("/bin/true",)
    await node.add(
        "never", {"name": "c", "command": ["/bin/true"]}, restartPolicy="Never",
        initContainers=[init("init1", *well), init("init2", *fails)],
    )  # fmt: skip
    await node.add(
        "always", {"name": "c", "command": SLEEP}, restartPolicy="Always",
        initContainers=[init("init1", *fails), init("init2", *well)],
    )  # fmt: skip

    never = await node.until("never", over)
    always = await node.until(
        "always",
        lambda p: (
            bool(p.status.init_container_statuses)
            and (p.status.init_container_statuses[0].restart_count or 0) >= 2
        ),
        60,
    )

    assert (never.status.phase, always.status.phase) == ("Failed", "Pending")
    for pod, names in ((never, "init2"), (always, "init1 init2")):
        condition = next(c for c in pod.status.conditions if c.type == "Initialized")
        assert (condition.status, condition.reason) == ("False", "ContainersNotInitialized")
        assert condition.message == f"containers with incomplete status: [{names}]"
        for status in told(node, pod):
            waited = [
                s["state"].get("waiting", {}).get("reason") for s in status.get("containerStatuses") or ()
            ]
            assert set(waited) <= {"PodInitializing"}
    assert first(never).state.waiting.reason == "PodInitializing"
    second = always.status.init_container_statuses[1].state
    assert second is not None
    assert second.waiting is not None
    assert second.waiting.reason == "PodInitializing"


PAGES = "healthz echo start-exec start-http stop-exec stop-http"
HTTPD = f"mkdir /w; for f in {PAGES}; do echo ok > /w/$f; done; exec httpd -f -vv -p 8080 -h /w"


async def test_hooks_reach_a_server_by_command_and_by_http(node: OneNode) -> None:
    await node.add("server", shell(HTTPD))
    server = await node.until("server", running)
    ip = server.status.pod_ip

    def by_command(name: str) -> dict[str, Any]:
        return {"exec": {"command": ["wget", "-qO-", f"http://{ip}:8080/{name}"]}}

    def by_http(name: str) -> dict[str, Any]:
        return {"httpGet": {"host": ip, "port": 8080, "path": f"/{name}?request=echo%3Fmsg%3Dhook"}}

    containers: dict[str, dict[str, Any]] = {
        "start-exec": {"postStart": by_command("start-exec")},
        "start-http": {"postStart": by_http("start-http")},
        "stop-exec": {"preStop": by_command("stop-exec")},
        "stop-http": {"preStop": by_http("stop-http")},
    }
    for name, lifecycle in containers.items():
        await node.add(
            name, {"name": "c", "command": SLEEP, "lifecycle": lifecycle}, terminationGracePeriodSeconds=15
        )
    # The hook of a container may also ask a sidecar of its own pod, at the pod's address, to its very end.
    sidecar = init("side", "sh", "-c", HTTPD, restartPolicy="Always")
    sidecar["startupProbe"] = {"httpGet": {"path": "/echo?msg=startup", "port": 8080}, "periodSeconds": 1}
    own = {"preStop": {"httpGet": {"port": 8080, "path": "/echo?msg=own"}}}
    await node.add("own", {"name": "c", "command": SLEEP, "lifecycle": own}, initContainers=[sidecar])
    for name in (*containers, "own"):
        await node.until(name, running)

    def asked() -> list[str]:
        return [name for name in containers if f"/{name}" in said(node, server)]

    await until(lambda: asked() == ["start-exec", "start-http"])
    for name in (*containers, "own"):
        await node.delete(name)
        await node.gone(name)
    await until(lambda: asked() == list(containers))
    assert [reason for reason, _text in node.events("own") if "Hook" in reason] == []


class Health(rpc.HealthServicer):  # type: ignore[misc]  # generated code has no types
    def __init__(self) -> None:
        self.status = pb.HealthCheckResponse.SERVING
        self.asked = 0

    async def Check(self, _request: Any, _context: Any) -> pb.HealthCheckResponse:  # noqa: N802  # gRPC's name
        self.asked += 1
        return pb.HealthCheckResponse(status=self.status)


@pytest.fixture
async def health() -> AsyncIterator[tuple[int, Health]]:
    """A server of gRPC's health service on loopback, where pods of the node's network are probed."""
    server, found = grpc.aio.server(), Health()
    rpc.add_HealthServicer_to_server(found, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port, found
    await server.stop(None)


QUICK = {"periodSeconds": 1, "failureThreshold": 1}


async def test_what_answers_its_liveness_probes_is_left_alone(
    node: OneNode, health: tuple[int, Health]
) -> None:
    port, served = health
    probes: dict[str, dict[str, Any]] = {
        "exec": {"exec": {"command": ["cat", "/w/healthz"]}},
        "http": {"httpGet": {"path": "/healthz", "port": 8080}},
        "tcp": {"tcpSocket": {"port": 8080}},
    }
    for name, probe in probes.items():
        patient = {"initialDelaySeconds": 2}
        await node.add(name, shell(HTTPD, livenessProbe=probe | QUICK | patient))
    grpc_probe = {"grpc": {"port": port}}
    await node.add(
        "grpc", {"name": "c", "command": SLEEP, "livenessProbe": grpc_probe | QUICK}, hostNetwork=True
    )
    for name in (*probes, "grpc"):
        await node.until(name, running)

    await until(lambda: served.asked >= 5)

    for name in (*probes, "grpc"):
        pod = node.pod(name)
        assert pod is not None
        assert first(pod).restart_count == 0
        assert not [text for reason, text in node.events(name) if reason == "Unhealthy"]


async def test_what_fails_its_liveness_probes_is_run_again(node: OneNode, health: tuple[int, Health]) -> None:
    port, served = health
    served.status = pb.HealthCheckResponse.NOT_SERVING
    script = f"echo ok > /tmp/health; sleep 1.5; rm /tmp/health; {SLEEP[2]}"
    exec_probe = {"exec": {"command": ["cat", "/tmp/health"]}, "initialDelaySeconds": 1}
    await node.add("exec", shell(script, livenessProbe=exec_probe | QUICK))
    probe = {"grpc": {"port": port}, "initialDelaySeconds": 1}
    await node.add("grpc", {"name": "c", "command": SLEEP, "livenessProbe": probe | QUICK}, hostNetwork=True)

    pods = [
        await node.until(
            name, lambda p: bool(p.status.container_statuses) and first(p).restart_count >= 2, 60
        )
        for name in ("exec", "grpc")
    ]

    for pod in pods:
        told_counts = [
            found["restartCount"]
            for status in told(node, pod)
            for found in status.get("containerStatuses") or ()
            if "restartCount" in found
        ]
        assert told_counts == sorted(told_counts)
        messages = [text for _reason, text in node.events(pod.metadata.name)]
        assert "Container c failed liveness probe, will be restarted" in messages
    assert 'Liveness probe failed: service unhealthy (responded with "NOT_SERVING")' in messages


async def test_readiness_waits_and_never_restarts(node: OneNode) -> None:
    slow = {"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "periodSeconds": 1}
    await node.add("later", {"name": "c", "command": SLEEP, "readinessProbe": slow})
    fails = {"exec": {"command": ["/bin/false"]}, "initialDelaySeconds": 1, "periodSeconds": 1}
    await node.add("never", {"name": "c", "command": SLEEP, "readinessProbe": fails})

    later = await node.until("later", running)
    await until(lambda: sum(reason == "Unhealthy" for reason, _text in node.events("never")) or None)
    await asyncio.sleep(2)
    never = node.pod("never")

    ready = next(c for c in later.status.conditions if c.type == "Ready")
    assert ready.last_transition_time is not None
    assert (ready.last_transition_time - first(later).state.running.started_at).total_seconds() >= 3
    assert never is not None
    assert (first(later).restart_count, first(never).restart_count) == (0, 0)
    assert never.status.phase == "Running"
    conditions = (c for s in told(node, never) for c in s.get("conditions") or ())
    assert not [c for c in conditions if (c.get("type"), c.get("status")) == ("Ready", "True")]


async def test_an_ephemeral_container_is_added_and_speaks(node: OneNode) -> None:
    await node.add("plain", {"name": "c", "command": SLEEP})
    await node.until("plain", running)

    added = {
        "name": "debugger",
        "image": IMAGE,
        "command": ["sh", "-c", "echo polo; sleep 1000"],
        "tty": True,
        "stdin": True,
    }
    await node.change("plain", {"spec": {"ephemeralContainers": [added]}})
    pod = await node.until(
        "plain", lambda p: any(s.state and s.state.running for s in p.status.ephemeral_container_statuses)
    )

    await until(lambda: said(node, pod, "debugger").strip() == "polo")
    assert running(pod)


async def test_a_file_that_an_init_container_wrote_gives_variables(node: OneNode) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}

    def chosen(key: str, *, optional: bool = False) -> dict[str, Any]:
        source = {"volumeName": "v", "path": "own.env", "key": key, "optional": optional}
        return {"name": key, "valueFrom": {"fileKeyRef": source}}

    written = [init("i", "sh", "-c", "echo \"A='one two'\" >/v/own.env", **mount)]
    spec = {"restartPolicy": "Never", "initContainers": written, "volumes": [{"name": "v", "emptyDir": {}}]}
    await node.add("reads", shell("echo [$A] [$B]", env=[chosen("A"), chosen("B", optional=True)]), **spec)
    await node.add("lacks", shell("true", env=[chosen("B")]), **spec)

    assert await outputs(node, "reads") == {"reads": "[one two] []\n"}
    pod = await node.until("lacks", waits_for("CreateContainerConfigError"))
    assert first(pod).state.waiting.message == 'environment variable key "B" not found in file "own.env"'


async def test_all_containers_begin_anew_when_one_asks_for_it(node: OneNode) -> None:
    """RestartAllContainers: init containers run again, volumes and the address stay, nothing of the old round is left."""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    # It ends so once: the second time it finds the file of the first.
    once = "[ -e /v/once ] && exec sleep 3600; touch /v/once; sleep 1; exit 42"
    await node.add(
        "anew",
        {**shell(once, restartPolicy="Never", restartPolicyRules=[rule], **mount), "name": "watcher"},
        {**shell("echo main >>/v/log; exec sleep 3600", **mount), "name": "main"},
        initContainers=[init("first", "sh", "-c", "echo first >>/v/log", **mount)],
        volumes=[{"name": "v", "emptyDir": {}}], terminationGracePeriodSeconds=30,
    )  # fmt: skip

    def counted(pod: Pod) -> bool:
        every = (*pod.status.init_container_statuses, *pod.status.container_statuses)
        return [one.restart_count for one in every] == [1, 1, 1] and running(pod)

    begun = await node.until("anew", running)
    pod = await node.until("anew", counted)

    assert pod.status.pod_ip == begun.status.pod_ip
    assert await node.execute("anew", "cat", "/v/log", container="main") == "first\nmain\nfirst\nmain"
    said = [
        c
        for status in told(node, pod)
        for c in status.get("conditions", ())
        if c["type"] == "AllContainersRestarting"
    ]
    assert {c["status"] for c in said} == {"True", "False"}
    assert next(c.status for c in pod.status.conditions if c.type == "AllContainersRestarting") == "False"
