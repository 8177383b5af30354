"""What upstream's conformance tests ask of pods themselves: environments, commands, last words, ends, and names.

Each test stands for several of upstream's (``tests/data/conformance.json``), and runs their pods side by side.
"""

import re
from typing import Any

import pytest

from tests.protocol.containerd_bed import SLEEP, OneNode, first, running, waits_for
from tests.protocol.pods_bed import CORE, config_map, outputs, over, said, secret, shell

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

ENV = ["env"]


def lines(text: str) -> set[str]:
    return set(text.splitlines())


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def resource(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": what}}}


RESOURCES = [
    resource("CPU_LIMIT", "limits.cpu"), resource("MEMORY_LIMIT", "limits.memory"),
    resource("CPU_REQUEST", "requests.cpu"), resource("MEMORY_REQUEST", "requests.memory"),
]  # fmt: skip
SIZES = {"requests": {"memory": "32Mi", "cpu": "250m"}, "limits": {"memory": "64Mi", "cpu": "1250m"}}


async def test_environments_come_from_maps_secrets_and_the_pod(node: OneNode) -> None:
    await config_map(node, "cm", {"data-1": "value-1", "data-2": "value-2"})
    await secret(node, "hidden", {"data-1": "value-1"})
    key = {"configMapKeyRef": {"name": "cm", "key": "data-1"}}
    prefixed = [{"prefix": text, "secretRef": {"name": "hidden"}} for text in ("", "p-", "1-", "$_")]
    maps = [{"prefix": text, "configMapRef": {"name": "cm"}} for text in ("", "p-", "1-", "$_", "#@!")]
    containers: dict[str, dict[str, Any]] = {
        "map": {"env": [{"name": "ONE", "valueFrom": key}], "envFrom": maps},
        "secret": {"envFrom": prefixed},
        "sizes": {"env": RESOURCES, "resources": SIZES},
        "node": {"env": RESOURCES[:2]},
        "place": {
            "env": [
                field("HOST_IP", "status.hostIP"), field("HOST_IPS", "status.hostIPs"), field("POD_IP", "status.podIP"),
                field("POD_UID", "metadata.uid"), field("POD_NAME", "metadata.name"),
                field("POD_NAMESPACE", "metadata.namespace"),
            ]
        },
    }  # fmt: skip
    for name, more in containers.items():
        await node.add(name, {"name": "c", "command": ENV, **more}, restartPolicy="Never")

    found = await outputs(node, *containers)

    assert lines(found["map"]) >= {"ONE=value-1", "data-1=value-1", "data-2=value-2"}
    assert lines(found["map"]) >= {f"{text}data-2=value-2" for text in ("p-", "1-", "$_", "#@!")}
    assert lines(found["secret"]) >= {f"{text}data-1=value-1" for text in ("", "p-", "1-", "$_")}
    assert lines(found["sizes"]) >= {
        "CPU_LIMIT=2", "MEMORY_LIMIT=67108864", "CPU_REQUEST=1", "MEMORY_REQUEST=33554432",
    }  # fmt: skip
    assert re.search(r"(?m)^CPU_LIMIT=[1-9]", found["node"])
    assert re.search(r"(?m)^MEMORY_LIMIT=[1-9]", found["node"])
    place = node.pod("place")
    assert place is not None
    assert lines(found["place"]) >= {
        "HOST_IP=127.0.0.1", "HOST_IPS=127.0.0.1", f"POD_IP={place.status.pod_ip}", f"POD_UID={place.metadata.uid}",
        "POD_NAME=place", "POD_NAMESPACE=default",
    }  # fmt: skip
    assert (place.status.host_ip, place.status.host_ips[0].ip) == ("127.0.0.1", "127.0.0.1")


async def test_services_are_in_the_environment(node: OneNode) -> None:
    spec = {"clusterIP": "10.96.3.4", "ports": [{"port": 8765, "targetPort": 8080, "protocol": "TCP"}]}
    raw = {"metadata": {"name": "fooservice", "namespace": "default"}, "spec": spec}
    await node.api.request("POST", f"{CORE}/default/services", raw)

    await node.add("knows", {"name": "c", "command": ENV}, restartPolicy="Never")
    found = await outputs(node, "knows")

    assert lines(found["knows"]) >= {
        "FOOSERVICE_SERVICE_HOST=10.96.3.4", "FOOSERVICE_SERVICE_PORT=8765", "FOOSERVICE_PORT=tcp://10.96.3.4:8765",
        "FOOSERVICE_PORT_8765_TCP_PORT=8765", "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
        "FOOSERVICE_PORT_8765_TCP=tcp://10.96.3.4:8765", "FOOSERVICE_PORT_8765_TCP_ADDR=10.96.3.4",
    }  # fmt: skip


async def test_variables_are_put_into_variables_commands_and_arguments(node: OneNode) -> None:
    test = {"name": "TEST_VAR", "value": "test-value"}
    composed = [
        {"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"},
        {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"}, {"name": "LATER", "value": "$(NOT_YET) $$(FOO)"},
        {"name": "NOT_YET", "value": "x"},
    ]  # fmt: skip
    script = 'TEST_VAR=wrong echo "$(TEST_VAR)"'
    containers = {
        "command": {"command": ["sh", "-c", script], "env": [test]},
        "arguments": {"command": ["sh", "-c"], "args": [script], "env": [test]},
        "composed": {"command": ENV, "env": composed},
    }
    for name, more in containers.items():
        await node.add(name, {"name": "c", **more}, restartPolicy="Never")

    found = await outputs(node, *containers)

    assert (found["command"], found["arguments"]) == ("test-value\n", "test-value\n")
    assert lines(found["composed"]) >= {"FOOBAR=foo-value;;bar-value", "LATER=$(NOT_YET) $(FOO)"}


async def test_what_an_image_says_holds_where_the_pod_says_nothing(node: OneNode) -> None:
    special = {"name": "c", "image": "special:1"}
    containers: dict[str, dict[str, Any]] = {
        "neither": {},
        "arguments": {"args": ["override", "arguments"]},
        "command": {"command": ["/bin/echo", "override"]},
        "both": {"command": ["/bin/echo", "override"], "args": ["both"]},
        "user": {"command": ["/bin/sh", "-c", "id -u; id -g; pwd; /bin/mount | busybox grep -c ' /kept '"]},
        "elsewhere": {"command": ["/bin/pwd"], "workingDir": "/kept"},
    }
    for name, more in containers.items():
        await node.add(name, special | more, restartPolicy="Never")
    await node.add("unsure", special, securityContext={"runAsNonRoot": True})

    found = await outputs(node, *containers)
    unsure = await node.until("unsure", waits_for("CreateContainerConfigError"))

    assert found["neither"] == "entrypoint default arguments\n"
    assert found["arguments"] == "entrypoint override arguments\n"
    assert found["command"] == "override\n"
    assert found["both"] == "override both\n"
    assert found["user"] == "1234\n4321\n/work\n1\n"
    assert found["elsewhere"] == "/kept\n"
    text = (
        "container has runAsNonRoot and image has non-numeric user (somebody), cannot verify user is non-root"
    )
    assert first(unsure).state.waiting.message.startswith(text)


async def test_last_words_are_told(node: OneNode) -> None:
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    own = {
        "terminationMessagePath": "/dev/termination-custom-log",
        "securityContext": {"runAsUser": 1000},
    }
    containers = {
        "nothing": shell("echo DONE; exit 0", **fallback),
        "log": shell("echo DONE; exit 1", **fallback),
        "file": shell("echo -n OK > /dev/termination-log; exit 0", **fallback),
        "own": shell("echo -n DONE > /dev/termination-custom-log", **own),
    }
    for name, container in containers.items():
        await node.add(name, container, restartPolicy="Never")

    ended = {name: first(await node.until(name, over)).state.terminated for name in containers}

    messages = {name: state.message for name, state in ended.items()}
    assert messages == {"nothing": "", "log": "DONE\n", "file": "OK", "own": "DONE"}
    assert [ended[name].exit_code for name in ("nothing", "log")] == [0, 1]
    assert [ended[name].reason for name in ("nothing", "log")] == ["Completed", "Error"]


async def test_how_often_a_container_runs_follows_its_policy(node: OneNode) -> None:
    # It fails the first time, ends well the second time, and stays from then on.
    counts = "echo x >> /count/f; n=$(wc -l < /count/f); [ $n -eq 1 ] && exit 1; [ $n -eq 2 ] && exit 0; "
    container = shell(counts + SLEEP[2], volumeMounts=[{"name": "count", "mountPath": "/count"}])
    volumes = [{"name": "count", "emptyDir": {}}]
    for policy in ("Always", "OnFailure", "Never"):
        await node.add(policy.lower(), container, restartPolicy=policy, volumes=volumes)

    always = await node.until("always", lambda p: running(p) and first(p).restart_count == 2, 60)
    failed, never = await node.until("onfailure", over), await node.until("never", over)

    assert (always.status.phase, first(always).ready) == ("Running", True)
    assert (failed.status.phase, first(failed).restart_count, first(failed).ready) == ("Succeeded", 1, False)
    assert (never.status.phase, first(never).restart_count) == ("Failed", 0)
    assert {c.type: c.status for c in never.status.conditions}["Ready"] == "False"
    assert first(failed).state.terminated.exit_code == 0
    assert first(failed).last_state.terminated.exit_code == 1


async def test_what_is_printed_is_the_log_and_aliases_are_hosts(node: OneNode) -> None:
    aliases = [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]
    await node.add("prints", shell("echo 'Hello World' ; sleep 240"))
    await node.add(
        "aliased", {"name": "c", "command": ["cat", "/etc/hosts"]}, restartPolicy="Never", hostAliases=aliases
    )

    prints = await node.until("prints", running)
    found = await outputs(node, "aliased")

    assert said(node, prints) == "Hello World\n"
    assert "# Kubernetes-managed hosts file." in found["aliased"]
    assert "123.45.67.89\tfoo\tbar" in found["aliased"]


async def test_a_pod_that_always_fails_can_be_deleted(node: OneNode) -> None:
    await node.add("fails", {"name": "c", "command": ["/bin/false"]}, restartPolicy="Always")
    await node.until("fails", waits_for("CrashLoopBackOff"))

    await node.delete("fails")

    await node.gone("fails")


async def test_a_deadline_may_be_set_while_a_pod_runs(node: OneNode) -> None:
    await node.add("endless", {"name": "c", "command": SLEEP})
    await node.until("endless", running)

    await node.change("endless", {"spec": {"activeDeadlineSeconds": 1}})
    pod = await node.until("endless", over)

    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")
    assert pod.status.message == "Pod was active on the node longer than the specified deadline"


async def test_users_privileges_and_the_root_file_system(node: OneNode) -> None:
    def secured(script: str, **context: Any) -> dict[str, Any]:
        return shell(script, securityContext=context)

    who = "id -u; id -g"
    containers = {
        "user": secured(who, runAsUser=65534),
        "own": secured(who, runAsUser=1001, runAsGroup=2002),
        "unprivileged": secured("ip link add dummy0 type dummy 2>&1 || true", privileged=False),
        "writes": secured("touch checkfile && echo well", readOnlyRootFilesystem=False),
        "reads": secured("touch /checkfile 2>/dev/null || echo refused", readOnlyRootFilesystem=True),
    }
    # The kernel's own word: with it no program gives more privileges than its caller had.
    for name, allowed in (("held", False), ("free", True)):
        script = "grep NoNewPrivs /proc/self/status; id -u"
        containers[name] = secured(script, allowPrivilegeEscalation=allowed, runAsUser=1000)
    for name, container in containers.items():
        await node.add(name, container, restartPolicy="Never")
    await node.add(
        "both", shell(who), restartPolicy="Never", securityContext={"runAsUser": 1001, "runAsGroup": 2002}
    )

    found = await outputs(node, *containers, "both")

    assert found["user"].split()[0] == "65534"
    assert found["both"].split() == found["own"].split() == ["1001", "2002"]
    assert "Operation not permitted" in found["unprivileged"]
    assert found["writes"] == "well\n"
    assert found["reads"] == "refused\n"
    assert found["held"] == "NoNewPrivs:\t1\n1000\n"
    assert found["free"] == "NoNewPrivs:\t0\n1000\n"
