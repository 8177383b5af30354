"""The controls of the benchmark: a cluster as a deploy leaves it, and each thing that may be wrong with it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kybern.machines.cis.controls import CONTROLS
from kybern.machines.cis.questions import DAEMONS, PLACES, TREES, commands
from kybern.machines.cis.record import Finding, Level, Objects, Place, Scope
from kybern.machines.cis.report import code, counts, findings, line
from kybern.machines.topology import Cluster

MANAGER_KEY = "/etc/kubernetes/pki/sa.key"
FLAGS = {
    "kube-apiserver": (
        "--kubelet-client-certificate=a --kubelet-client-key=b --kubelet-certificate-authority=c "
        "--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --profiling=false "
        "--audit-log-path=l --audit-log-maxage=30 --audit-log-maxbackup=10 --audit-log-maxsize=100 "
        "--audit-policy-file=p --service-account-key-file=k --etcd-certfile=e --etcd-keyfile=f --tls-cert-file=t "
        "--tls-private-key-file=u --client-ca-file=c --etcd-cafile=x --encryption-provider-config=y "
        "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 --service-account-extend-token-expiration=false"
    ),
    "kube-controller-manager": (
        "--terminated-pod-gc-threshold=1000 --profiling=false --use-service-account-credentials=true "
        "--service-account-private-key-file=k --root-ca-file=r --client-ca-file=c --bind-address=0.0.0.0"
    ),
    "kube-scheduler": "--profiling=false --bind-address=0.0.0.0 --client-ca-file=c",
    "etcd": (
        "--cert-file=a --key-file=b --client-cert-auth=true --peer-cert-file=c --peer-key-file=d "
        "--peer-client-cert-auth=true --trusted-ca-file=t"
    ),
    "kubelet": "--config=c --hostname-override=m",
    "kube-proxy": "--kubeconfig=k",
}
OWNERS = {
    "etcd": "etcd:etcd",
    "conf/scheduler": "kube-scheduler:kube-scheduler",
    "conf/controller-manager": "kube-controller-manager:kube-controller-manager",
}
MODES = {"etcd": "700", "client-ca": "644"}
WELL = {
    **{f"flags/{name}": "\n".join(("/usr/bin/python3", *words.split())) for name, words in FLAGS.items()},
    **{
        f"files/{name}": f"{MODES.get(name, '600')} {OWNERS.get(name, 'root:root')} {path}"
        for name, path in PLACES.items()
        if name != "admin"
    },
    "files/cni": "600 root:root /etc/cni/net.d/10-kybern.conflist",
    "files/pki": f"640 kube-apiserver:kube-controller-manager {MANAGER_KEY}\n755 root:root /etc/kubernetes/pki",
    "files/certificates": "644 root:root /etc/kubernetes/pki/ca.crt",
    "files/keys": f"640 kube-apiserver:kube-controller-manager {MANAGER_KEY}",
    "providers": '"aesgcm": \n"identity": ',
    "audit-policy": "rules:\n- {level: None, userGroups: [system:nodes]}\n- {level: Metadata}\n",
    "authorization": "",
    "authorities": "aa\nbb",
}
KUBELET: dict[str, Any] = {
    "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": "c"}},
    "authorization": {"mode": "Webhook"},
    "readOnlyPort": 0,
    "streamingConnectionIdleTimeout": "4h0m0s",
    "makeIPTablesUtilChains": True,
    "eventRecordQPS": 50,
    "tlsCertFile": "c",
    "tlsPrivateKeyFile": "k",
    "rotateCertificates": False,
    "tlsCipherSuites": ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
    "podPidsLimit": 4096,
    "seccompDefault": True,
}


def role(name: str, *rules: Any, namespace: str = "") -> Any:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def rule(verbs: str, resources: str, group: str = "") -> Any:
    return {"verbs": verbs.split(","), "resources": resources.split(","), "apiGroups": [group]}


def binding(name: str, to: str, *subjects: Any, kind: str = "ClusterRole", namespace: str = "") -> Any:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": kind, "name": to},
        "subjects": list(subjects),
    }


def user(name: str) -> Any:
    return {"kind": "User", "name": name}


ADMIN = binding("cluster-admin", "cluster-admin", {"kind": "Group", "name": "system:masters"})
INFO = binding(
    "system:public-info-viewer",
    "system:public-info-viewer",
    *({"kind": "Group", "name": f"system:{name}"} for name in ("authenticated", "unauthenticated")),
)
DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
EMPTY: dict[str, Any] = {
    "namespaces": [{"metadata": {"name": name}} for name in ("default", "kube-system")],
    "pods": [],
    "networkpolicies": [],
    "clusterroles": [
        {"metadata": {"name": "cluster-admin", "labels": DEFAULTS}, "rules": [rule("*", "*", "*")]},
        role("system:public-info-viewer", {"verbs": ["get"], "nonResourceURLs": ["/healthz"]}),
    ],
    "clusterrolebindings": [ADMIN, INFO],
    "roles": [],
    "rolebindings": [],
    "validatingwebhookconfigurations": [],
    "validatingadmissionpolicybindings": [],
    "bootstraptokens": [],
}  # fmt: skip


def look(
    cluster: Cluster,
    texts: Mapping[str, str] | None = None,
    kubelet: Mapping[str, Any] | None = None,
    **lists: Any,
) -> tuple[Finding, ...]:
    """All machines are well, but for what is changed on the master; the API holds nothing but ``lists``."""
    places = {}
    for machine in cluster.machines:
        mine = machine is cluster.masters[0]
        said = {**WELL, **((texts or {}) if mine else {})}
        places[machine.name] = Place(cluster, machine, said, {**KUBELET, **((kubelet or {}) if mine else {})})
    return findings(cluster, places, Objects(cluster, {**EMPTY, **lists}, 0o600))


def of(found: tuple[Finding, ...], number: str) -> Finding:
    """What a control says of the master, or of the cluster."""
    return next(
        one for one in found if one.number == number and "master-1" in (one.machines or ("master-1",))
    )


def flagged(daemon: str, old: str, new: str = "") -> dict[str, str]:
    name = f"flags/{daemon}"
    assert old in WELL[name]
    return {name: WELL[name].replace(old, new)}


def test_a_fresh_cluster_passes_or_is_explained(cluster: Cluster) -> None:
    found = look(cluster)

    wrong = [one for one in found if one.level not in (Level.PASSED, Level.EXPLAINED)]
    assert (wrong, code(found)) == ([], 0)
    assert all(one.why for one in found if one.level is Level.EXPLAINED)
    assert {one.number for one in found} == {one.number for one in CONTROLS}


def test_every_control_of_the_benchmark_is_there_once_in_its_order() -> None:
    numbers = [tuple(map(int, one.number.split("."))) for one in CONTROLS]

    sizes = {
        (1, 1): 21, (1, 2): 30, (1, 3): 7, (1, 4): 2, (2,): 7, (3, 1): 3, (3, 2): 2,
        (4, 1): 10, (4, 2): 14, (4, 3): 1, (5, 1): 13, (5, 2): 12, (5, 3): 2, (5, 4): 2, (5, 5): 1, (5, 6): 4,
    }  # fmt: skip
    wanted = {(*group, at) for group, size in sizes.items() for at in range(1, size + 1)}
    assert set(numbers) == wanted | {(5, 1, 0)}
    assert numbers == sorted(set(numbers))
    assert all((one.judge is None) == (one.scope is Scope.CLUSTER) for one in CONTROLS)


API, MANAGER, ROTATES = "kube-apiserver", "kube-controller-manager", "RotateKubeletServerCertificate"
FAILED, EXPLAINED, UNKNOWN = "failed", "explained", "unknown"


def by_file(*types: str) -> dict[str, str]:
    """An API server whose authorizers are named by a file."""
    lines = "".join(f"- type: {one}\n  name: {one.lower()}\n" for one in types)
    return flagged(API, "--authorization-mode=Node,RBAC", "--authorization-config=/f") | {
        "authorization": f"authorizers:\n{lines}"
    }


def hiding(resource: str) -> dict[str, str]:
    """A policy that leaves a resource out."""
    return {"audit-policy": f"rules: [{{level: None, resources: [{resource}]}}, {{level: Metadata}}]"}


MODE_644 = {
    f"files/{name}": f"644 root:root {PLACES[name]}"
    for name in ("unit/kube-apiserver", "unit/etcd", "unit/kubelet", "conf/kubelet", "kubelet-config")
}


@pytest.mark.parametrize(
    ("number", "texts", "level", "says"),
    [
        ("1.1.1", MODE_644, FAILED, "/etc/systemd/system/kube-apiserver.service is 644"),
        ("1.1.2", {"files/unit/kube-apiserver": "600 me:me /x"}, FAILED, "/x is me:me's"),
        ("1.1.2", {"files/unit/kube-apiserver": ""}, UNKNOWN, "there is no such file"),
        ("1.1.7", MODE_644, FAILED, "etcd.service is 644"),
        ("1.1.9", {"files/cni": "644 root:root /etc/cni/net.d/a"}, FAILED, "/etc/cni/net.d/a is 644"),
        ("1.1.11", {"files/etcd": "750 etcd:etcd /var/lib/etcd"}, FAILED, "/var/lib/etcd is 750"),
        ("1.1.12", {"files/etcd": "700 root:root /var/lib/etcd"}, FAILED, "root:root's"),
        ("1.1.14", {"files/admin": "600 root:root /etc/kubernetes/admin.conf"}, FAILED, "there is /etc/kubernetes/"),
        ("1.1.16", {}, EXPLAINED, "kube-scheduler:kube-scheduler's"),
        ("1.1.16", {"files/conf/scheduler": "600 me:me /s"}, FAILED, "/s is me:me's"),
        ("1.1.19", {}, EXPLAINED, f"{MANAGER_KEY} is kube-apiserver"),
        ("1.1.19", {"files/keys": "644 root:root /k"}, FAILED, "/k is 644"),
        ("1.1.20", {"files/certificates": "664 root:root /c"}, FAILED, "/c is 664"),
        ("1.1.21", {}, EXPLAINED, f"{MANAGER_KEY} is 640"),
        ("1.1.21", {"files/keys": "\n".join(f"644 root:root /k{at}" for at in range(5))}, FAILED, "/k1 is 644 and 3 more"),
        ("1.2.1", {}, EXPLAINED, "--anonymous-auth is not set"),
        ("1.2.1", flagged(API, "--profiling", "--anonymous-auth=false\n--profiling"), "passed", "--anonymous-auth=false"),
        ("1.2.2", flagged(API, "--profiling", "--token-auth-file=t\n--profiling"), FAILED, "--token-auth-file=t"),
        ("1.2.3", flagged(API, "NodeRestriction", "NodeRestriction,DenyServiceExternalIPs"), "passed", "Deny"),
        ("1.2.4", flagged(API, "--kubelet-client-key=b"), FAILED, "--kubelet-client-key is not set"),
        ("1.2.6", flagged(API, "Node,RBAC", "AlwaysAllow"), FAILED, "AlwaysAllow"),
        ("1.2.6", flagged(API, "--authorization-mode=Node,RBAC"), FAILED, "is not set"),
        ("1.2.7", flagged(API, "Node,RBAC", "RBAC"), FAILED, "=RBAC"),
        ("1.2.6", by_file("Node", "RBAC"), "passed", "authorizers: Node, RBAC"),
        ("1.2.6", by_file("Node", "RBAC", "AlwaysAllow"), FAILED, "AlwaysAllow"),
        ("1.2.7", by_file("Node", "RBAC"), "passed", "authorizers: Node, RBAC"),
        ("1.2.7", by_file("RBAC", "Webhook"), FAILED, "authorizers: RBAC, Webhook"),
        ("1.2.8", by_file("Node", "Webhook"), FAILED, "authorizers: Node, Webhook"),
        ("1.2.8", by_file() | {"authorization": ""}, UNKNOWN, "could not be read"),
        ("1.2.8", by_file() | {"authorization": "{"}, UNKNOWN, "could not be read"),
        ("1.2.10", flagged(API, "=NodeRestriction", "=AlwaysAdmit"), FAILED, "AlwaysAdmit"),
        ("1.2.12", flagged(API, "--prof", "--disable-admission-plugins=ServiceAccount\n--prof"), FAILED, "Service"),
        ("1.2.14", flagged(API, "=NodeRestriction", "="), FAILED, "--enable-admission-plugins="),
        ("1.2.15", flagged(API, "--profiling=false"), FAILED, "is not set"),
        ("1.2.17", flagged(API, "maxage=30", "maxage=29"), FAILED, "--audit-log-maxage=29"),
        ("1.2.20", flagged(API, "--profiling", "--request-timeout=0\n--profiling"), FAILED, "--request-timeout=0"),
        ("1.2.21", flagged(API, "--profiling", "--service-account-lookup=false\n--profiling"), FAILED, "false"),
        ("1.2.28", {"providers": '"identity": \n"aescbc": '}, FAILED, "written by identity"),
        ("1.2.28", {"providers": ""}, FAILED, "written by nobody"),
        ("1.2.28", {"providers": '"secretbox": '}, "passed", "written by secretbox"),
        ("1.2.29", flagged(API, "AES_128_GCM_SHA256", "AES_128_CBC_SHA"), FAILED, "CBC_SHA"),
        ("1.2.30", flagged(API, "--service-account-extend-token-expiration=false"), FAILED, "is not set"),
        ("1.3.6", flagged(MANAGER, "--prof", f"--feature-gates={ROTATES}=false\n--prof"), FAILED, "false"),
        ("1.3.7", {}, EXPLAINED, "--bind-address=0.0.0.0"),
        ("1.3.7", flagged("kube-controller-manager", "--client-ca-file=c"), FAILED, "--client-ca-file is not set"),
        ("1.4.1", {"flags/kube-scheduler": ""}, UNKNOWN, "kube-scheduler does not run"),
        ("2.2", flagged("etcd", "--client-cert-auth=true"), FAILED, "is not set"),
        ("2.3", flagged("etcd", "--key-file=b", "--auto-tls"), FAILED, "--auto-tls=true"),
        ("2.7", {"authorities": "aa\naa"}, FAILED, "the cluster's authority"),
        ("2.7", {"authorities": ""}, UNKNOWN, "could not be read"),
        ("3.2.2", {"audit-policy": "rules: [{level: Metadata, users: [me]}]"}, FAILED, "its last rule"),
        ("3.2.2", hiding("{group: '', resources: [secrets]}"), FAILED, "leaves out secrets"),
        ("3.2.2", hiding("{group: apps}"), FAILED, "apps/deployments"),
        ("3.2.2", {"audit-policy": "a: ["}, FAILED, "no YAML"),
        ("3.2.2", {"audit-policy": ""}, UNKNOWN, "there is no audit policy"),
        ("4.1.1", MODE_644, FAILED, "kubelet.service is 644"),
        ("4.1.5", MODE_644, FAILED, "kubelet.conf is 644"),
        ("4.1.9", MODE_644, FAILED, "config.yaml is 644"),
        ("4.2.7", {"flags/kubelet": "kubelet\n--config=c"}, "passed", "is not set"),
        ("4.3.1", {"flags/kube-proxy": "k\n--metrics-bind-address=0.0.0.0"}, FAILED, "0.0.0.0"),
    ],
)  # fmt: skip
def test_what_a_machine_says_is_judged(
    cluster: Cluster, number: str, texts: Mapping[str, str], level: str, says: str
) -> None:
    one = of(look(cluster, texts), number)

    assert (one.level, says in one.said) == (level, True), one


@pytest.mark.parametrize(
    ("number", "changed", "level"),
    [
        ("4.2.1", {"authentication": {"anonymous": {"enabled": True}}}, FAILED),
        ("4.2.2", {"authorization": {"mode": "AlwaysAllow"}}, FAILED),
        ("4.2.3", {"authentication": {}}, FAILED),
        ("4.2.4", {"readOnlyPort": 10255}, FAILED),
        ("4.2.4", {"readOnlyPort": None}, "passed"),
        ("4.2.5", {"streamingConnectionIdleTimeout": "0s"}, FAILED),
        ("4.2.6", {"makeIPTablesUtilChains": False}, FAILED),
        ("4.2.8", {"eventRecordQPS": -1}, FAILED),
        ("4.2.9", {"tlsPrivateKeyFile": ""}, FAILED),
        ("4.2.10", {"rotateCertificates": False}, EXPLAINED),
        ("4.2.11", {"tlsCertFile": ""}, FAILED),
        ("4.2.12", {"tlsCipherSuites": []}, FAILED),
        ("4.2.12", {"tlsCipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}, FAILED),
        ("4.2.13", {"podPidsLimit": -1}, FAILED),
        ("4.2.14", {"seccompDefault": False}, FAILED),
    ],
)
def test_what_a_kubelet_has_in_force_is_judged(
    cluster: Cluster, number: str, changed: Mapping[str, Any], level: str
) -> None:
    assert of(look(cluster, kubelet=changed), number).level == level


def pod(name: str, container: Any = None, namespace: str = "shop", **spec: Any) -> Any:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "c", **(container or {})}], **spec},
    }


def secured(**security: Any) -> Any:
    return {"securityContext": security}


TOKEN = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
STRICT = secured(
    allowPrivilegeEscalation=False,
    capabilities={"drop": ["ALL"]},
    runAsNonRoot=True,
    seccompProfile={"type": "RuntimeDefault"},
)
SECRET = {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


@pytest.mark.parametrize(
    ("number", "one"),
    [
        ("5.1.5", pod("p", serviceAccountName="default", volumes=TOKEN)),
        ("5.1.6", pod("p", serviceAccountName="own", volumes=TOKEN)),
        ("5.2.1", pod("p")),
        ("5.2.2", pod("p", secured(privileged=True))),
        ("5.2.3", pod("p", hostPID=True)),
        ("5.2.4", pod("p", hostIPC=True)),
        ("5.2.5", pod("p", hostNetwork=True)),
        ("5.2.6", pod("p")),
        ("5.2.7", pod("p")),
        ("5.2.7", pod("p", secured(runAsUser=0))),
        ("5.2.8", pod("p", secured(capabilities={"drop": ["CHOWN"]}))),
        ("5.2.9", pod("p", secured(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}))),
        ("5.2.10", pod("p", secured(windowsOptions={"hostProcess": True}))),
        ("5.2.11", pod("p", volumes=[{"name": "h", "hostPath": {"path": "/"}}])),
        ("5.2.12", pod("p", {"ports": [{"containerPort": 80, "hostPort": 80}]})),
        ("5.3.2", pod("p")),
        ("5.4.1", pod("p", {"env": [{"name": "A", **SECRET}]})),
        ("5.4.1", pod("p", {"envFrom": [{"secretRef": {"name": "s"}}]})),
        ("5.6.2", pod("p", secured(seccompProfile={"type": "Unconfined"}))),
        ("5.6.3", pod("p")),
        ("5.6.4", pod("p", STRICT, namespace="default")),
    ],
)
def test_what_runs_is_for_the_operator_to_weigh(cluster: Cluster, number: str, one: Any) -> None:
    told = of(look(cluster, pods=[one]), number)

    assert told.level is Level.REVIEW
    assert one["metadata"]["namespace"] in told.said
    assert told.why


def test_a_strict_pod_in_a_strict_namespace_passes_everything(cluster: Cluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    shop = {"metadata": {"name": "shop", "labels": labels}}
    policy = {"metadata": {"name": "deny", "namespace": "shop"}}

    found = look(
        cluster,
        pods=[pod("p", STRICT), pod("d", namespace="kube-system", hostNetwork=True)],
        namespaces=[*EMPTY["namespaces"], shop],
        networkpolicies=[policy],
    )

    assert code(found) == 0


APPROVAL = "certificatesigningrequests/approval"
HOOKS, REGISTRATION = "mutatingwebhookconfigurations", "admissionregistration.k8s.io"


@pytest.mark.parametrize(
    ("number", "lists", "says"),
    [
        ("5.1.0", {"clusterrolebindings": [ADMIN, binding("open", "view", user("system:anonymous"))]}, "open"),
        ("5.1.1", {"clusterrolebindings": [ADMIN, binding("extra", "cluster-admin", user("ann"))]}, "extra"),
        ("5.1.2", {"clusterroles": [role("r", rule("get", "secrets"))]}, "user ann"),
        ("5.1.2", {"clusterroles": [role("r", rule("*", "*", "*"))]}, "user ann"),
        ("5.1.3", {"roles": [role("stars", rule("*", "pods"), namespace="shop")]}, "stars"),
        ("5.1.4", {"clusterroles": [role("r", rule("create", "pods"))]}, "user ann"),
        ("5.1.8", {"clusterroles": [role("r", rule("impersonate", "groups"))]}, "user ann"),
        ("5.1.8", {"clusterroles": [role("r", rule("escalate", "roles", "rbac.authorization.k8s.io"))]}, "user ann"),
        ("5.1.9", {"clusterroles": [role("r", rule("create", "persistentvolumes"))]}, "user ann"),
        ("5.1.10", {"clusterroles": [role("r", rule("get", "nodes/proxy"))]}, "user ann"),
        ("5.1.10", {"clusterroles": [role("r", rule("get", "*/proxy"))]}, "user ann"),
        ("5.1.11", {"clusterroles": [role("r", rule("update", APPROVAL, "certificates.k8s.io"))]}, "user ann"),
        ("5.1.12", {"clusterroles": [role("r", rule("patch", HOOKS, REGISTRATION))]}, "user ann"),
        ("5.1.13", {"clusterroles": [role("r", rule("create", "serviceaccounts/token"))]}, "user ann"),
        ("3.1.3", {"bootstraptokens": [{}]}, "there are 1"),
    ],
)  # fmt: skip
def test_rights_of_others_are_for_the_operator_to_weigh(
    cluster: Cluster, number: str, lists: Mapping[str, Any], says: str
) -> None:
    bound = {"clusterrolebindings": [ADMIN, INFO, binding("b", "r", user("ann"), user("system:kybern-dns"))]}

    one = of(look(cluster, **{**bound, **lists}), number)

    assert (one.level, says in one.said) == (Level.REVIEW, True), one
    assert "kybern-dns" not in one.said


def test_a_role_of_one_namespace_is_not_that_of_another(cluster: Cluster) -> None:
    lists: dict[str, Any] = {
        "roles": [role("r", rule("get", "secrets"), namespace="a"), role("r", rule("get", "pods"), namespace="b")],
        "rolebindings": [binding("b", "r", user("ann"), kind="Role", namespace="b")],
    }  # fmt: skip

    assert of(look(cluster, None, None, **lists), "5.1.2").level is Level.PASSED


def test_service_accounts_count_outside_of_kube_system(cluster: Cluster) -> None:
    accounts = [
        {"kind": "ServiceAccount", "name": "job", "namespace": name} for name in ("shop", "kube-system")
    ]
    roles = [role("r", rule("create", "pods"))]

    one = of(look(cluster, clusterroles=roles, clusterrolebindings=[binding("b", "r", *accounts)]), "5.1.4")

    assert one.said == "may create pods: shop/job"


def test_what_does_not_answer_is_unknown_and_not_passed(cluster: Cluster) -> None:
    places = {machine.name: Place(cluster, machine) for machine in cluster.machines}

    found = findings(cluster, places, Objects(cluster))

    assert {one.level for one in found} == {Level.UNKNOWN, Level.EXPLAINED, Level.PASSED}
    assert of(found, "1.2.6").level is Level.UNKNOWN
    assert {one.number for one in found if one.level is Level.PASSED} == {"5.3.1"}
    assert code(found) == 3


def test_machines_that_differ_have_a_line_each(cluster: Cluster) -> None:
    found = [one for one in look(cluster, kubelet={"seccompDefault": False}) if one.number == "4.2.14"]

    assert [(one.level, one.machines) for one in found] == [
        (Level.FAILED, ("master-1",)),
        (Level.PASSED, ("worker-1",)),
    ]


def test_the_line_for_monitoring_names_what_failed(cluster: Cluster) -> None:
    well, broken = look(cluster), look(cluster, kubelet={"seccompDefault": False})

    assert line(well).startswith("CIS OK - 0 failed, 0 unknown, 0 review, ")
    assert line(broken).startswith("CIS CRITICAL - 1 failed")
    assert line(broken).endswith("(4.2.14)")
    assert sum(counts(broken).values()) == len(CONTROLS)
    assert code(look(cluster, pods=[pod("p")])) == 1


def test_policies_that_nobody_puts_in_force_are_told(cluster: Cluster) -> None:
    found = look(replace(cluster, network_policies=False))

    assert of(found, "5.3.1").level is Level.REVIEW


def test_all_that_is_judged_is_asked_for(cluster: Cluster) -> None:
    """What the texts of a machine are called here is what the script calls them."""
    asked = set(commands(cluster, cluster.masters[0]))

    assert asked == {
        *(f"flags/{name}" for name in DAEMONS),
        *(f"files/{name}" for name in (*PLACES, *TREES)),
        "providers", "audit-policy", "authorization", "authorities",
    }  # fmt: skip
    assert set(WELL) | {"files/admin"} == asked
    assert not any(
        "key" in command and "cat" in command.split()
        for command in commands(cluster, cluster.masters[0]).values()
    )
