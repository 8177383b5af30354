"""Certificates that live for three minutes: the timer exchanges all of them over and over, and nobody notices.

Everything is asked for longer than two lifetimes, so that whoever went on with what it read first would be refused. The
timer's command runs as its units say, at the times that they say: the machine of the tests need not have a systemd.
"""

import itertools
import json
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from kybern.machines import renewal
from kybern.machines.load import load
from kybern.machines.state import State
from tests.cluster.conftest import KUBECTL, Lab
from tests.cluster.test_days_after import ETCDCTL, asking

# Two lifetimes and a half, and what it takes to put the usual ones in force again.
pytestmark = [pytest.mark.operations, pytest.mark.timeout(1200)]

LIFE = timedelta(minutes=3)
LONG = 2.5 * LIFE.total_seconds()
EVERY = 5.0
# Of those that talk by certificates; what each one's process is, and when it began.
RUNNING = (
    "for unit in etcd kube-apiserver kube-controller-manager kube-scheduler kybern-dns kybern-metrics kubelet kube-proxy "
    "kybern-policies kybern-local-volumes kybern-speaker kybern-ingress haproxy; do "
    'echo "$unit $(systemctl show -P MainPID -P ExecMainStartTimestampMonotonic $unit | tr "\\n" " ")"; done'
)
# How OpenSSL, Go and our API server say that somebody came with what was over.
REFUSALS = "certificate has expired|certificate expired|x509:|Unauthorized"
ON_DISK = (
    "for path in $(find /etc/kubernetes /var/lib/kubelet/pki -name '*.crt'); do "
    'openssl x509 -in "$path" -noout -checkend 0 >/dev/null || echo "$path"; done'
)


@dataclass
class Timer:
    """Runs of the timer's command: how often, and what the failed ones said."""

    runs: int = 0
    renewals: int = 0
    longest: float = 0.0
    failures: list[str] = field(default_factory=list)


@contextmanager
def timer(lab: Lab, topology: Path) -> Iterator[Timer]:
    """As systemd starts it: at once, and again so long after each end."""
    when = renewal.schedule(load(topology).certificate_life)
    units = renewal.units(lab.cluster.name, str(topology), when, Path.cwd(), str(_python()))
    said = dict(line.split("=", 1) for text in units.values() for line in text.splitlines() if "=" in line)
    pause = float(said["OnUnitInactiveSec"].removesuffix("s"))
    command = ["env", said["Environment"], *shlex.split(said["ExecStart"])]
    found, over = Timer(), threading.Event()

    def run() -> None:
        while not over.wait(pause if found.runs else 0):
            began = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            found.runs += 1
            found.longest = max(found.longest, time.monotonic() - began)
            found.renewals += "made anew" in done.stdout
            if done.returncode:
                found.failures.append((done.stdout + done.stderr)[-2000:])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(300)


def _python() -> Path:
    return KUBECTL.parent / "python"


@dataclass
class Watch:
    """One watch by kubectl through the cluster's address, and the versions of the object that it has told."""

    process: subprocess.Popen[str]
    seen: list[str] = field(default_factory=list)

    def follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(line.strip())


@contextmanager
def watching(lab: Lab, namespace: str) -> Iterator[Watch]:
    """Ends by itself after an hour: the server's own limit of half an hour at the least is longer than this test."""
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&fieldSelector=metadata.name%3Dbeat&timeoutSeconds=3600"
    command = [str(KUBECTL), f"--kubeconfig={lab.kubeconfig}", "get", "--raw", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        watch = Watch(process)
        thread = threading.Thread(target=watch.follow)
        thread.start()
        try:
            yield watch
        finally:
            process.kill()
            thread.join(10)


@pytest.fixture
def short(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The lab's topology with certificates of three minutes in force; the usual ones come back."""
    path = tmp_path / f"{lab.cluster.name}.yaml"
    settings = yaml.safe_load(lab.topology.read_text()) | {"certificate_life": "3m"}
    path.write_text(yaml.safe_dump(settings))
    lab.kybern("certificates", "renew", str(path), "--all")
    yield path
    lab.kybern("certificates", "renew", lab.cluster.name, "--all")
    assert "0 changes" in lab.kybern("deploy", lab.cluster.name).stdout


def leaves(lab: Lab) -> dict[tuple[str, str], datetime]:
    """When each certificate ends that is not an authority's."""
    listed = json.loads(lab.kybern("certificates", "list", lab.cluster.name, "-o", "json").stdout)
    return {
        (one["machine"], one["certificate"]): datetime.fromisoformat(one["until"])
        for one in listed
        if one["signer"]
    }


def running(lab: Lab) -> dict[str, str]:
    return {each.name: lab.ssh(each.name, RUNNING) for each in lab.cluster.machines}


@dataclass(frozen=True)
class Beats:
    """What is asked of the cluster again and again, each time by whoever has a certificate for it."""

    lab: Lab
    namespace: str
    watch: Watch

    def ask(self, number: int) -> None:
        lab, word = self.lab, f"beat-{number}"
        lab.kubectl("annotate", "configmap", "beat", "-n", self.namespace, "--overwrite", f"at={word}")
        lab.eventually(
            "the watch tells of it", lambda: any(word in line for line in self.watch.seen[-5:]), 10
        )
        assert self.watch.process.poll() is None, self.watch.seen[-3:]
        assert lab.nodes_ready() == {each.name for each in lab.cluster.machines if each.is_node}
        # The API server to a kubelet, and to an API server behind it.
        assert lab.kubectl("exec", "-n", self.namespace, "asked", "--", "echo", word).strip() == word
        lab.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
        assert healthy(lab)


def test_certificates_of_three_minutes_are_exchanged_and_nobody_notices(
    lab: Lab, namespace: str, short: Path
) -> None:
    lab.kubectl("run", "asked", "-n", namespace, "--image=busybox:1.36", "--", "sleep", "3600")
    lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/asked", "--timeout=60s", seconds=90)
    lab.kubectl("create", "configmap", "beat", "-n", namespace)
    first, before, began = leaves(lab), running(lab), datetime.now(UTC)
    assert max(first.values()) <= began + LIFE
    assert {name for _, name in first} >= {
        "etcd/peer", "apiserver", "front-proxy-client", "scheduler", "kubelet", "kubelet-server", "admin",
    }  # fmt: skip

    with timer(lab, short) as timed, watching(lab, namespace) as watch, asking(lab) as asked:
        beats, ends = Beats(lab, namespace, watch), time.monotonic() + LONG
        for number in itertools.takewhile(lambda _: time.monotonic() < ends, itertools.count(1)):
            beats.ask(number)
            time.sleep(EVERY)  # a beat; nothing is waited for

    assert timed.failures == []
    assert timed.renewals >= 3, timed
    assert asked.failures == [], asked
    assert asked.answers > LONG
    assert running(lab) == before, "a daemon was started anew"
    assert min(leaves(lab).values()) > max(first.values()) + LIFE
    assert_nobody_was_refused(lab, began)
    # Peers that are connected need no certificate any more: one that begins anew does, and shows it to the others.
    lab.ssh(lab.cluster.members[-1].name, "systemctl restart etcd")
    lab.eventually("all members are well", lambda: healthy(lab), 30)


def assert_nobody_was_refused(lab: Lab, began: datetime) -> None:
    since = began.strftime("%Y-%m-%d %H:%M:%S UTC")
    for machine in lab.cluster.machines:
        assert lab.ssh(machine.name, ON_DISK) == ""
        complaints = f"journalctl -q --since '{since}' -o cat | grep -E '{REFUSALS}' | head -5; true"
        assert lab.ssh(machine.name, complaints) == ""


def healthy(lab: Lab) -> bool:
    """Whether every member answers, to a client with the certificate of this moment."""
    asked = lab.ssh(
        lab.cluster.members[0].name, f"{ETCDCTL} endpoint health --cluster >/dev/null && echo all"
    )
    return asked.strip() == "all"


def test_what_did_not_reach_its_machine_is_shipped_by_the_next_look(lab: Lab) -> None:
    """A run that was killed had made it, so that it looked fresh on this side, and its machine went on with the old one."""
    machine = next(each.name for each in lab.cluster.machines if each.is_node)
    pki = State.of(lab.cluster.name).directory / "pki"
    made = pki / f"machines/{machine}/kubelet-server.crt"
    worn = "/var/lib/kubelet/pki/kubelet.crt"
    assert lab.ssh(machine, f"cat {worn}") == made.read_text()
    lab.kybern("certificates", "renew", lab.cluster.name, "--when-worn")
    made.unlink()
    lab.kybern("plan", lab.cluster.name, check=False)
    assert lab.ssh(machine, f"cat {worn}") != made.read_text(), "a plan made it and shipped nothing"

    done = lab.kybern("certificates", "renew", lab.cluster.name, "--when-worn")

    assert "changes on its machines" in done.stdout
    assert lab.ssh(machine, f"cat {worn}") == made.read_text()
    done = lab.kybern("certificates", "renew", lab.cluster.name, "--when-worn")
    assert "No certificate" in done.stdout
