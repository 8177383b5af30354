"""The controls of the benchmark's fifth section, policies: of rights and pods, on which the API alone has a say. Pure."""

from kybern.machines.cis import rights, workloads
from kybern.machines.cis.record import Control, Scope, Weigh
from kybern.machines.cis.rights import Wish


def cluster(number: str, wants: str, weigh: Weigh) -> Control:
    return Control(number, wants, Scope.CLUSTER, weigh=weigh)


RIGHTS = (
    cluster("5.1.0", "anonymous requests are allowed little (for 1.2.1)", rights.anonymous),
    cluster("5.1.1", "cluster-admin where required alone", rights.administrators),
    cluster(
        "5.1.2",
        "few may read Secrets",
        rights.nobody_else("read Secrets", Wish("secrets", "", ("get", "list", "watch"))),
    ),
    cluster("5.1.3", "few stars in roles", rights.wildcards),
    cluster("5.1.4", "few may create pods", rights.nobody_else("create pods", Wish("pods", "", ("create",)))),
    cluster(
        "5.1.5",
        "default service accounts are not used",
        workloads.no_pod(
            "runs as default with a token of it",
            workloads.as_default_account,
            "give them accounts of their own, or automountServiceAccountToken: false",
        ),
    ),
    cluster(
        "5.1.6",
        "tokens are mounted where needed alone",
        workloads.no_pod(
            "has its account's token",
            workloads.has_token,
            "set automountServiceAccountToken: false on those that need none",
        ),
    ),
    cluster(
        "5.1.7",
        "no system:masters",
        workloads.explain(
            "the operator's certificate (admin.conf) and the API server's own for kubelets are of it, as kubeadm has them; "
            "it never leaves the operator's side, and `kybern certificates` ends it by another authority",
            "the operator's certificate is of it",
        ),
    ),
    cluster(
        "5.1.8",
        "few may bind, impersonate, escalate",
        rights.nobody_else(
            "bind, escalate or impersonate",
            Wish("clusterroles", "rbac.authorization.k8s.io", ("bind", "escalate")),
            Wish("roles", "rbac.authorization.k8s.io", ("bind", "escalate")),
            Wish("users", "", ("impersonate",)),
            Wish("groups", "", ("impersonate",)),
            Wish("serviceaccounts", "", ("impersonate",)),
        ),
    ),
    cluster(
        "5.1.9",
        "few may create persistent volumes",
        rights.nobody_else("create PersistentVolumes", Wish("persistentvolumes", "", ("create",))),
    ),
    cluster(
        "5.1.10",
        "few may use nodes/proxy",
        rights.nobody_else("use nodes/proxy", Wish("nodes/proxy", "", ("get", "create"))),
    ),
    cluster(
        "5.1.11",
        "few may approve certificates",
        rights.nobody_else(
            "approve certificates",
            Wish("certificatesigningrequests/approval", "certificates.k8s.io", ("update", "patch")),
        ),
    ),
    cluster(
        "5.1.12",
        "few may write webhook configurations",
        rights.nobody_else(
            "write webhook configurations",
            *(
                Wish(
                    f"{kind}webhookconfigurations",
                    "admissionregistration.k8s.io",
                    ("create", "update", "patch"),
                )
                for kind in ("validating", "mutating")
            ),
        ),
    ),
    cluster(
        "5.1.13",
        "few may make tokens",
        rights.nobody_else("make tokens of service accounts", Wish("serviceaccounts/token", "", ("create",))),
    ),
)

PODS = (
    cluster("5.2.1", "a policy looks at pods", workloads.pod_security),
    cluster("5.2.2", "few privileged containers", workloads.no_pod("is privileged", workloads.privileged)),
    cluster(
        "5.2.3", "few in the host's processes", workloads.no_pod("has hostPID", workloads.spec("hostPID"))
    ),
    cluster("5.2.4", "few in the host's IPC", workloads.no_pod("has hostIPC", workloads.spec("hostIPC"))),
    cluster(
        "5.2.5",
        "few in the host's network",
        workloads.no_pod("has hostNetwork", workloads.spec("hostNetwork")),
    ),
    cluster(
        "5.2.6", "few that may gain privileges", workloads.no_pod("may gain privileges", workloads.escalates)
    ),
    cluster("5.2.7", "few that may be root", workloads.no_pod("may run as root", workloads.as_root)),
    cluster("5.2.8", "few with NET_RAW", workloads.no_pod("may have NET_RAW", workloads.raw_packets)),
    cluster(
        "5.2.9", "few with capabilities", workloads.no_pod("keeps or adds capabilities", workloads.capable)
    ),
    cluster("5.2.10", "no Windows HostProcess", workloads.no_pod("is a HostProcess", workloads.host_process)),
    cluster("5.2.11", "few with hostPath", workloads.no_pod("has a hostPath volume", workloads.host_path)),
    cluster("5.2.12", "few with host ports", workloads.no_pod("has a hostPort", workloads.host_port)),
    cluster("5.3.1", "network policies are put in force", workloads.supports_policies),
    cluster("5.3.2", "every namespace has a network policy", workloads.policy_in_each_namespace),
    cluster(
        "5.4.1",
        "Secrets as files",
        workloads.no_pod("has Secrets in variables", workloads.secret_variables, "mount them as files"),
    ),
    cluster(
        "5.4.2",
        "external storage of Secrets considered",
        workloads.explain(
            "they are encrypted in etcd, with keys that `kybern certificates` exchanges", "none by default"
        ),
    ),
    cluster(
        "5.5.1",
        "provenance of images",
        workloads.explain(
            "ImagePolicyWebhook is not there; use a validating webhook or policy of your own",
            "none by default",
        ),
    ),
    cluster("5.6.1", "namespaces as boundaries", workloads.several_namespaces),
    cluster("5.6.2", "seccomp for pods", workloads.no_pod("asks for no seccomp", workloads.unconfined)),
    cluster(
        "5.6.3",
        "a security context for pods",
        workloads.no_pod("says nothing of security", workloads.without_context),
    ),
    cluster(
        "5.6.4",
        "nothing in the namespace default",
        workloads.no_pod("runs in default", workloads.in_default, "give each workload a namespace"),
    ),
)
