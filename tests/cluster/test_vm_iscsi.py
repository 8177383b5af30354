"""Volumes of a real iSCSI target: the kernel's own, on the machine itself, which lets in only who knows its secret."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import Lab
from tests.cluster.virtual_machine import NODE, ended, pod

pytestmark = [pytest.mark.vm, pytest.mark.operations, pytest.mark.timeout(3000)]
IQN, FILE, SIZE = "iqn.2026-11.io.kybern:test", "/var/lib/lun", 64 * 2**20
USER, SECRET = "initiator", "twelve-letters"
MAKE = f"""set -e
modprobe target_core_file; modprobe iscsi_target_mod
truncate -s {SIZE} {FILE}
cd /sys/kernel/config/target
mkdir -p core/fileio_0/test
echo fd_dev_name={FILE},fd_dev_size={SIZE} >core/fileio_0/test/control
echo 1 >core/fileio_0/test/enable
mkdir -p iscsi/{IQN}/tpgt_1/lun/lun_0 iscsi/{IQN}/tpgt_1/np/ADDRESS:3260
cd iscsi/{IQN}/tpgt_1
ln -s /sys/kernel/config/target/core/fileio_0/test lun/lun_0/test
echo 1 >attrib/authentication; printf %s {USER} >auth/userid; printf %s {SECRET} >auth/password
echo 1 >attrib/generate_node_acls; echo 1 >attrib/cache_dynamic_acls; echo 0 >attrib/demo_mode_write_protect
echo 1 >enable"""
UNMAKE = f"""cd /sys/kernel/config/target
echo 0 >iscsi/{IQN}/tpgt_1/enable
rm iscsi/{IQN}/tpgt_1/lun/lun_0/test
rmdir iscsi/{IQN}/tpgt_1/np/* iscsi/{IQN}/tpgt_1/lun/lun_0 iscsi/{IQN}/tpgt_1 iscsi/{IQN} core/fileio_0/test
rm {FILE}"""


@pytest.fixture
def portal(machine: Lab) -> Iterator[str]:
    address = str(machine.cluster.machines[0].address)
    machine.ssh(NODE, MAKE.replace("ADDRESS", address))
    try:
        yield f"{address}:3260"
    finally:
        machine.ssh(NODE, UNMAKE, check=False)


def with_lun(name: str, portal: str, script: str) -> dict[str, Any]:
    lun = {
        "targetPortal": portal,
        "iqn": IQN,
        "lun": 0,
        "fsType": "ext4",
        "chapAuthSession": True,
        "secretRef": {"name": "chap"},
    }
    mount = {"volumeMounts": [{"name": "lun", "mountPath": "/lun"}]}
    return pod(name, script, container=mount, volumes=[{"name": "lun", "iscsi": lun}])


def sessions(machine: Lab) -> str:
    return machine.ssh(NODE, "ls /sys/class/iscsi_session", check=False).strip()


def test_what_a_pod_writes_another_reads_and_no_session_is_left(
    machine: Lab, vm_namespace: str, portal: str
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "chap"},
        "type": "kubernetes.io/iscsi-chap",
        "stringData": {"node.session.auth.username": USER, "node.session.auth.password": SECRET},
    }
    machine.apply(
        vm_namespace, secret, with_lun("writes", portal, "echo kept >/lun/word; grep /lun /proc/mounts")
    )
    assert " /lun ext4 " in f"{ended(machine, vm_namespace, 'writes')} "
    machine.kubectl("delete", "pod", "writes", "-n", vm_namespace, "--timeout=60s", seconds=90)
    machine.eventually("it is logged out", lambda: not sessions(machine), seconds=90)

    machine.apply(vm_namespace, with_lun("reads", portal, "cat /lun/word"))
    assert ended(machine, vm_namespace, "reads") == "kept"
    machine.kubectl("delete", "pod", "reads", "-n", vm_namespace, "--timeout=60s", seconds=90)
    machine.eventually("it is logged out again", lambda: not sessions(machine), seconds=90)
    assert machine.ssh(NODE, "ls /var/lib/kubelet/plugins/kubernetes.io/iscsi/*", check=False).strip() == ""
