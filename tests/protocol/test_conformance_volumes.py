"""What upstream's conformance tests ask of volumes: contents, modes, owners, changes, and parts of them.

Each test stands for several of upstream's (``tests/data/conformance.json``), and runs their pods side by side.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.protocol.containerd_bed import SLEEP, OneNode, first, running, waits_for
from tests.protocol.pods_bed import CORE, config_map, outputs, secret, shell, until

pytestmark = [pytest.mark.containerd, pytest.mark.timeout(180)]

DATA = {"data-1": "value-1", "data-2": "value-2", "data-3": "value-3"}
MAPPED = [{"key": "data-2", "path": "path/to/data-2"}]
MODED = [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]


async def shows(
    node: OneNode, name: str, source: Mapping[str, Any], paths: tuple[str, ...], **spec: Any
) -> None:
    """A pod that prints mode, group and content of files of its one volume, following links."""
    script = "; ".join(f"stat -L -c '%a %g' /v/{path}; cat /v/{path}; echo" for path in paths)
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True}]
    await node.add(
        name, shell(script, volumeMounts=mounts), restartPolicy="Never", volumes=[{"name": "v", **source}], **spec
    )  # fmt: skip


def projected(*sources: Mapping[str, Any], mode: int | None = None) -> dict[str, Any]:
    return {"projected": {"sources": list(sources), **({} if mode is None else {"defaultMode": mode})}}


async def test_maps_and_secrets_are_files(node: OneNode) -> None:
    await config_map(node, "cm", DATA)
    await secret(node, "hidden", DATA)
    one, mapped = ("data-1",), ("path/to/data-2",)
    kinds: dict[str, Any] = {
        "map": lambda mode=None, items=None: {
            "configMap": {"name": "cm", "defaultMode": mode, "items": items or []}
        },
        "secret": lambda mode=None, items=None: {
            "secret": {"secretName": "hidden", "defaultMode": mode, "items": items or []}
        },
        "pmap": lambda mode=None, items=None: projected(
            {"configMap": {"name": "cm", "items": items or []}}, mode=mode
        ),
        "psecret": lambda mode=None, items=None: projected(
            {"secret": {"name": "hidden", "items": items or []}}, mode=mode
        ),
    }
    wanted = {}
    for kind, made in kinds.items():
        for case, mode, items, paths, text in (
            ("plain", None, None, one, "644 0\nvalue-1\n"),
            ("mode", 0o400, None, one, "400 0\nvalue-1\n"),
            ("mapped", None, MAPPED, mapped, "644 0\nvalue-2\n"),
            ("item", None, MODED, mapped, "400 0\nvalue-2\n"),
        ):
            wanted[f"{kind}-{case}"] = text
            await shows(node, f"{kind}-{case}", made(mode, items), paths)
    user = {"runAsUser": 1000}
    await shows(node, "non-root", kinds["map"](), one, securityContext=user)
    await shows(node, "group", kinds["secret"](0o440), one, securityContext=user | {"fsGroup": 1001})

    found = await outputs(node, *wanted, "non-root", "group")

    assert found == wanted | {"non-root": "644 0\nvalue-1\n", "group": "440 1001\nvalue-1\n"}


async def test_two_volumes_show_the_same_secret_and_no_other_namespaces(node: OneNode) -> None:
    await secret(node, "hidden", DATA)
    await secret(node, "hidden", {"data-1": "another's"}, "elsewhere")
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("one", "two")]
    volumes = [{"name": name, "secret": {"secretName": "hidden"}} for name in ("one", "two")]
    script = "cat /one/data-1 /two/data-1"
    await node.add("twice", shell(script, volumeMounts=mounts), restartPolicy="Never", volumes=volumes)

    assert (await outputs(node, "twice"))["twice"] == "value-1value-1"


def downward(mode: int | None = None) -> list[dict[str, Any]]:
    fields = {"podname": "metadata.name", "labels": "metadata.labels", "annotations": "metadata.annotations"}
    sizes = {
        "cpu_limit": "limits.cpu", "memory_limit": "limits.memory", "cpu_request": "requests.cpu",
        "memory_request": "requests.memory",
    }  # fmt: skip
    own = {} if mode is None else {"mode": mode}
    return [
        *({"path": path, "fieldRef": {"fieldPath": name}, **own} for path, name in fields.items()),
        *(
            {"path": path, "resourceFieldRef": {"containerName": "c", "resource": name}, **own}
            for path, name in sizes.items()
        ),
    ]


async def test_the_pods_own_fields_are_files(node: OneNode) -> None:
    sizes = {"requests": {"memory": "32Mi", "cpu": "250m"}, "limits": {"memory": "64Mi", "cpu": "1250m"}}
    paths = ("podname", "cpu_limit", "memory_limit", "cpu_request", "memory_request")
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("plain", "projected", "moded")]
    script = "; ".join(f"cat /plain/{p}; echo; cat /projected/{p}; echo" for p in paths)
    script += "; stat -L -c %a /plain/podname /projected/podname /moded/podname"
    volumes = [
        {"name": "plain", "downwardAPI": {"items": downward()}},
        {"name": "projected", **projected({"downwardAPI": {"items": downward()}}, mode=0o400)},
        {"name": "moded", "downwardAPI": {"items": downward(0o400)}},
    ]
    for name, resources in (("sized", sizes), ("unlimited", {})):
        container = shell(script, volumeMounts=mounts, resources=resources)
        await node.add(name, container, restartPolicy="Never", volumes=volumes)

    found = {name: text.split() for name, text in (await outputs(node, "sized", "unlimited")).items()}

    shown = ["sized", "2", "67108864", "1", "33554432"]
    assert found["sized"][:10] == [text for text in shown for _twice in range(2)]
    assert found["sized"][10:] == ["644", "400", "400"]
    # Without a limit it is what the node has to give.
    cpu, memory, _storage = node.kubelet.here.allocatable
    assert found["unlimited"][2:6] == [str(-(-cpu // 1000))] * 2 + [str(memory)] * 2


async def test_changed_labels_and_annotations_are_written_at_once(node: OneNode) -> None:
    volumes = [
        {"name": "v", "downwardAPI": {"items": downward()}},
        {"name": "p", **projected({"downwardAPI": {"items": downward()}})},
    ]
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "p", "mountPath": "/p"}]
    await node.add("changes", {"name": "c", "command": SLEEP, "volumeMounts": mounts}, volumes=volumes)
    await node.until("changes", running)

    await node.change(
        "changes", {"metadata": {"labels": {"key3": "value3"}, "annotations": {"builder": "foo"}}}
    )

    async def written() -> bool:
        text = await node.execute("changes", "sh", "-c", "cat /v/labels /v/annotations /p/annotations")
        return text == 'key3="value3"builder="foo"builder="foo"'

    await until(written, 5)


async def test_what_changes_comes_and_goes_shows_in_volumes(node: OneNode) -> None:
    """Kept objects and the next round are brought forward; how long both take is the kubelet's own affair."""
    for name in ("changed", "deleted"):
        await config_map(node, name, DATA)
        await secret(node, name, DATA)
    names, mounts, volumes = ("changed", "deleted", "created"), [], []
    for kind, key in (("configMap", "name"), ("secret", "secretName")):
        for name in names:
            both: tuple[tuple[str, dict[str, Any]], ...] = (
                (f"{kind}-{name}", {kind: {key: name, "optional": True}}),
                (f"p{kind}-{name}", projected({kind: {"name": name, "optional": True}})),
            )
            for label, source in both:
                mounts.append({"name": label.lower(), "mountPath": f"/v/{label}"})
                volumes.append({"name": label.lower(), **source})
    pod = await node.add("follows", {"name": "c", "command": SLEEP, "volumeMounts": mounts}, volumes=volumes)
    await node.until("follows", running)
    before = await node.execute("follows", "sh", "-c", "cat /v/*/data-1 | wc -c; ls /v/*created")

    for plural in ("configmaps", "secrets"):
        await node.api.request("DELETE", f"{CORE}/default/{plural}/deleted")
    await config_map(node, "created", DATA)
    await secret(node, "created", DATA)
    for plural, value in (("configmaps", "new"), ("secrets", "bmV3")):
        await node.api.request("PATCH", f"{CORE}/default/{plural}/changed", {"data": {"data-1": value}})
    node.kubelet.here.objects._known.clear()
    worker, _task = node.kubelet.agent.workers[pod.metadata.uid]
    worker._refresh_at = 0.0
    worker.wake()

    async def there() -> bool:
        script = "cat /v/*changed/data-1; ls -d /v/*deleted/data-1 2>/dev/null; cat /v/*created/data-1"
        return await node.execute("follows", "sh", "-c", script) == "new" * 4 + "value-1" * 4

    assert before.startswith("56\n")
    await until(there, 10)


async def test_empty_directories_have_the_mode_and_medium_asked_for(node: OneNode) -> None:
    mounts = [{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}]
    volumes = [{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]
    script = "; ".join(
        f"stat -c '%a %u' /{at}; for m in 644 666 777; do echo content > /{at}/$m; chmod $m /{at}/$m; "
        f"stat -c '%a %u' /{at}/$m; cat /{at}/$m; done; awk '$2 == \"/{at}\" {{print $3}}' /proc/mounts"
        for at in ("disk", "memory")
    )
    for name, user in (("root", 0), ("user", 1001)):
        context = {"runAsUser": user}
        container = shell(script, volumeMounts=mounts, securityContext=context)
        await node.add(name, container, restartPolicy="Never", volumes=volumes)

    found = {name: text.splitlines() for name, text in (await outputs(node, "root", "user")).items()}

    for name, user in (("root", 0), ("user", 1001)):
        files = [line for mode in (644, 666, 777) for line in (f"{mode} {user}", "content")]
        assert found[name][:7] == ["777 0", *files]
        assert found[name][8:15] == ["777 0", *files]
        assert found[name][7] != "tmpfs"
        assert found[name][15] == "tmpfs"


async def test_containers_share_a_directory_and_kinds_do_not_get_in_each_others_way(node: OneNode) -> None:
    await config_map(node, "wrapped", {"data-1": "value-1"})
    await secret(node, "wrapped", {"data-1": "value-1"})
    shared = [{"name": "shared", "mountPath": "/shared"}]
    others = [{"name": name, "mountPath": f"/{name}"} for name in ("map", "secret")]
    writer = {
        "name": "writer",
        "command": ["sh", "-c", f"echo hi > /shared/f; {SLEEP[2]}"],
        "volumeMounts": shared,
    }
    await node.add(
        "shares", {"name": "c", "command": SLEEP, "volumeMounts": [*shared, *others]}, writer,
        volumes=[
            {"name": "shared", "emptyDir": {}}, {"name": "map", "configMap": {"name": "wrapped"}},
            {"name": "secret", "secret": {"secretName": "wrapped"}},
        ],
    )  # fmt: skip
    await node.until("shares", running)

    async def written() -> bool:
        return await node.execute("shares", "cat", "/shared/f") == "hi"

    await until(written)
    assert await node.execute("shares", "cat", "/map/data-1", "/secret/data-1") == "value-1value-1"


async def test_all_sources_are_projected_into_one_directory(node: OneNode) -> None:
    await config_map(node, "cm", {"configmap-data": "configmap-value"})
    await secret(node, "hidden", {"secret-data": "secret-value"})
    own = [{"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}]
    sources = ({"secret": {"name": "hidden"}}, {"configMap": {"name": "cm"}}, {"downwardAPI": {"items": own}})
    await shows(node, "all", projected(*sources), ("podname", "secret-data", "configmap-data"))

    found = await outputs(node, "all")

    assert found["all"].split()[2::3] == ["all", "secret-value", "configmap-value"]


async def test_parts_of_volumes_that_change_all_at_once(node: OneNode) -> None:
    await config_map(node, "cm", {"key": "configmap-value"})
    await secret(node, "hidden", {"key": "secret-value"})
    own = [{"path": "key", "fieldRef": {"fieldPath": "metadata.name"}}]
    sources: dict[str, dict[str, Any]] = {
        "configmap": {"configMap": {"name": "cm"}},
        "secret": {"secret": {"secretName": "hidden"}},
        "downward": {"downwardAPI": {"items": own}},
        "projected": projected({"configMap": {"name": "cm"}}),
        "existing": {"configMap": {"name": "cm"}},
    }
    for name, source in sources.items():
        path = "/etc/resolv.conf" if name == "existing" else "/test-volume"
        mounts = [{"name": "v", "mountPath": path, "subPath": "key"}]
        container = shell(f"cat {path}", volumeMounts=mounts)
        await node.add(name, container, restartPolicy="Never", volumes=[{"name": "v", **source}])

    assert await outputs(node, *sources) == {
        "configmap": "configmap-value", "secret": "secret-value", "downward": "downward",
        "projected": "configmap-value", "existing": "configmap-value",
    }  # fmt: skip


def expanding(value: Mapping[str, Any], expression: str) -> dict[str, Any]:
    return {
        "name": "c", "command": SLEEP, "env": [{"name": "POD_NAME", "value": "foo"}, {"name": "ANNOTATION", **value}],
        "volumeMounts": [
            {"name": "v", "mountPath": "/subpath_mount", "subPathExpr": expression}, {"name": "v", "mountPath": "/whole"},
        ],
    }  # fmt: skip


NOTED = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}}


async def test_parts_are_named_by_variables(node: OneNode) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    await node.add("later", expanding(NOTED, "$(ANNOTATION)/$(POD_NAME)"), volumes=volumes)
    await node.add("up", expanding({"value": ".."}, "$(ANNOTATION)"), volumes=volumes)
    await node.add("absolute", expanding({"value": "/tmp"}, "$(ANNOTATION)"), volumes=volumes)
    waiting = waits_for("CreateContainerConfigError")

    later, up = await node.until("later", waiting), await node.until("up", waiting)
    absolute = await node.until("absolute", waiting)
    await node.change("later", {"metadata": {"annotations": {"mysubpath": "mypath"}}})
    await node.until("later", running, 10)
    await node.execute("later", "touch", "/whole/mypath/foo/test.log")

    assert await node.execute("later", "ls", "/subpath_mount") == "test.log"
    assert first(later).state.waiting.message == "missing value for ANNOTATION"
    assert "must not contain '..'" in first(up).state.waiting.message
    assert "must not be an absolute path" in first(absolute).state.waiting.message
    # Another value changes nothing for what runs.
    await node.change("later", {"metadata": {"annotations": {"mysubpath": "mynewpath"}}})
    await asyncio.sleep(0.5)
    assert await node.execute("later", "ls", "/subpath_mount") == "test.log"
