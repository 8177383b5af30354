"""Flags and KubeletConfiguration become settings."""

from pathlib import Path

import pytest
import yaml

from kybern.api.core_v1 import Taint
from kybern.daemon.flags import BadFlag, Flags
from kybern.daemon.run import Fatal
from kybern.kubelet.configuration import read, thresholds
from kybern.kubelet.configz import configz
from kybern.kubelet.flags import FLAGS
from kybern.kubelet.keys import FIELDS, KEYS, ONLY, TUNING
from kybern.kubelet.keys import FLAGS as GO_TO
from kybern.kubelet.other_flags import other_flags
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
        (
            "--enforce-node-allocatable=system-reserved",
            "systemReservedCgroup .* must be specified",
        ),
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
        ("cgroupDriver: systemctl", 'cgroupDriver .* "systemctl" is none of cgroupfs, systemd'),
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
        ("cgroupsPerQOS: false", 'field "cgroupsPerQOS" is not supported with false'),
        ("protectKernelDefaults: true", 'field "protectKernelDefaults" is not supported with true'),
        ("logging: {format: xml}", 'format: Invalid value: "xml": Unsupported log format'),
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


FIELD_NAMES = Path(__file__).parents[2] / "data/kubelet_configuration.txt"


def test_every_field_of_upstreams_configuration_has_its_place() -> None:
    names = FIELD_NAMES.read_text().split()

    assert len(names) == len(set(names))
    assert sorted(names) == sorted([*KEYS, *TUNING, *ONLY, "featureGates"])


def test_every_flag_goes_somewhere() -> None:
    apart = {
        "config", "config-dir", "help", "version", "feature-gates", "runtime-cgroups", "lock-file",
        "exit-on-lock-contention", "maximum-dead-containers", "maximum-dead-containers-per-container",
        "minimum-container-ttl-duration", "pod-infra-container-image",
    }  # fmt: skip

    only_default = {flag.name for flag in other_flags(Flags("kubelet", ""))}

    assert {flag.name for flag in FLAGS} == {*GO_TO, *FIELDS} | apart | only_default
    assert set(FIELDS.values()) <= {*TUNING, *ONLY}


def test_zeros_mean_that_nothing_is_set_where_they_do_upstream(tmp_path: Path) -> None:
    """As the file that kubeadm writes."""
    found = configured(
        tmp_path,
        """
nodeStatusUpdateFrequency: 0s
runtimeRequestTimeout: 0s
imageMinimumGCAge: 0s
evictionPressureTransitionPeriod: 0s
volumeStatsAggPeriod: 0s
maxPods: 0
address: ""
healthzPort: 0
registryPullQPS: 0
nodeStatusMaxImages: 0
podPidsLimit: 0
""",
    )
    usual = Settings()

    assert (found.status_every, found.request_timeout, found.image_min_age) == (10.0, 120.0, 120.0)
    assert (found.eviction_transition, found.stats_fresh) == (usual.eviction_transition, usual.stats_fresh)
    assert (found.max_pods, found.address) == (110, "0.0.0.0")
    assert (found.healthz_port, found.pull_rate, found.most_images, found.pod_pids) == (0, 0, 0, 0)


def test_what_follows_from_other_fields_is_as_upstream_sets_it(tmp_path: Path) -> None:
    found = configured(tmp_path, "nodeStatusUpdateFrequency: 20s\nmaxParallelImagePulls: 3\n")

    assert (found.report_every, found.serialize_pulls) == (20.0, False)
    assert configured(tmp_path, "nodeStatusReportFrequency: 1m\n").report_every == 60.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("maxPods: 1\nmaxPods: 2\n", 'strict decoding error: line 4: key "maxPods" already set in map'),
        ("crashLoopBackOff: {most: 1s}\n", 'unknown field "crashLoopBackOff.most"'),
        ("featureGates: {Unheard: true}\n", "unrecognized feature gate: Unheard"),
        ("featureGates: {NodeSwap: false}\n", "feature gate NodeSwap cannot be false here"),
        ("featureGates: [NodeSwap]\n", "want names with true or false"),
        ("port: 70000\n", r"port \(--port\) 70000 must be between 0 and 65535, inclusive"),
        ("oomScoreAdj: -2000\n", "oomScoreAdj .* must be between -1000 and 1000, inclusive"),
        ("imageGCLowThresholdPercent: 90\n", "must be less than imageGCHighThresholdPercent"),
        ("registryPullQPS: -1\n", "registryPullQPS .* must not be a negative number"),
        ("cpuCFSQuotaPeriod: 2s\n", "must be between 1ms and 1sec"),
        ("crashLoopBackOff: {maxContainerRestartPeriod: 6m}\n", "must be between 1s and 5m0s"),
        ("enforceNodeAllocatable: [none, pods]\n", "may not contain additional enforcements"),
        ("enforceNodeAllocatable: [some]\n", 'option "some" specified for enforceNodeAllocatable'),
        ("tlsCipherSuites: [ROT13]\n", 'cipher suite "ROT13" not supported'),
        ("containerLogMonitorInterval: 1s\n", "greater than or equal to 3s"),
        ("clusterDNS: 10.0.0.1\n", "want a list"),
    ],
)
def test_what_cannot_stand_is_told_by_the_field(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(Fatal, match=complaint):
        configured(tmp_path, text)


def test_drop_ins_lie_over_the_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/20-last.conf").write_text(f"{HEAD}maxPods: 30\nclusterDNS: [10.0.0.3]\n")
    (tmp_path / "d/10-first.conf").write_text(f"{HEAD}maxPods: 20\nevictionHard: {{nodefs.available: 7%}}\n")
    (tmp_path / "d/30-other.yaml").write_text("rubbish: [")

    found = configured(
        tmp_path, "clusterDNS: [10.0.0.1, 10.0.0.2]\nport: 1\n", f"--config-dir={tmp_path / 'd'}"
    )

    assert (found.max_pods, found.port, found.cluster_dns) == (30, 1, ("10.0.0.3",))
    assert found.eviction_hard["nodefs.available"] == "7%"
    assert found.eviction_hard["memory.available"] == "100Mi"
    assert settings(f"--config-dir={tmp_path / 'd'}", "--max-pods=5").max_pods == 5


def test_a_drop_in_is_decoded_as_strictly_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text(f"{HEAD}maxPod: 30\n")

    with pytest.raises(Fatal, match=r'a.conf: strict decoding error: unknown field "maxPod"'):
        settings(f"--config-dir={tmp_path}")
    with pytest.raises(Fatal, match="no directory"):
        settings(f"--config-dir={tmp_path / 'none'}")


def test_a_flag_of_a_part_that_does_not_exist_is_refused_by_name() -> None:
    assert settings("--hairpin-mode=none", "--cgroups-per-qos").past == {"hairpinMode": "none"}
    with pytest.raises(Fatal, match="cannot use --pod-cidr"):
        settings("--pod-cidr=10.0.0.0/24")
    with pytest.raises(Fatal, match="cannot use --cgroups-per-qos"):
        settings("--cgroups-per-qos=false")
    with pytest.raises(BadFlag, match="leave the flag out"):
        settings("--lock-file=/x")


def test_gates_of_the_flag_lie_over_those_of_the_file(tmp_path: Path) -> None:
    text = "featureGates: {ContainerCheckpoint: true, NodeSwap: true}\n"

    found = configured(tmp_path, text, "--feature-gates=ContainerCheckpoint=false")

    assert found.gates == {"ContainerCheckpoint": False, "NodeSwap": True}
    with pytest.raises(Fatal, match="unrecognized feature gate: Nope"):
        settings("--feature-gates=Nope=true")


def test_a_gate_needs_those_that_it_is_built_on(tmp_path: Path) -> None:
    text = "featureGates: {ClusterTrustBundleProjection: true}\n"

    both = configured(tmp_path, text, "--feature-gates=ClusterTrustBundle=true")

    assert both.gates == {"ClusterTrustBundleProjection": True, "ClusterTrustBundle": True}
    with pytest.raises(Fatal, match=r"depends on features that are disabled: \[ClusterTrustBundle\]"):
        configured(tmp_path, text)


def test_what_is_in_force_can_be_given_again(tmp_path: Path) -> None:
    """/configz is itself a configuration, and means the same."""
    text = "maxPods: 7\nsyncFrequency: 90s\nregistryPullQPS: 0\ntlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n"
    before = configured(tmp_path, text)

    told = configz(before)["kubeletconfig"]
    after = configured(
        tmp_path, yaml.safe_dump({k: v for k, v in told.items() if k not in ("apiVersion", "kind")})
    )

    assert told["syncFrequency"] == "1m30s"
    assert (told["registryPullQPS"], told["enableServer"], told["cgroupsPerQOS"]) == (0, True, True)
    assert "maxParallelImagePulls" not in told
    assert configz(after)["kubeletconfig"] == told
