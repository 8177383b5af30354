"""Flags and KubeletConfiguration become settings."""

from pathlib import Path

import pytest

from kybern.api.core_v1 import Taint
from kybern.daemon.flags import BadFlag
from kybern.daemon.run import Fatal
from kybern.kubelet.configuration import read, thresholds
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.settings import Settings

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def settings(*words: str) -> Settings:
    return read(FLAGS.read(["--kubeconfig=/etc/k.conf", *words]))


def configured(directory: Path, text: str, *words: str) -> Settings:
    file = directory / "config.yaml"
    file.write_text(HEAD + text)
    return settings(f"--config={file}", *words)


def test_flags_are_read() -> None:
    found = settings(
        "--node-ip=10.0.0.1", "--register-with-taints=a=b:NoSchedule,c:NoExecute", "--node-labels", "x=1,y=2",
        "--eviction-hard=memory.available<5%", "--cluster-dns=10.96.0.10", "--kube-reserved=cpu=100m",
    )  # fmt: skip

    assert found.node_ip == ("10.0.0.1",)
    assert found.taints == (
        Taint(key="a", value="b", effect="NoSchedule"),
        Taint(key="c", effect="NoExecute"),
    )
    assert found.node_labels == {"x": "1", "y": "2"}
    assert found.eviction_hard == {"memory.available": "5%"}
    assert (found.cluster_dns, found.kube_reserved) == (("10.96.0.10",), {"cpu": "100m"})


def test_a_file_is_read(tmp_path: Path) -> None:
    found = configured(
        tmp_path,
        """
authentication: {anonymous: {enabled: true}, webhook: {cacheTTL: 1m, enabled: false}, x509: {clientCAFile: /ca}}
authorization: {mode: AlwaysAllow}
clusterDNS: [10.96.0.10]
maxPods: 20
nodeStatusUpdateFrequency: 1m30s
registerWithTaints: [{key: a, effect: NoSchedule}]
systemReserved: {cpu: 1, memory: 1Gi}
evictionHard: {nodefs.available: 5%}
cgroupDriver: cgroupfs
""",
    )

    assert (found.anonymous, found.webhook_authentication, found.client_ca) == (True, False, "/ca")
    assert (found.authorization, found.max_pods, found.status_every) == ("AlwaysAllow", 20, 90.0)
    assert found.system_reserved == {"cpu": "1", "memory": "1Gi"}
    assert found.eviction_hard == {"nodefs.available": "5%"}


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    assert configured(tmp_path, "maxPods: 20\n", "--max-pods=30").max_pods == 30


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("maxPod: 3\n", 'unknown field "maxPod"'),
        ("authentication: {x508: {}}\n", 'unknown field "authentication.x508"'),
        ("maxPods: many\n", 'invalid value "many" for field "maxPods": want int'),
        ("evictionHard: {foo: 1}\n", "unsupported eviction signal foo"),
        ("authorization: {mode: RBAC}\n", "none of AlwaysAllow, Webhook"),
        ("[1\n", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(Fatal, match=complaint):
        configured(tmp_path, text)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("apiVersion: v1\nkind: Pod\n")

    with pytest.raises(Fatal, match="it is v1 Pod"):
        settings(f"--config={file}")


def test_webhook_authorization_needs_an_api_server() -> None:
    with pytest.raises(Fatal, match="needs an API server"):
        read(FLAGS.read([]))


@pytest.mark.parametrize("text", ["a", "a:Nope", "memory"])
def test_a_wrong_taint_is_refused(text: str) -> None:
    with pytest.raises(BadFlag, match="invalid taint spec"):
        settings(f"--register-with-taints={text}")


def test_thresholds_are_checked() -> None:
    assert thresholds("memory.available<100Mi, nodefs.available<10%") == {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
    }
    with pytest.raises(ValueError, match="unsupported eviction signal memory"):
        thresholds("memory<1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("--kube-reserved=gpu=1", 'cannot reserve "gpu" resource'),
        ("--system-reserved=cpu=-1", 'resource quantity for "cpu" cannot be negative: -1'),
        ("--enforce-node-allocatable=system-reserved", "only pods and none are supported"),
        (
            "--eviction-soft=memory.available<1Gi",
            "grace period must be specified for the soft eviction threshold",
        ),
        ("--allowed-unsafe-sysctls=vm.swappiness", "cannot allow unsafe sysctls"),
    ],
)
def test_what_cannot_be_kept_back_is_told(text: str, complaint: str) -> None:
    with pytest.raises(Fatal, match=complaint):
        settings("--authorization-mode=AlwaysAllow", text)


def test_upstreams_thresholds_stand_beside_others_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    file.write_text(f"{head}mergeDefaultEvictionSettings: true\nevictionHard: {{memory.available: 1Gi}}\n")

    found = settings("--authorization-mode=AlwaysAllow", f"--config={file}")

    assert found.eviction_hard["memory.available"] == "1Gi"
    assert found.eviction_hard["nodefs.available"] == "10%"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cgroupDriver: systemd", 'field "cgroupDriver" is not supported with "systemd"'),
        ("topologyManagerPolicy: strict", 'topology manager policy "strict" is none of none, best-effort'),
        ("topologyManagerScope: node", 'topology manager scope "node" is none of container, pod'),
        ("topologyManagerPolicyOptions: {a: b}", 'unknown Topology Manager Policy option: "a"'),
        ("cpuManagerPolicy: static", "the static policy requires systemreserved.cpu"),
        ("cpuManagerPolicy: static\nreservedSystemCPUs: a-b", 'cannot reserve CPUs "a-b"'),
        ("memorySwap: {swapBehavior: Unlimited}", 'memorySwap.swapBehavior "Unlimited" must be one of'),
        ("memoryManagerPolicy: static", 'memory manager policy "static" is none of None, Static'),
        ("reservedMemory: [{numaNode: 0, limits: {cpu: 1}}]", 'the limit type "cpu" for NUMA node 0'),
        ("shutdownGracePeriod: 100ms", "shutdownGracePeriod 0.1s must be either zero or otherwise >= 1 sec"),
        ("shutdownGracePeriodCriticalPods: 9s", "9s must be <= shutdownGracePeriod 0s"),
        (
            "shutdownGracePeriod: 9s\nshutdownGracePeriodByPodPriority: [{priority: 1}]",
            "cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod",
        ),
        ("shutdownGracePeriodByPodPriority: [{priority: high}]", "high is no whole number"),
        ("readOnlyPort: 10255", 'field "readOnlyPort" is not supported with 10255'),
    ],
)
def test_a_field_whose_part_does_not_exist_is_refused_by_name(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{text}\n")

    with pytest.raises(Fatal, match=complaint):
        settings("--authorization-mode=AlwaysAllow", f"--config={file}")


def test_a_field_that_asks_for_nothing_may_stand(tmp_path: Path) -> None:
    """As the file that kubeadm writes."""
    file = tmp_path / "config.yaml"
    lines = (
        "cgroupDriver: cgroupfs", "cpuManagerReconcilePeriod: 0s", "memorySwap: {}", "shutdownGracePeriod: 0s",
        "containerLogMaxSize: 1Mi", "logging: {verbosity: 0, options: {json: {infoBufferSize: '0'}}}",
        "rotateCertificates: true",
        "authentication: {webhook: {cacheTTL: 0s, enabled: true}}", "crashLoopBackOff: {}", "imageMaximumGCAge: 0s",
    )  # fmt: skip
    head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    file.write_text(head + "\n".join(lines))

    assert settings("--authorization-mode=AlwaysAllow", f"--config={file}").log_max_size == "1Mi"
