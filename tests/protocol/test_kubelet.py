"""A kubelet runs pods on a real containerd, and tells a fake API server of them."""

import asyncio
import json
import shutil
import ssl
import tempfile
from pathlib import Path

import aiohttp
import pytest

from kybern.api.core_v1 import Event, Node, Pod
from kybern.client.connections import Connections
from kybern.kubelet.collect import Collector
from kybern.kubelet.rotation import Rotator
from tests.protocol.containerd_bed import (
    KINDS,
    SLEEP,
    Api,
    Bed,
    OneNode,
    clean,
    first,
    one_node,
    running,
    waits_for,
)
from tests.protocol.pods_bed import until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]


async def test_the_node_registers_and_is_ready(node: OneNode) -> None:
    for _try in range(100):
        found = node.api.one(Node, "", "n1")
        if found is not None and found.status.conditions:
            break
        await asyncio.sleep(0.1)

    assert found is not None
    assert {c.type: c.status for c in found.status.conditions}["Ready"] == "True"
    assert found.metadata.labels["kubernetes.io/hostname"] == "n1"
    assert any("docker.io/library/busybox:1.36" in image.names for image in found.status.images)


async def test_a_pod_runs_with_its_environment_and_its_volumes(node: OneNode) -> None:
    await node.api.request(
        "POST", "/api/v1/namespaces/default/configmaps",
        {"metadata": {"name": "cm", "namespace": "default"}, "data": {"a": "1"}},
    )  # fmt: skip
    await node.add(
        "web",
        {
            "name": "c", "command": SLEEP,
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "BOTH", "value": "$(A)-$(IP)"},
            ],
            "volumeMounts": [
                {"name": "cm", "mountPath": "/cm"}, {"name": "memory", "mountPath": "/memory"},
                {"name": "disk", "mountPath": "/disk", "subPath": "below"},
            ],
            "resources": {"limits": {"memory": "64Mi", "cpu": "100m"}},
        },
        volumes=[
            {"name": "cm", "configMap": {"name": "cm"}}, {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "emptyDir": {}},
        ],
    )  # fmt: skip

    pod = await node.until("web", running)

    assert pod.status.pod_ip.startswith(f"{node.bed.subnet}.")
    assert await node.execute("web", "sh", "-c", "echo $BOTH; cat /cm/a") == f"1-{pod.status.pod_ip}\n1"
    assert "tmpfs /memory" in await node.execute("web", "mount", "-t", "tmpfs") or "/memory type tmpfs" in (
        await node.execute("web", "mount")
    )
    assert await node.execute("web", "hostname") == "web"
    assert f"{pod.status.pod_ip}\tweb" in await node.execute("web", "cat", "/etc/hosts")
    assert "nameserver 10.96.0.10" in await node.execute("web", "cat", "/etc/resolv.conf")
    assert [reason for reason, _message in node.events("web")] == ["Pulled", "Created", "Started"]


async def test_a_container_that_ends_is_restarted_with_a_growing_delay(node: OneNode) -> None:
    script = "echo dying > /dev/termination-log; exit 3"
    await node.add("crash", {"name": "c", "command": ["sh", "-c", script]}, restartPolicy="Always")

    pod = await node.until(
        "crash", lambda p: waits_for("CrashLoopBackOff")(p) and first(p).restart_count == 1
    )

    assert first(pod).last_state.terminated.exit_code == 3
    assert first(pod).last_state.terminated.message == "dying\n"
    assert first(pod).state.waiting.message.startswith(
        "back-off 10s restarting failed container=c pod=crash_default"
    )
    assert any(reason == "BackOff" for reason, _message in node.events("crash"))


async def test_a_pod_that_never_restarts_ends_as_its_containers_do(node: OneNode) -> None:
    await node.add("good", {"name": "c", "command": ["true"]}, restartPolicy="Never")
    await node.add("bad", {"name": "c", "command": ["sh", "-c", "exit 7"]}, restartPolicy="Never")

    good = await node.until("good", lambda p: p.status.phase == "Succeeded")
    bad = await node.until("bad", lambda p: p.status.phase == "Failed")

    assert first(good).state.terminated.reason == "Completed"
    assert first(bad).state.terminated.exit_code == 7


async def test_probes_decide_over_readiness_and_life(node: OneNode) -> None:
    await node.add(
        "probed",
        {
            "name": "c", "command": ["sh", "-c", "touch /live; httpd -p 8080 -h /; sleep 1000"],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
            "livenessProbe": {"exec": {"command": ["cat", "/live"]}, "periodSeconds": 1, "failureThreshold": 2},
        },
    )  # fmt: skip
    await node.until("probed", lambda p: p.status.phase == "Running" and not first(p).ready)

    await node.execute("probed", "touch", "/ready")
    await node.until("probed", running)
    await node.execute("probed", "rm", "/ready")
    await node.until("probed", lambda p: not first(p).ready)
    await node.execute("probed", "rm", "/live")
    pod = await node.until("probed", lambda p: first(p).restart_count == 1 and first(p).state.running)

    assert first(pod).last_state.terminated.exit_code == 137
    messages = [message for _reason, message in node.events("probed")]
    assert "Readiness probe failed: HTTP probe failed with statuscode: 404" in messages
    assert "Liveness probe failed: cat: can't open '/live': No such file or directory\n" in messages
    assert "Container c failed liveness probe, will be restarted" in messages


async def test_init_containers_come_first_and_sidecars_stay(node: OneNode) -> None:
    await node.add(
        "ordered",
        {"name": "c", "command": ["sh", "-c", "cat /s/init; exec sh -c \"$0\"", SLEEP[2]],
         "volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        initContainers=[
            {"name": "i", "image": "busybox:1.36", "command": ["sh", "-c", "sleep 0.5; echo done > /s/init"],
             "volumeMounts": [{"name": "s", "mountPath": "/s"}]},
            {"name": "side", "image": "busybox:1.36", "command": SLEEP, "restartPolicy": "Always"},
        ],
        volumes=[{"name": "s", "emptyDir": {}}],
    )  # fmt: skip

    pod = await node.until("ordered", running)

    init, side = pod.status.init_container_statuses
    assert init.state is not None
    assert init.state.terminated is not None
    assert init.state.terminated.finished_at <= first(pod).state.running.started_at
    assert (side.ready, side.started) == (True, True)


async def test_a_missing_config_map_is_waited_for(node: OneNode) -> None:
    reference = {"configMapKeyRef": {"name": "late", "key": "a"}}
    await node.add("patient", {"name": "c", "command": SLEEP, "env": [{"name": "A", "valueFrom": reference}]})
    pod = await node.until("patient", waits_for("CreateContainerConfigError"))

    await node.api.request(
        "POST", "/api/v1/namespaces/default/configmaps",
        {"metadata": {"name": "late", "namespace": "default"}, "data": {"a": "1"}},
    )  # fmt: skip

    assert first(pod).state.waiting.message == 'configmap "late" not found'
    await node.until("patient", running)


async def test_an_image_that_must_not_be_pulled_is_missed(node: OneNode) -> None:
    await node.add("lost", {"name": "c", "image": "nosuch:1", "imagePullPolicy": "Never"})

    pod = await node.until("lost", waits_for("ErrImageNeverPull"))

    assert (
        first(pod).state.waiting.message
        == 'Container image "nosuch:1" is not present with pull policy of Never'
    )
    assert pod.status.phase == "Pending"


async def test_too_little_memory_is_told(node: OneNode) -> None:
    hungry = ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"]
    limits = {"limits": {"memory": "20Mi"}}
    await node.add("hungry", {"name": "c", "command": hungry, "resources": limits}, restartPolicy="Never")

    pod = await node.until("hungry", lambda p: p.status.phase == "Failed")

    assert first(pod).state.terminated.reason == "OOMKilled"


async def test_a_deleted_pod_leaves_nothing_behind(node: OneNode) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /shared/hook"]}}}
    shared = Path(tempfile.mkdtemp(prefix="kb-shared-"))
    pod = await node.add(
        "short",
        {"name": "c", "command": SLEEP, "lifecycle": hook,
         "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "h", "mountPath": "/shared"}]},
        volumes=[
            {"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "h", "hostPath": {"path": str(shared)}},
        ],
        terminationGracePeriodSeconds=20,
    )  # fmt: skip
    await node.until("short", running)

    await node.delete("short")
    await node.gone("short", 15)

    assert (shared / "hook").read_text() == "hook\n"
    shutil.rmtree(shared)
    for _try in range(50):
        if not (await node.runtime.actual(pod.metadata.uid)).sandboxes:
            break
        await asyncio.sleep(0.1)
    actual = await node.runtime.actual(pod.metadata.uid)
    assert (actual.sandboxes, actual.instances) == ((), ())
    assert not (node.bed.at / "kubelet/pods" / pod.metadata.uid).exists()
    assert not list(
        Path("/sys/fs/cgroup").glob(f"**{node.bed.cgroup}/kubepods/besteffort/pod{pod.metadata.uid}")
    )


async def test_a_pod_past_its_deadline_fails(node: OneNode) -> None:
    await node.add("late", {"name": "c", "command": SLEEP}, activeDeadlineSeconds=2)

    pod = await node.until("late", lambda p: p.status.phase == "Failed")

    assert pod.status.reason == "DeadlineExceeded"


async def test_a_restart_of_the_kubelet_leaves_containers_alone(bed: Bed) -> None:
    api = Api(*KINDS)
    async with one_node(bed, api) as node:
        await node.add(
            "stays", {"name": "c", "command": SLEEP, "readinessProbe": {"exec": {"command": ["true"]}}}
        )
        await node.add("goes", {"name": "c", "command": SLEEP})
        before = await node.until("stays", running)
        await node.until("goes", running)
    goes = api.one(Pod, "default", "goes")
    assert goes is not None
    await api.delete(goes, grace_seconds=0)
    seen = len(api.log)

    async with one_node(bed, api) as node:
        for _try in range(300):
            if not (await node.runtime.actual(goes.metadata.uid)).alive:
                break
            await asyncio.sleep(0.1)
        after = node.pod("stays")

    assert after is not None
    assert first(after).container_id == first(before).container_id
    assert (first(after).restart_count, first(after).ready) == (0, True)
    told = [body for _revision, _kind, where, body in api.log[seen:] if where == "/api/v1/pods"]
    readiness = [s["ready"] for body in told for s in body.get("status", {}).get("containerStatuses", ())]
    assert all(readiness), "a restart of the kubelet took the pod out of service"
    await clean(bed)


async def test_static_pods_run_and_are_shown(bed: Bed) -> None:
    manifests = bed.at / "manifests"
    manifests.mkdir()
    text = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "1000"]}]}}'  # noqa: E501  # one manifest
    (manifests / "s.json").write_text(text)

    async with one_node(bed, static_pod_path=str(manifests)) as node:
        mirror = await node.until("s-n1", running)
        await node.delete("s-n1")
        again = await node.until("s-n1", lambda p: p.metadata.uid != mirror.metadata.uid and running(p))
        (manifests / "s.json").unlink()
        await node.gone("s-n1")

    assert first(again).container_id == first(mirror).container_id
    assert mirror.metadata.annotations["kubernetes.io/config.source"] == "file"
    await clean(bed)


async def test_a_manifest_that_comes_back_while_its_pod_ends_runs_again_and_counts_on(bed: Bed) -> None:
    manifests = bed.at / "manifests-that-come-back"
    manifests.mkdir()
    slow = 'trap "sleep 4; exit 0" TERM; while true; do sleep 0.1; done'
    manifest = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "back"},
        "spec": {"containers": [{"name": "c", "image": "busybox:1.36", "command": ["sh", "-c", slow]}]},
    }  # fmt: skip

    async with one_node(bed, static_pod_path=str(manifests)) as node:
        (manifests / "s.json").write_text(json.dumps(manifest))
        before = await node.until("back-n1", running)
        agent = node.kubelet.agent
        ((uid, (worker, _task)),) = agent.workers.items()
        (manifests / "s.json").unlink()
        await until(lambda: worker.ending)
        (manifests / "s.json").write_text(json.dumps(manifest))
        after = await node.until("back-n1", lambda pod: running(pod) and first(pod).restart_count == 1, 60)
        assert first(after).container_id != first(before).container_id
        # Nobody takes the pod for one that nobody wants.
        await node.kubelet.watcher.look()
        assert set(agent.workers) == {uid}
        assert not agent.workers[uid][0].ending
        (manifests / "s.json").unlink()
        await node.gone("back-n1")
    await clean(bed)


async def test_logs_are_served(bed: Bed, unused_tcp_port: int) -> None:
    insecure = ssl._create_unverified_context()
    async with (
        one_node(bed, port=unused_tcp_port) as node,
        aiohttp.ClientSession(connector=Connections()) as client,
    ):
        script = "echo one; echo two; trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"
        await node.add("talks", {"name": "c", "command": ["sh", "-c", script]})
        await node.until("talks", running)
        base = f"https://127.0.0.1:{unused_tcp_port}/containerLogs/default/talks/c"

        async with client.get(f"{base}?tailLines=1", ssl=insecure) as answer:
            assert await answer.text() == "two\n"
        async with client.get(f"{base}?previous=true", ssl=insecure) as answer:
            assert answer.status == 400
            assert await answer.text() == 'previous terminated container "c" in pod "talks" not found'
        async with client.get(f"{base}?follow=true", ssl=insecure) as answer:
            await node.delete("talks")
            assert await answer.text() == "one\ntwo\nbye\n"
        async with client.get(f"{base}x", ssl=insecure) as answer:
            assert answer.status in (400, 404)
    await clean(bed)


async def test_a_log_that_grew_too_large_is_set_aside(bed: Bed) -> None:
    async with one_node(bed, log_max_size="1Ki", log_max_files=3) as node:
        script = "while true; do echo 0123456789012345678901234567890123456789; sleep 0.01; done"
        pod = await node.add("chatty", {"name": "c", "command": ["sh", "-c", script]})
        await node.until("chatty", running)
        directory = bed.at / "logs" / f"default_chatty_{pod.metadata.uid}" / "c"
        rotator = Rotator(node.kubelet.agent, node.kubelet.here, node.kubelet.settings)

        for _round in range(4):
            await asyncio.sleep(1.1)
            await rotator.look()

        names = sorted(path.name for path in directory.iterdir())
        assert len(names) == 3, names
        assert names[0] == "0.log"
        assert names[1].endswith(".gz")
        await asyncio.sleep(0.5)
        assert (directory / "0.log").stat().st_size > 0
    await clean(bed)


async def test_dead_runs_beyond_the_last_two_are_removed(node: OneNode) -> None:
    pod = await node.add("loops", {"name": "c", "command": ["true"]}, restartPolicy="Always")
    await node.until("loops", lambda p: bool(p.status.container_statuses) and first(p).restart_count >= 1)
    (worker, _task) = node.kubelet.agent.workers[pod.metadata.uid]
    worker._steps.delays.clear()
    worker.wake()
    await node.until("loops", lambda p: first(p).restart_count >= 2)

    logs = Path(node.kubelet.settings.pod_logs)
    (logs / "a_gone_11111111-0000-0000-0000-000000000000/c").mkdir(parents=True)

    await Collector(node.kubelet.agent, node.kubelet.here, node.kubelet.settings).look()

    assert pod.metadata.uid in {path.name.rpartition("_")[2] for path in logs.iterdir()}
    assert not list(logs.glob("a_gone_*")), "of a pod that nobody knows any more"
    left = (await node.runtime.actual(pod.metadata.uid)).instances
    assert len(left) == 2
    assert [run.attempt for run in left] == [2, 1]


async def test_an_ephemeral_container_looks_into_a_running_pod(node: OneNode) -> None:
    await node.add("looked", {"name": "c", "command": ["sh", "-c", "exec sleep 4321"]})
    before = await node.until("looked", running)

    looking = {
        "name": "debug", "image": "busybox:1.36", "command": ["sh", "-c", "ps; exec sleep 1234"],
        "targetContainerName": "c", "terminationMessagePath": "/dev/termination-log",
    }  # fmt: skip
    asked = await node.change("looked", {"spec": {"ephemeralContainers": [looking]}})
    pod = await node.until(
        "looked",
        lambda p: any(s.state and s.state.running for s in p.status.ephemeral_container_statuses),
    )

    assert pod.status.observed_generation == asked.metadata.generation
    assert "sleep 4321" in await node.execute("looked", "ps", container="debug")
    assert first(pod).container_id == first(before).container_id
    assert pod.status.phase == "Running"
    assert running(pod)
    about = [e.involved_object.field_path for e in node.api.all(Event) if e.involved_object.name == "looked"]
    assert "spec.ephemeralContainers{debug}" in about
