"""AppArmor on a kernel that has it: which profile holds a container, and what it keeps it from."""

from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import NODE, ended, pod

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]
PROFILE = "kybern-no-writes"
LOADED = (
    f"profile {PROFILE} flags=(attach_disconnected) {{ file, capability, network, signal, deny /shut/** w, }}"
)
# What it is refused is said on stderr: a pipe of its own, which containerd reads when it gets to it. One keeps the order.
LOOK = (
    "exec 2>&1; cat /proc/self/attr/current; "
    "touch /shut/a && echo wrote /shut; touch /open/a && echo wrote /open; true"
)
PLACES: dict[str, Any] = {
    "volumeMounts": [{"name": "shut", "mountPath": "/shut"}, {"name": "open", "mountPath": "/open"}]
}
VOLUMES = [{"name": "shut", "emptyDir": {}}, {"name": "open", "emptyDir": {}}]


def confined(name: str, profile: dict[str, str] | None) -> dict[str, Any]:
    context = {"securityContext": {"appArmorProfile": profile}} if profile else {}
    return pod(name, LOOK, container=PLACES, volumes=VOLUMES, **context)


def local(profile: str) -> dict[str, str]:
    return {"type": "Localhost", "localhostProfile": profile}


def test_a_container_is_held_by_its_profile(machine: Lab, vm_namespace: str) -> None:
    machine.ssh(NODE, f"echo '{LOADED}' | apparmor_parser --replace")
    profiles = {
        "none": None,
        "default": {"type": "RuntimeDefault"},
        "free": {"type": "Unconfined"},
        "held": local(PROFILE),
    }
    machine.apply(vm_namespace, *(confined(name, profile) for name, profile in profiles.items()))

    said = {name: ended(machine, vm_namespace, name).splitlines() for name in profiles}
    everywhere = ["wrote /shut", "wrote /open"]
    assert said["none"] == ["cri-containerd.apparmor.d (enforce)", *everywhere]
    assert said["default"] == ["cri-containerd.apparmor.d (enforce)", *everywhere]
    assert said["free"] == ["runc (unconfined)", *everywhere], "Debian's name for what holds nobody back"
    assert said["held"] == [f"{PROFILE} (enforce)", "touch: /shut/a: Permission denied", "wrote /open"]


def test_a_container_whose_profile_is_not_loaded_does_not_start(machine: Lab, vm_namespace: str) -> None:
    machine.apply(vm_namespace, confined("missing", local("nobody-has")))

    def waiting() -> Any:
        status = machine.get("pod", "missing", "-n", vm_namespace)["status"]
        states = [one["state"].get("waiting", {}) for one in status.get("containerStatuses", [])]
        return next((one for one in states if one.get("reason") == "CreateContainerError"), None)

    assert "apparmor profile not found nobody-has" in machine.eventually("it waits", waiting, 90)["message"]
