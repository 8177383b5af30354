"""What of a killed runtime is given back, and what is never touched."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kybern.kubelet.cri import RuntimeFailure
from kybern.kubelet.leftovers import cni
from kybern.kubelet.leftovers.network import namespace_of, places_of
from kybern.kubelet.leftovers.plan import (
    MAKING,
    TWICE,
    Address,
    Namespace,
    Seen,
    Thing,
    diff,
    is_of_runtime,
    remember,
)
from kybern.kubelet.leftovers.removal import Task, concerns_a_task, to_end
from kybern.kubelet.runtime import RunState

STARTED = 1000.0
OLD = Namespace("cni-0a1b2c3d-0000-1111-2222-333344445555", STARTED - 60)
YOUNG = Namespace("cni-ffffffff-0000-1111-2222-333344445555", STARTED + 5)
HELD = Address("kybern", "10.244.1.7", "a" * 64, "eth0", STARTED - 59)
SEEN = Seen((OLD,), (HELD,), frozenset(), frozenset(), STARTED)


def after(looks: Sequence[tuple[float, Seen]]) -> list[Thing]:
    """What is given back at the last of several looks, at times of a steady clock."""
    since: Mapping[Thing, float] = {}
    for now, seen in looks:
        since = remember(since, seen, now)
    return diff(looks[-1][1], since, looks[-1][0])


@pytest.mark.parametrize(
    ("seen", "seconds", "given_back"),
    [
        pytest.param(SEEN, TWICE, [OLD, HELD], id="older-than-the-runtime"),
        pytest.param(SEEN, TWICE - 1, [], id="not-looked-at-twice"),
        pytest.param(replace(SEEN, namespaces=(YOUNG,), addresses=()), MAKING - 1, [], id="may-be-being-made"),
        pytest.param(replace(SEEN, namespaces=(YOUNG,), addresses=()), MAKING, [YOUNG], id="nobodys-for-long"),
        pytest.param(replace(SEEN, started=None), MAKING - 1, [], id="nobody-knows-when-the-runtime-began"),
        pytest.param(replace(SEEN, started=None), MAKING, [OLD, HELD], id="nor-needs-to-after-long"),
        pytest.param(replace(SEEN, named=frozenset({OLD.name})), MAKING, [HELD], id="namespace-of-a-sandbox"),
        pytest.param(replace(SEEN, sandboxes=frozenset({HELD.sandbox})), MAKING, [OLD], id="address-of-a-sandbox"),
        pytest.param(replace(SEEN, named=None), MAKING, [], id="a-sandbox-does-not-tell"),
        pytest.param(
            replace(SEEN, namespaces=(replace(OLD, lived=True),)), MAKING, [], id="lived-in-so-the-address-may-be-in-use"
        ),
        pytest.param(replace(SEEN, namespaces=(OLD, YOUNG)), TWICE, [OLD], id="one-that-stays-keeps-addresses"),
        pytest.param(
            replace(SEEN, addresses=(replace(HELD, made=STARTED - 0.5),)), TWICE, [OLD], id="hardly-older"
        ),
    ],
)  # fmt: skip
def test_only_what_is_certainly_nobodys_is_given_back(
    seen: Seen, seconds: float, given_back: list[Thing]
) -> None:
    assert after([(0.0, seen), (seconds, seen)]) == given_back


def test_what_had_an_owner_in_between_begins_anew() -> None:
    owned = replace(SEEN, named=frozenset({OLD.name}), sandboxes=frozenset({HELD.sandbox}))

    assert after([(0.0, SEEN), (TWICE - 1, owned), (TWICE, SEEN)]) == []
    assert after([(0.0, SEEN), (TWICE - 1, owned), (TWICE, SEEN), (2 * TWICE, SEEN)]) == [OLD, HELD]


def test_what_is_gone_is_nobodys_business_any_more() -> None:
    empty = replace(SEEN, namespaces=(), addresses=())

    assert after([(0.0, SEEN), (TWICE, empty)]) == []


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("cni-0a1b2c3d-0000-1111-2222-333344445555", True),
        ("netns-0a1b2c3d-0000-1111-2222-333344445555", False),
        ("0a1b2c3d-0000-1111-2222-333344445555", False),
        ("cni-mine", False),
        ("cni-0a1b2c3d-0000-1111-2222-333344445555-more", False),
    ],
)
def test_names_of_namespaces(name: str, ours: bool) -> None:
    assert is_of_runtime(name) is ours


@pytest.mark.parametrize(
    ("info", "name"),
    [
        (
            {
                "runtimeSpec": {
                    "linux": {
                        "namespaces": [
                            {"type": "ipc"},
                            {"type": "network", "path": f"/var/run/netns/{OLD.name}"},
                        ]
                    }
                }
            },
            OLD.name,
        ),
        ({"runtimeSpec": {"linux": {"namespaces": [{"type": "ipc"}]}}}, ""),
        ({"runtimeSpec": {"linux": {"namespaces": [{"type": "network"}]}}}, ""),
        ({"netNamespaceClosed": True}, ""),
        ({"netNamespaceClosed": False}, "?"),
        ({}, "?"),
    ],
)
def test_the_namespace_of_a_sandbox(info: dict[str, Any], name: str) -> None:
    assert namespace_of({"info": json.dumps(info)}) == name


@pytest.mark.parametrize(
    ("state", "task", "ends"),
    [
        (RunState.CREATED, Task.CREATED, True),
        (RunState.EXITED, Task.CREATED, True),
        (RunState.EXITED, Task.STOPPED, True),
        (RunState.EXITED, Task.RUNNING, True),
        (RunState.CREATED, Task.RUNNING, False),
        (RunState.EXITED, Task.PAUSED, True),
        (RunState.CREATED, Task.STOPPED, True),
        (RunState.EXITED, Task.UNKNOWN, False),
        (RunState.RUNNING, Task.RUNNING, False),
        (RunState.RUNNING, Task.CREATED, False),
        (RunState.UNKNOWN, Task.CREATED, False),
    ],
)
def test_only_a_task_that_nobody_knows_of_is_ended(state: RunState, task: Task, ends: bool) -> None:
    assert to_end(state, task) is ends


REFUSED = 'failed to delete containerd container "c": cannot delete running task c: failed precondition'


@pytest.mark.parametrize(
    ("text", "runtime", "concerns"),
    [
        (REFUSED, "containerd", True),
        (REFUSED, "cri-o", False),
        ("container is in starting state, can't be removed", "containerd", False),
        ("connection refused", "containerd", False),
    ],
)
def test_only_containerds_refusal_for_a_task_is_looked_into(text: str, runtime: str, concerns: bool) -> None:
    assert concerns_a_task(RuntimeFailure(text), runtime) is concerns


BRIDGE = {"type": "bridge", "ipam": {"type": "host-local", "dataDir": "/somewhere"}}
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True, "bandwidth": False}}
NETWORK = cni.Network("kybern", "1.0.0", (BRIDGE, PORTMAP), ("/usr/lib/cni",))


def test_networks_are_those_that_containerd_tells() -> None:
    plugins = [{"Network": {}, "Source": json.dumps(one)} for one in (BRIDGE, PORTMAP)]
    told = {
        "PluginDirs": ["/usr/lib/cni"],
        "Networks": [{"Config": {"Name": "kybern", "CNIVersion": "1.0.0", "Plugins": plugins}, "IFName": "eth0"}],
    }  # fmt: skip

    places = places_of({"config": "{}", "cniconfig": json.dumps(told)})
    below = places_of({"config": '{"netnsMountsUnderStateDir": true, "stateDir": "/run/c"}'})

    assert (places.namespaces, below.namespaces) == (Path("/run/netns"), Path("/run/c/netns"))
    assert [(one.name, list(one.directories)) for one in places.networks] == [
        ("kybern", [Path("/somewhere/kybern")])
    ]
    assert below.networks == ()


def test_addresses_are_read_as_host_local_writes_them(tmp_path: Path) -> None:
    ipam = {"type": "host-local", "dataDir": str(tmp_path)}
    network = replace(NETWORK, plugins=({"type": "bridge", "ipam": ipam},))
    (tmp_path / "kybern").mkdir()
    (tmp_path / "kybern/10.244.1.7").write_text("a\r\neth0")
    (tmp_path / "kybern/fd00::7").write_text("b")
    (tmp_path / "kybern/last_reserved_ip.0").write_text("10.244.1.7")
    (tmp_path / "kybern/lock").touch()
    (tmp_path / "kybern/10.244.1.8").touch()

    found = {(one.address, one.sandbox, one.interface) for one in cni.addresses(network)}

    assert found == {("10.244.1.7", "a", "eth0"), ("fd00::7", "b", "eth0")}


@pytest.mark.parametrize(
    ("cached", "told"),
    [
        pytest.param(
            {}, [PORTMAP, BRIDGE], id="the-last-first"
        ),
        pytest.param(
            {"result": {"ips": []}, "capabilityArgs": {"portMappings": [{"hostPort": 80}], "bandwidth": {}}},
            [
                PORTMAP | {"prevResult": {"ips": []}, "runtimeConfig": {"portMappings": [{"hostPort": 80}]}},
                BRIDGE | {"prevResult": {"ips": []}},
            ],
            id="with-what-was-kept",
        ),
    ],
)  # fmt: skip
def test_plugins_are_told_to_delete(cached: dict[str, Any], told: list[dict[str, Any]]) -> None:
    asked = list(cni.requests(NETWORK, cached))

    assert [name for name, _ in asked] == ["portmap", "bridge"]
    same = {"name": "kybern", "cniVersion": "1.0.0"}
    assert [json.loads(content) for _, content in asked] == [one | same for one in told]


PLUGIN = """#!/bin/sh
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME [$CNI_NETNS] $CNI_ARGS" >>{log}
cat >>{log}; echo >>{log}
"""


async def test_an_address_goes_back_through_the_plugins(tmp_path: Path) -> None:
    for name in ("bridge", "portmap"):
        (tmp_path / name).write_text(PLUGIN.format(log=tmp_path / "log"))
        (tmp_path / name).chmod(0o755)
    kept = tmp_path / f"kybern-{HELD.sandbox}-eth0"
    kept.write_text(json.dumps({"cniArgs": [["K8S_POD_UID", "u"], ["IgnoreUnknown", "1"]]}))

    await cni.release(replace(NETWORK, programs=(str(tmp_path),)), HELD, tmp_path)

    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0::2] == [f"DEL {HELD.sandbox} eth0 [] K8S_POD_UID=u;IgnoreUnknown=1"] * 2
    assert [json.loads(line)["type"] for line in lines[1::2]] == ["portmap", "bridge"]
    assert not kept.exists()


async def test_a_plugin_that_fails_keeps_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "portmap").write_text("#!/bin/sh\necho no; exit 3\n")
    (tmp_path / "portmap").chmod(0o755)
    kept = tmp_path / f"kybern-{HELD.sandbox}-eth0"
    kept.write_text("{}")

    with pytest.raises(cni.PluginFailed, match="portmap ended with 3: no"):
        await cni.release(replace(NETWORK, programs=(str(tmp_path),)), HELD, tmp_path)

    assert kept.exists()
