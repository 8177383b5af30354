"""Claims get directories of the node that was chosen, on a real API server, with only the rights of a node's driver."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.controllers_bed import CORE, manage
from tests.protocol.local_volumes_bed import claim, driver, prepare

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(180)]

type Raw = dict[str, Any]

CHOSEN = "volume.kubernetes.io/selected-node"
MERGE = "merge-patch+json"
CLAIMS, VOLUMES = f"{CORE}/namespaces/default/persistentvolumeclaims", f"{CORE}/persistentvolumes"
CAPACITIES = "/apis/storage.k8s.io/v1/namespaces/kube-system/csistoragecapacities"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    found = lab.start(free_ports(), "--endpoint-reconciler-type=none")
    manage(lab, found, free_ports())
    prepare(lab, found, "n1", "n2")
    for name in ("n1", "n2"):
        assert found.ask("POST", f"{CORE}/nodes", {"metadata": {"name": name}})[0] == 201
    for name, more in {
        "kept": {"reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"},
        "now": {"volumeBindingMode": "Immediate"},
    }.items():
        body = {
            "metadata": {"name": name},
            "provisioner": "local.kybern.io",
            "allowVolumeExpansion": True,
            **more,
        }
        assert found.ask("POST", CLASSES, body)[0] == 201
    return found


def get(server: Server, path: str) -> Raw:
    code, found = server.ask("GET", path)
    return dict(found) if code == 200 else {}


async def until(what: str, check: Callable[[], Any], seconds: float = 30) -> Any:
    limit = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(check)):
        assert time.monotonic() < limit, f"not in time: {what}"
        await asyncio.sleep(0.05)
    return found


def ask(server: Server, method: str, path: str, body: Raw, **more: str) -> Raw:
    code, found = server.ask(method, path, body, **more)
    assert code in (200, 201), found
    return dict(found)


def choose(server: Server, name: str, node: str) -> None:
    """As the scheduler does. What the binder writes in between is told apart by nobody: a patch needs no version."""
    ask(server, "PATCH", f"{CLAIMS}/{name}", {"metadata": {"annotations": {CHOSEN: node}}}, form=MERGE)


def events(server: Server, about: str) -> list[tuple[str, str]]:
    found = get(server, f"{CORE}/events").get("items") or ()
    return [(one["reason"], one["message"]) for one in found if one["involvedObject"]["name"] == about]


async def bound(server: Server, name: str, node: str = "n1", **more: Any) -> tuple[Raw, Raw]:
    """A claim and its volume, once a scheduler has chosen a node."""
    ask(server, "POST", CLAIMS, claim(name, **more))
    choose(server, name, node)
    found = await until(f"{name} bound", lambda: _bound(server, name))
    return found, get(server, f"{VOLUMES}/{found['spec']['volumeName']}")


def _bound(server: Server, name: str) -> Raw | None:
    found = get(server, f"{CLAIMS}/{name}")
    return found if (found.get("status") or {}).get("phase") == "Bound" else None


async def dropped(server: Server, name: str, volume: str) -> None:
    server.ask("DELETE", f"{CLAIMS}/{name}")
    await until(f"{volume} gone", lambda: not get(server, f"{VOLUMES}/{volume}"))


async def test_a_claim_gets_a_directory_of_its_node_and_gives_it_back(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    async with (
        driver(lab, server, "n1", tmp_path / "1") as one,
        driver(lab, server, "n2", tmp_path / "2") as two,
    ):
        found, volume = await bound(server, "data")
        name = f"pvc-{found['metadata']['uid']}"
        told = await until(
            "told", lambda: [e for e in events(server, "data") if e[0] == "ProvisioningSucceeded"]
        )
        was = one.directories(), two.directories()
        await dropped(server, "data", name)

    spec = volume["spec"]
    assert was == ({name}, set())
    assert spec["csi"] | {"volumeAttributes": {}} == {
        "driver": "local.kybern.io", "volumeHandle": name, "volumeAttributes": {},
    }  # fmt: skip
    assert spec["nodeAffinity"]["required"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "local.kybern.io/node", "operator": "In", "values": ["n1"]}]}
    ]
    assert (spec["capacity"], spec["storageClassName"]) == ({"storage": "1Mi"}, "local")
    assert volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == "local.kybern.io"
    assert "external-provisioner.volume.kubernetes.io/finalizer" in volume["metadata"]["finalizers"]
    assert told == [("ProvisioningSucceeded", f"Successfully provisioned volume {name}")]
    assert one.directories() == set()


async def test_a_claim_that_waits_for_its_pod_gets_nothing(lab: Lab, server: Server, tmp_path: Path) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one:
        ask(server, "POST", CLAIMS, claim("waits"))
        await bound(server, "later")

        assert _bound(server, "waits") is None
        assert len(one.directories()) == 1
        server.ask("DELETE", f"{CLAIMS}/waits")
        server.ask("DELETE", f"{CLAIMS}/later")
        await until("taken back", lambda: not one.directories())


async def test_what_is_retained_keeps_its_directory_and_has_no_finalizer_of_ours(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one:
        _found, volume = await bound(server, "kept", storage_class="kept")
        name = volume["metadata"]["name"]
        server.ask("DELETE", f"{CLAIMS}/kept")
        await until("released", lambda: get(server, f"{VOLUMES}/{name}")["status"]["phase"] == "Released")
        assert server.ask("DELETE", f"{VOLUMES}/{name}")[0] == 200
        await until("forgotten", lambda: not get(server, f"{VOLUMES}/{name}"))

    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert one.directories() == {name}
    async with driver(lab, server, "n1", tmp_path / "1") as again:
        await bound(server, "kept-2", storage_class="kept")
        assert name in again.directories()


async def test_a_full_node_says_so_and_lets_the_scheduler_choose_another(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one, driver(lab, server, "n2", tmp_path / "2"):
        one.store.space = 1 << 20
        ask(server, "POST", CLAIMS, claim("large", "2Mi"))
        choose(server, "large", "n1")
        await until(
            "given back",
            lambda: CHOSEN not in (get(server, f"{CLAIMS}/large")["metadata"].get("annotations") or {}),
        )
        told = await until(
            "told", lambda: [e for e in events(server, "large") if e[0] == "ProvisioningFailed"]
        )
        choose(server, "large", "n2")
        found = await until("bound", lambda: _bound(server, "large"))

        assert told[0][1] == (
            'failed to provision volume with StorageClass "local": rpc error: code = ResourceExhausted desc = '
            "node n1: not enough space: 2097152 bytes are asked for, 1048576 are left"
        )
        assert one.directories() == set()
        await dropped(server, "large", found["spec"]["volumeName"])


async def test_of_nodes_that_ask_for_a_claim_at_once_one_has_it(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    async with (
        driver(lab, server, "n1", tmp_path / "1") as one,
        driver(lab, server, "n2", tmp_path / "2") as two,
    ):
        for number in range(6):
            ask(server, "POST", CLAIMS, claim(f"now-{number}", storage_class="now"))
        for number in range(6):
            await until(f"now-{number}", partial(_bound, server, f"now-{number}"))
        made = sorted((*one.directories(), *two.directories()))
        claims = [get(server, f"{CLAIMS}/now-{number}") for number in range(6)]
        for found in claims:
            await dropped(server, found["metadata"]["name"], found["spec"]["volumeName"])

    assert made == sorted(f"pvc-{found['metadata']['uid']}" for found in claims)
    assert {found["metadata"]["annotations"][CHOSEN] for found in claims} <= {"n1", "n2"}


async def test_a_claim_that_no_directory_can_be_is_refused(lab: Lab, server: Server, tmp_path: Path) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one:
        ask(server, "POST", CLAIMS, claim("shared", accessModes=["ReadWriteMany"]))
        choose(server, "shared", "n1")
        told = await until(
            "told", lambda: [e for e in events(server, "shared") if e[0] == "ProvisioningFailed"]
        )

        assert "code = InvalidArgument desc = access mode ReadWriteMany is not supported" in told[0][1]
        assert one.directories() == set()
    server.ask("DELETE", f"{CLAIMS}/shared")


async def test_a_volume_grows_up_to_what_its_disk_has(lab: Lab, server: Server, tmp_path: Path) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one:
        one.store.space = 4 << 20
        _found, volume = await bound(server, "grows")
        name = volume["metadata"]["name"]

        def asked(size: str) -> None:
            spec = {"resources": {"requests": {"storage": size}}}
            ask(server, "PATCH", f"{CLAIMS}/grows", {"spec": spec}, form=MERGE)

        def status() -> Raw:
            return dict(get(server, f"{CLAIMS}/grows")["status"])

        asked("3Mi")
        await until("grown", lambda: status()["capacity"] == {"storage": "3Mi"})
        assert get(server, f"{VOLUMES}/{name}")["spec"]["capacity"] == {"storage": "3Mi"}
        assert one.store.get(name).size == 3 << 20
        asked("9Mi")
        await until(
            "refused",
            lambda: status().get("allocatedResourceStatuses") == {"storage": "ControllerResizeInfeasible"},
        )
        assert status()["capacity"] == {"storage": "3Mi"}
        asked("4Mi")
        await until("grown again", lambda: status()["capacity"] == {"storage": "4Mi"})
        await until("unmarked", lambda: "allocatedResourceStatuses" not in status())
        told = [reason for reason, _message in events(server, "grows")]
        assert {"Resizing", "VolumeResizeSuccessful", "VolumeResizeFailed"} <= set(told)
        await dropped(server, "grows", name)


async def test_a_driver_that_was_killed_goes_on_where_it_was(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    async with driver(lab, server, "n1", tmp_path / "1") as one:
        _found, volume = await bound(server, "through")
        ask(server, "POST", CLAIMS, claim("half"))
        half = f"pvc-{get(server, f'{CLAIMS}/half')['metadata']['uid']}"
        name = volume["metadata"]["name"]
    # Made, but the API was not told; one for a claim that is gone; one half made; one half removed.
    one.store.make(half, 1 << 20)
    one.store.make("pvc-nobodys", 1 << 20)
    (one.store.root / ".new-pvc-x/data").mkdir(parents=True)
    (one.store.root / ".gone-pvc-y/data").mkdir(parents=True)
    (one.store.root / "lost+found").mkdir()
    server.ask("DELETE", f"{CLAIMS}/through")

    async with driver(lab, server, "n1", tmp_path / "1") as again:
        choose(server, "half", "n1")
        await until("bound", lambda: _bound(server, "half"))
        await until("reclaimed", lambda: not get(server, f"{VOLUMES}/{name}"))

        assert again.directories() == {half, "lost+found"}
        await dropped(server, "half", half)


def volume_of(node: str, name: str, driver_name: str = "local.kybern.io") -> Raw:
    rule = {"key": "local.kybern.io/node", "operator": "In", "values": [node]}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": driver_name, "volumeHandle": name},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}},
        },
    }  # fmt: skip


def test_a_driver_writes_volumes_of_its_own_node_only(lab: Lab, server: Server) -> None:
    def tried(method: str, path: str, body: Raw | None = None, form: str = "json") -> int:
        return server.ask(method, path, body, identity="driver-n1", form=form)[0]

    assert tried("POST", VOLUMES, volume_of("n1", "mine")) == 201
    assert tried("POST", VOLUMES, volume_of("n2", "yours")) == 422
    assert tried("POST", VOLUMES, volume_of("n1", "other", "csi.example.com")) == 422
    bare = volume_of("n1", "bare")
    del bare["spec"]["nodeAffinity"]
    assert tried("POST", VOLUMES, bare) == 422
    path = {
        "metadata": {"name": "path"},
        "spec": {**volume_of("n1", "path")["spec"], "hostPath": {"path": "/"}},
    }
    del path["spec"]["csi"]
    assert tried("POST", VOLUMES, path) == 422
    assert server.ask("POST", VOLUMES, volume_of("n2", "theirs"))[0] == 201
    label = {"metadata": {"labels": {"a": "b"}}}
    assert tried("PATCH", f"{VOLUMES}/mine", label, MERGE) == 200
    assert tried("PATCH", f"{VOLUMES}/theirs", label, MERGE) == 422
    assert tried("DELETE", f"{VOLUMES}/theirs") == 422
    assert tried("DELETE", f"{VOLUMES}/mine") == 200
    assert tried("GET", f"{CORE}/secrets") == 403
    assert tried("GET", f"{CORE}/nodes") == 403
    assert tried("GET", f"{CORE}/nodes/n1") == 200
    server.ask("DELETE", f"{VOLUMES}/theirs")


def test_a_driver_changes_of_a_claim_only_whether_its_node_was_chosen(lab: Lab, server: Server) -> None:
    def tried(body: Raw, name: str = "free", below: str = "") -> int:
        return server.ask("PATCH", f"{CLAIMS}/{name}{below}", body, identity="driver-n1", form=MERGE)[0]

    def marks(**found: Any) -> Raw:
        return {"metadata": {"annotations": {key.replace("__", "/"): value for key, value in found.items()}}}

    mine, theirs, nobody = ({"metadata": {"annotations": {CHOSEN: node}}} for node in ("n1", "n2", None))
    for name in ("free", "taken"):
        ask(server, "POST", CLAIMS, claim(name))
    choose(server, "taken", "n2")
    size = {"status": {"capacity": {"storage": "9Gi"}}}

    assert tried(size, below="/status") == 422
    assert tried(theirs) == 422
    assert tried(mine) == 200
    assert tried(size, below="/status") == 200
    assert tried(nobody) == 200
    assert tried(mine, "taken") == 422
    assert tried(nobody, "taken") == 422
    assert tried(size, "taken", "/status") == 422
    assert tried(marks(a="b")) == 422
    assert tried({"metadata": {"labels": {"a": "b"}}}) == 422
    assert tried({"metadata": {"finalizers": []}}) == 422
    assert tried({"spec": {"volumeName": "theirs"}}) == 422
    for name in ("free", "taken"):
        server.ask("DELETE", f"{CLAIMS}/{name}")


def test_a_driver_tells_of_the_room_of_its_own_node_only(server: Server) -> None:
    def told(node: str, name: str, identity: str = "driver-n1") -> int:
        body = {
            "metadata": {"name": name}, "storageClassName": "local", "capacity": "9Ti",
            "nodeTopology": {"matchLabels": {"local.kybern.io/node": node}},
        }  # fmt: skip
        return server.ask("POST", CAPACITIES, body, identity=identity)[0]

    assert told("n1", "mine") == 201
    assert told("n2", "yours") == 422
    assert told("n2", "theirs", "admin") == 201
    more = {"capacity": "1Mi"}
    for name, code in (("mine", 200), ("theirs", 422)):
        path = f"{CAPACITIES}/{name}"
        assert server.ask("PATCH", path, more, identity="driver-n1", form=MERGE)[0] == code
        assert server.ask("DELETE", path, identity="driver-n1")[0] == code
    server.ask("DELETE", f"{CAPACITIES}/theirs")


async def test_the_room_of_a_node_is_told_for_each_class_that_waits(
    lab: Lab, server: Server, tmp_path: Path
) -> None:
    def room(name: str) -> str:
        found: str = get(server, f"{CAPACITIES}/local.kybern.io.n1.{name}").get("capacity", "")
        return found

    late = {
        "metadata": {"name": "late"},
        "provisioner": "local.kybern.io",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    async with driver(lab, server, "n1", tmp_path / "1"):
        await until("told", lambda: room("local") == "1Gi")
        assert (room("kept"), room("now")) == ("1Gi", "")
        ask(server, "POST", CLASSES, late)
        await until("told of the new class", lambda: room("late") == "1Gi")
        found, _volume = await bound(server, "part", size="512Mi")
        await until("taken", lambda: room("local") == "512Mi")
        await dropped(server, "part", found["spec"]["volumeName"])
        await until("given back", lambda: room("local") == "1Gi")
        server.ask("DELETE", f"{CLASSES}/late")
        await until("no more of the class", lambda: room("late") == "")
        owners = get(server, f"{CAPACITIES}/local.kybern.io.n1.local")["metadata"]["ownerReferences"]

    assert [(one["kind"], one["name"]) for one in owners] == [("Node", "n1")]


def test_a_driver_whose_user_names_no_node_may_write_nothing(lab: Lab, server: Server) -> None:
    prepare(lab, server, "")
    code, answer = server.ask("POST", VOLUMES, volume_of("", "nameless"), identity="driver-")

    assert code == 422, answer
    assert "has to bear the name of its node" in answer["message"]


def test_nobody_else_is_bound_by_the_policy(server: Server) -> None:
    other = volume_of("n9", "of-others", "csi.example.com")
    assert server.ask("POST", VOLUMES, other)[0] == 201
    assert server.ask("DELETE", f"{VOLUMES}/of-others")[0] == 200
