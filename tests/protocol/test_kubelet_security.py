"""What a pod may ask of its sandbox and its containers: runtime classes, sysctls, profiles, groups, what /proc shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from kybern._proto import cri_pb2 as pb
from kybern.api.core_v1 import Pod
from kybern.kubelet.volumes import kernel
from tests.protocol.containerd_bed import SLEEP, Bed, OneNode, clean, first, one_node, running, waits_for

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

# Of mount(2): what is mounted below comes to its copies.
MS_SHARED = 1 << 20
SIMPLE = {"name": "c", "command": SLEEP}


async def runtime_class(node: OneNode, name: str, handler: str) -> None:
    raw = {"metadata": {"name": name}, "handler": handler}
    await node.api.request("POST", "/apis/node.k8s.io/v1/runtimeclasses", raw)


async def handler_of(node: OneNode, pod: Pod) -> str:
    """By which handler the sandbox of a pod was made."""
    sandbox = (await node.runtime.actual(pod.metadata.uid)).sandbox
    assert sandbox is not None
    asked = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox.id)
    return str((await node.runtime.call("PodSandboxStatus", asked)).status.runtime_handler)


async def info_of(node: OneNode, pod: Pod) -> Any:
    """The OCI specification that the runtime made of the first container."""
    asked = pb.ContainerStatusRequest(container_id=first(pod).container_id.partition("://")[2], verbose=True)
    answer = await node.runtime.call("ContainerStatus", asked)
    return json.loads(answer.info["info"])["runtimeSpec"]


def rejected(pod: Pod) -> bool:
    return pod.status.phase == "Failed"


async def test_a_pod_runs_by_the_handler_of_its_class(node: OneNode) -> None:
    await runtime_class(node, "special", "other")
    await node.add("by-class", SIMPLE, runtimeClassName="special", overhead={"cpu": "50m", "memory": "16Mi"})

    pod = await node.until("by-class", running)

    assert await handler_of(node, pod) == "other"


async def test_a_class_or_handler_that_is_not_there_makes_no_sandbox(node: OneNode) -> None:
    await runtime_class(node, "unconfigured", "nosuch")
    await node.add("no-class", SIMPLE, runtimeClassName="missing")
    await node.add("no-handler", SIMPLE, runtimeClassName="unconfigured")

    def told(name: str, text: str) -> Any:
        return lambda _pod: any(
            reason == "FailedCreatePodSandBox" and text in message for reason, message in node.events(name)
        )

    await node.until("no-class", told("no-class", 'runtimeclass.node.k8s.io "missing" not found'))
    await node.until("no-handler", told("no-handler", 'no runtime for "nosuch" is configured'))


async def test_safe_sysctls_are_set_and_others_refused(bed: Bed) -> None:
    def asking(name: str, value: str) -> dict[str, Any]:
        return {"sysctls": [{"name": name, "value": value}]}

    async with one_node(bed, unsafe_sysctls=("net.core.*",)) as node:
        await node.add("safe", SIMPLE, securityContext=asking("kernel.shm_rmid_forced", "1"))
        await node.add("allowed", SIMPLE, securityContext=asking("net/core/somaxconn", "77"))
        await node.add("refused", SIMPLE, securityContext=asking("kernel.msgmax", "65536"))

        refused = await node.until("refused", rejected)
        await node.until("safe", running)
        await node.until("allowed", running)

        assert await node.execute("safe", "cat", "/proc/sys/kernel/shm_rmid_forced") == "1"
        assert await node.execute("allowed", "cat", "/proc/sys/net/core/somaxconn") == "77"
        assert refused.status.reason == "SysctlForbidden"
        text = 'forbidden sysctl: "kernel.msgmax" not allowlisted'
        assert refused.status.message == f"Pod was rejected: {text}"
        assert node.events("refused") == [("SysctlForbidden", text)]
    await clean(bed)


@pytest.mark.skipif(not Path("/proc/sys/kernel/seccomp").exists(), reason="a kernel without seccomp")
async def test_seccomp_profiles_are_the_runtimes_or_the_nodes(node: OneNode) -> None:
    directory = node.bed.at / "kubelet/seccomp"
    directory.mkdir(parents=True, exist_ok=True)
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    (directory / "no-mkdir.json").write_text(json.dumps(profile))

    def of(kind: str, **more: str) -> dict[str, Any]:
        return {"securityContext": {"seccompProfile": {"type": kind, **more}}}

    await node.add("usual", SIMPLE | of("RuntimeDefault"))
    await node.add("own", SIMPLE | of("Localhost", localhostProfile="no-mkdir.json"))
    await node.add("none", SIMPLE)
    await node.add("missing", SIMPLE | of("Localhost", localhostProfile="nosuch.json"))

    for name in ("usual", "own", "none"):
        await node.until(name, running)
    await node.until("missing", waits_for("CreateContainerError"))
    modes = {
        name: (await node.execute(name, "grep", "Seccomp:", "/proc/1/status")).split()[1]
        for name in ("usual", "own", "none")
    }

    assert modes == {"usual": "2", "own": "2", "none": "0"}
    assert "Operation not permitted" in await node.execute("own", "mkdir", "/x")


async def test_app_armor_needs_the_hosts(node: OneNode) -> None:
    if Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("this host has AppArmor")
    await node.add("armed", SIMPLE, securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})

    pod = await node.until("armed", rejected)

    text = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert (pod.status.reason, pod.status.message) == ("AppArmor", text)


async def test_proc_is_masked_unless_asked_otherwise(node: OneNode) -> None:
    await node.add("masked", SIMPLE)
    await node.add("open", SIMPLE | {"securityContext": {"procMount": "Unmasked"}})
    masked, unmasked = await node.until("masked", running), await node.until("open", running)

    paths = [(await info_of(node, pod))["linux"].get("maskedPaths") or [] for pod in (masked, unmasked)]

    assert "/proc/kcore" in paths[0]
    assert paths[1] == []
    assert "Read-only file system" in await node.execute(
        "masked", "sh", "-c", "echo 1 > /proc/sys/kernel/domainname"
    )


async def test_groups_and_what_a_pod_has_as_a_whole(node: OneNode) -> None:
    await node.add(
        "grouped", SIMPLE | {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        securityContext={
            "runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000],
            "fsGroupChangePolicy": "OnRootMismatch",
        },
        resources={"requests": {"cpu": "200m"}, "limits": {"memory": "64Mi"}},
        volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip

    pod = await node.until("grouped", running)

    groups = await node.execute("grouped", "id", "-G")
    assert groups.split() == ["2000", "3000", "4000"]
    assert await node.execute("grouped", "stat", "-c", "%g %a", "/v") == "3000 2777"
    made = (await info_of(node, pod))["linux"]["resources"]
    assert made["memory"]["limit"] == 64 * 1024 * 1024


async def test_processes_and_queues_are_the_pod_s_or_the_node_s(node: OneNode) -> None:
    """PID and IPC namespaces: a container's own, shared in the pod (shareProcessNamespace), or the node's."""
    two = [SIMPLE, {"name": "d", "command": ["sh", "-c", "exec sleep 4321"]}]
    await node.add("apart", *two)
    await node.add("shared", *two, shareProcessNamespace=True)
    await node.add("host", SIMPLE, hostPID=True, hostIPC=True)
    for name in ("apart", "shared", "host"):
        await node.until(name, running)

    seen = {name: await node.execute(name, "ps", "-o", "args") for name in ("apart", "shared", "host")}
    spaces = {
        name: await node.execute(name, "readlink", "/proc/self/ns/ipc")
        for name in ("apart", "shared", "host")
    }

    assert "sleep 4321" not in seen["apart"]
    assert "sleep 4321" in seen["shared"]
    assert "containerd" in seen["host"]
    assert spaces["host"] == str(Path("/proc/self/ns/ipc").readlink())
    assert len(set(spaces.values())) == 3


async def test_mounts_spread_as_far_as_is_asked(node: OneNode, tmp_path: Path) -> None:
    """mountPropagation: what the node mounts below a volume comes to HostToContainer and Bidirectional, not to None."""
    shared = tmp_path / "shared"
    shared.mkdir()
    kernel.mount("none", shared, "tmpfs", ())
    kernel.mount("none", shared, "none", (), MS_SHARED)
    try:
        for name, asked in (("none", "None"), ("down", "HostToContainer"), ("both", "Bidirectional")):
            mount = {"name": "v", "mountPath": "/v", "mountPropagation": asked}
            await node.add(
                name, SIMPLE | {"volumeMounts": [mount], "securityContext": {"privileged": True}},
                volumes=[{"name": "v", "hostPath": {"path": str(shared)}}],
            )  # fmt: skip
        for name in ("none", "down", "both"):
            await node.until(name, running)

        (shared / "node").mkdir()
        kernel.mount("none", shared / "node", "tmpfs", ())
        (shared / "node/file").touch()
        said = await node.execute(
            "both", "sh", "-c", "mkdir /v/pod && mount -t tmpfs none /v/pod && touch /v/pod/file"
        )

        assert said == ""
        every = "/v/node/file\n/v/pod/file"
        for name, files in (("none", ""), ("down", every), ("both", every)):
            assert await node.execute(name, "sh", "-c", "find /v -name file | sort") == files, name
        assert (shared / "pod/file").exists()
    finally:
        for below in ("node", "pod"):
            kernel.unmount(shared / below, lazily=True)
        kernel.unmount(shared, lazily=True)
