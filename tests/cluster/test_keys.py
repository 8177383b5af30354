"""Keys and authorities are exchanged while the cluster runs, and a run that is killed is finished by the next one.

Meanwhile the API is asked ten times a second through its address, by a client that reads its kubeconfig again.
"""

import base64
import json
import subprocess
import time

import pytest

from kybern.machines.state import State
from kybern.machines.topology import Machine
from tests.cluster.conftest import KYBERN, TOPOLOGY, Lab
from tests.cluster.test_days_after import ETCDCTL, MOVES, asking, nothing_to_do

# Three deploys, and kubelets that put a new authority into pods when they look the next time.
pytestmark = [pytest.mark.operations, pytest.mark.timeout(500)]


def sealed_by(lab: Lab) -> set[str]:
    """How the values of all secrets begin in etcd."""
    listed = json.loads(lab.ssh("master-1", f"{ETCDCTL} get /registry/secrets/ --prefix -w json"))
    values = [base64.b64decode(pair["value"]) for pair in listed["kvs"]]
    return {b":".join(value.split(b":", 5)[:5]).decode(errors="replace") for value in values}


def key_number(lab: Lab) -> int:
    (found,) = sealed_by(lab)
    assert found.startswith("k8s:enc:aesgcm:v1:key-"), found[:30]
    return int(found.rpartition("-")[2])


def killed(*words: str, seconds: float) -> None:
    """A command of an operator, who loses patience."""
    with subprocess.Popen([str(KYBERN), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            run.wait(seconds)
        except subprocess.TimeoutExpired:
            run.kill()


def test_secrets_are_encrypted_and_their_key_is_exchanged(lab: Lab, namespace: str) -> None:
    lab.kubectl("create", "secret", "generic", "mine", "-n", namespace, "--from-literal=a=precious")
    before = key_number(lab)

    with asking(lab) as asked:
        for seconds in (2, 5, 9):
            killed("certificates", "rotate-encryption-key", TOPOLOGY, "--break-lock", seconds=seconds)
        done = lab.kybern("certificates", "rotate-encryption-key", TOPOLOGY, "--break-lock")

    assert f"are encrypted by key-{key_number(lab)}" in done.stdout
    assert key_number(lab) > before
    assert asked.failures == []
    found = lab.get("secret", "mine", "-n", namespace)
    assert base64.b64decode(found["data"]["a"]) == b"precious"
    aside = State.of(lab.cluster.name).directory / "pki" / "dropped"
    assert (aside / f"key-{before}.encryption.yaml").exists()
    nothing_to_do(lab)


@pytest.fixture(scope="module")
def masters(lab: Lab) -> tuple[Machine, ...]:
    return lab.cluster.masters


def authority(lab: Lab, machine: str) -> str:
    return lab.ssh(machine, "openssl x509 -in /etc/kubernetes/pki/ca.crt -noout -fingerprint")


def test_the_authority_is_exchanged_and_pods_follow(
    lab: Lab, namespace: str, masters: tuple[Machine, ...]
) -> None:
    before = authority(lab, "worker-1")
    began = time.monotonic()

    with asking(lab) as asked:
        killed("certificates", "rotate-ca", TOPOLOGY, seconds=10)
        done = lab.kybern("certificates", "rotate-ca", TOPOLOGY, "--break-lock")
    seconds = time.monotonic() - began

    assert "the old one is trusted no longer" in done.stdout
    assert {authority(lab, each.name) for each in lab.cluster.machines} == {authority(lab, "worker-1")}
    assert authority(lab, "worker-1") != before
    assert lab.ssh("worker-1", "grep -c BEGIN /etc/kubernetes/pki/ca.crt").strip() == "1"
    published = lab.get("configmap", "kube-root-ca.crt", "-n", namespace)["data"]["ca.crt"]
    assert published.strip() == lab.ssh("worker-1", "cat /etc/kubernetes/pki/ca.crt").strip()
    assert len(lab.nodes_ready()) == len(lab.cluster.machines)
    # The address moves when the API servers restart, once for each of the two changes of what is trusted.
    assert len(asked.failures) <= 2 * MOVES * len(masters), asked
    assert asked.longest < 5, asked
    assert seconds < 400
    lab.kubectl("run", "new", "-n", namespace, "--image=busybox:1.36", "--", "sleep", "3600")
    lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/new", "--timeout=60s", seconds=90)
    lab.kubectl("exec", "-n", namespace, "new", "--", "true")
    nothing_to_do(lab)


def test_tokens_of_the_old_key_are_good_until_it_is_dropped(lab: Lab, namespace: str) -> None:
    def who(token: str) -> str:
        # The kubeconfig's own certificate would answer for it.
        words = (
            "--kubeconfig=/dev/null",
            f"--certificate-authority={ca}",
            f"--server={server}",
            f"--token={token}",
        )
        return lab.kubectl(*words, "auth", "whoami", check=False)

    server = f"https://{lab.cluster.api_address}:{lab.cluster.api_port}"
    ca = State.of(lab.cluster.name).directory / "pki" / "ca.crt"
    old = lab.kubectl("create", "token", "default", "-n", namespace).strip()

    done = lab.kybern("certificates", "rotate-service-account-key", TOPOLOGY)
    new = lab.kubectl("create", "token", "default", "-n", namespace).strip()

    assert "The old one verifies until you run the same command again" in done.stdout
    user = f"system:serviceaccount:{namespace}:default"
    assert user in who(old)
    assert user in who(new)
    assert old.split(".")[0] != new.split(".")[0]
    lab.kybern("certificates", "rotate-service-account-key", TOPOLOGY, "--force")
    assert "Unauthorized" in who(old)
    assert user in who(new)
    nothing_to_do(lab)
