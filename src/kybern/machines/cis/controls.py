"""The controls of the CIS Kubernetes Benchmark v1.12, a line each, in its order. Pure.

Where the benchmark speaks of a pod specification file, the systemd unit is meant where a daemon is one.
"""

from kybern.machines.cis import files, flags, kubelet, masters, workloads
from kybern.machines.cis.policies import PODS, RIGHTS, cluster
from kybern.machines.cis.record import Control, Judge, Scope

API, MANAGER, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
STRONG = frozenset({
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
})  # fmt: skip
OWN_KEY = "a daemon is not root here, and owns what it alone reads; others' modes keep everybody else out"
ANONYMOUS = (
    "load balancers and monitoring ask for health without an identity; see 5.1.0 for what else that may do"
)
OPT_IN = "off as upstream has it, since it changes what workloads may do; in the topology:"
METRICS = "Prometheus scrapes it over TLS; all but health asks for a client certificate or a token, and RBAC"
NAMED = "a node is named as its machine is in the topology, which its certificate says, too"
RENEWED = (
    "a deploy and kybern certificates renew it, signed on the operator's side; the kubelet reads it again"
)


def _unit(number: str, wants: str, name: str, scope: Scope) -> tuple[Control, Control]:
    first, second = number.split("/")
    return (
        Control(first, f"{wants}: mode 600 or stricter", scope, files.mode(name, 0o600)),
        Control(second, f"{wants}: owned by root:root", scope, files.owner(name, "root:root")),
    )


def _master(number: str, wants: str, judge: Judge) -> Control:
    return Control(number, wants, Scope.MASTER, judge)


def _member(number: str, wants: str, judge: Judge) -> Control:
    return Control(number, wants, Scope.MEMBER, judge)


def _node(number: str, wants: str, judge: Judge) -> Control:
    return Control(number, wants, Scope.NODE, judge)


FILES = (
    *_unit("1.1.1/1.1.2", "unit or manifest of the API server", "unit/kube-apiserver", Scope.MASTER),
    *_unit(
        "1.1.3/1.1.4",
        "unit or manifest of the controller manager",
        "unit/kube-controller-manager",
        Scope.MASTER,
    ),
    *_unit("1.1.5/1.1.6", "unit or manifest of the scheduler", "unit/kube-scheduler", Scope.MASTER),
    *_unit("1.1.7/1.1.8", "unit of etcd", "unit/etcd", Scope.MEMBER),
    _node("1.1.9", "CNI configuration: mode 600 or stricter", files.mode("cni", 0o600, needed=False)),
    _node("1.1.10", "CNI configuration: owned by root:root", files.owner("cni", "root:root", needed=False)),
    _member("1.1.11", "etcd's data: mode 700 or stricter", files.mode("etcd", 0o700)),
    _member("1.1.12", "etcd's data: owned by etcd:etcd", files.owner("etcd", "etcd:etcd")),
    cluster("1.1.13", "credentials of the administrator: mode 600", workloads.operator_file),
    _node(
        "1.1.14", "credentials of the administrator: root's", files.none("admin", "take it off the machine")
    ),
    _master("1.1.15", "scheduler.conf: mode 600 or stricter", files.mode("conf/scheduler", 0o600)),
    _master(
        "1.1.16",
        "scheduler.conf: owned by root:root",
        flags.explained(
            files.owner("conf/scheduler", "root:root"),
            OWN_KEY,
            unless=files.owner("conf/scheduler", "kube-scheduler:kube-scheduler"),
        ),
    ),
    _master(
        "1.1.17",
        "controller-manager.conf: mode 600 or stricter",
        files.mode("conf/controller-manager", 0o600),
    ),
    _master(
        "1.1.18",
        "controller-manager.conf: owned by root:root",
        flags.explained(
            files.owner("conf/controller-manager", "root:root"),
            OWN_KEY,
            unless=files.owner("conf/controller-manager", "kube-controller-manager:kube-controller-manager"),
        ),
    ),
    _master(
        "1.1.19",
        "PKI: owned by root:root",
        flags.explained(files.owner("pki", "root:root"), OWN_KEY, unless=files.mode("keys", 0o640)),
    ),
    _master("1.1.20", "PKI, certificates: mode 644 or stricter", files.mode("certificates", 0o644)),
    _master(
        "1.1.21",
        "PKI, keys: mode 600",
        flags.explained(
            files.mode("keys", 0o600),
            "the key of tokens is read by the API server and by the controller manager, through its group",
            unless=files.mode("keys", 0o640),
        ),
    ),
)

API_SERVER = (
    _master(
        "1.2.1",
        "--anonymous-auth=false",
        flags.explained(flags.equals(API, "anonymous-auth", "false"), ANONYMOUS),
    ),
    _master("1.2.2", "no --token-auth-file", flags.absent(API, "token-auth-file")),
    _master(
        "1.2.3",
        "DenyServiceExternalIPs",
        flags.explained(
            flags.lists(API, "enable-admission-plugins", "DenyServiceExternalIPs"),
            f"{OPT_IN} admission: [DenyServiceExternalIPs]; who may write Services is RBAC's to say",
        ),
    ),
    _master(
        "1.2.4",
        "client certificate for kubelets",
        flags.present(API, "kubelet-client-certificate", "kubelet-client-key"),
    ),
    _master("1.2.5", "authority of kubelets", flags.present(API, "kubelet-certificate-authority")),
    _master(
        "1.2.6",
        "--authorization-mode without AlwaysAllow",
        masters.authorizers(
            flags.every(
                flags.present(API, "authorization-mode"),
                flags.omits(API, "authorization-mode", "AlwaysAllow"),
            ),
            "AlwaysAllow",
            wanted=False,
        ),
    ),
    *(
        _master(
            number,
            f"--authorization-mode with {mode}",
            masters.authorizers(flags.lists(API, "authorization-mode", mode), mode),
        )
        for number, mode in (("1.2.7", "Node"), ("1.2.8", "RBAC"))
    ),
    _master(
        "1.2.9",
        "EventRateLimit",
        flags.explained(
            flags.lists(API, "enable-admission-plugins", "EventRateLimit"),
            "limits depend on the cluster's size; kubelets and controllers limit themselves, and events end after an hour",
        ),
    ),
    _master("1.2.10", "no AlwaysAdmit", flags.omits(API, "enable-admission-plugins", "AlwaysAdmit")),
    _master(
        "1.2.11",
        "AlwaysPullImages",
        flags.explained(
            flags.lists(API, "enable-admission-plugins", "AlwaysPullImages"),
            f"{OPT_IN} admission: [AlwaysPullImages]; pods could not start while a registry is away",
        ),
    ),
    _master("1.2.12", "ServiceAccount", flags.omits(API, "disable-admission-plugins", "ServiceAccount")),
    _master(
        "1.2.13", "NamespaceLifecycle", flags.omits(API, "disable-admission-plugins", "NamespaceLifecycle")
    ),
    _master("1.2.14", "NodeRestriction", flags.lists(API, "enable-admission-plugins", "NodeRestriction")),
    _master("1.2.15", "--profiling=false", flags.equals(API, "profiling", "false")),
    _master("1.2.16", "an audit log", flags.present(API, "audit-log-path")),
    _master("1.2.17", "--audit-log-maxage of 30 or more", flags.at_least(API, "audit-log-maxage", 30)),
    _master("1.2.18", "--audit-log-maxbackup of 10 or more", flags.at_least(API, "audit-log-maxbackup", 10)),
    _master("1.2.19", "--audit-log-maxsize of 100 or more", flags.at_least(API, "audit-log-maxsize", 100)),
    _master(
        "1.2.20",
        "--request-timeout as appropriate",
        flags.flag(
            API, "request-timeout", lambda value: value not in ("0", "0s"), "take --request-timeout away"
        ),
    ),
    _master(
        "1.2.21",
        "--service-account-lookup",
        flags.equals(API, "service-account-lookup", "true", default="true"),
    ),
    _master("1.2.22", "--service-account-key-file", flags.present(API, "service-account-key-file")),
    _master("1.2.23", "client certificate for etcd", flags.present(API, "etcd-certfile", "etcd-keyfile")),
    _master("1.2.24", "serving certificate", flags.present(API, "tls-cert-file", "tls-private-key-file")),
    _master("1.2.25", "--client-ca-file", flags.present(API, "client-ca-file")),
    _master("1.2.26", "--etcd-cafile", flags.present(API, "etcd-cafile")),
    _master("1.2.27", "--encryption-provider-config", flags.present(API, "encryption-provider-config")),
    _master("1.2.28", "secrets encrypted by aescbc, secretbox or kms", masters.encryption),
    _master("1.2.29", "strong ciphers alone", flags.within(API, "tls-cipher-suites", STRONG)),
    _master(
        "1.2.30",
        "--service-account-extend-token-expiration=false",
        flags.equals(API, "service-account-extend-token-expiration", "false"),
    ),
)

LOOPS = (
    _master(
        "1.3.1",
        "--terminated-pod-gc-threshold as appropriate",
        flags.present(MANAGER, "terminated-pod-gc-threshold"),
    ),
    _master("1.3.2", "--profiling=false", flags.equals(MANAGER, "profiling", "false")),
    _master(
        "1.3.3",
        "--use-service-account-credentials",
        flags.equals(MANAGER, "use-service-account-credentials", "true"),
    ),
    _master(
        "1.3.4",
        "--service-account-private-key-file",
        flags.present(MANAGER, "service-account-private-key-file"),
    ),
    _master("1.3.5", "--root-ca-file", flags.present(MANAGER, "root-ca-file")),
    _master(
        "1.3.6",
        "RotateKubeletServerCertificate not off",
        flags.omits(MANAGER, "feature-gates", "RotateKubeletServerCertificate=false"),
    ),
    _master(
        "1.3.7",
        "--bind-address=127.0.0.1",
        flags.explained(
            flags.equals(MANAGER, "bind-address", "127.0.0.1"),
            METRICS,
            unless=flags.present(MANAGER, "client-ca-file"),
        ),
    ),
    _master("1.4.1", "--profiling=false", flags.equals(SCHEDULER, "profiling", "false")),
    _master(
        "1.4.2",
        "--bind-address=127.0.0.1",
        flags.explained(
            flags.equals(SCHEDULER, "bind-address", "127.0.0.1"),
            METRICS,
            unless=flags.present(SCHEDULER, "client-ca-file"),
        ),
    ),
)

ETCD = (
    _member("2.1", "etcd: serving certificate", flags.present("etcd", "cert-file", "key-file")),
    _member("2.2", "etcd: --client-cert-auth", flags.equals("etcd", "client-cert-auth", "true")),
    _member("2.3", "etcd: no --auto-tls", flags.equals("etcd", "auto-tls", "false", default="false")),
    _member("2.4", "etcd: certificate for peers", flags.present("etcd", "peer-cert-file", "peer-key-file")),
    _member("2.5", "etcd: --peer-client-cert-auth", flags.equals("etcd", "peer-client-cert-auth", "true")),
    _member(
        "2.6", "etcd: no --peer-auto-tls", flags.equals("etcd", "peer-auto-tls", "false", default="false")
    ),
    _member(
        "2.7",
        "etcd: an authority of its own",
        flags.every(flags.present("etcd", "trusted-ca-file"), masters.own_authority),
    ),
)

CONTROL_PLANE = (
    cluster(
        "3.1.1",
        "no client certificates for people",
        workloads.explain(
            "Kybern makes one, the operator's, and keeps its authority's key off the machines; no one else's are made. "
            "For people, have the API server ask an authenticating proxy (--requestheader flags) or use impersonation",
            "one: the operator's",
        ),
    ),
    cluster(
        "3.1.2",
        "no service account tokens for people",
        workloads.explain(
            "Kybern makes none that lasts; see 5.1.13 for who may make some", "none is made for people"
        ),
    ),
    cluster("3.1.3", "no bootstrap tokens for people", workloads.bootstrap_tokens),
    _master("3.2.1", "an audit policy", flags.present(API, "audit-policy-file")),
    _master("3.2.2", "the audit policy tells what matters", masters.audit_policy),
)

NODES = (
    *_unit("4.1.1/4.1.2", "unit of the kubelet", "unit/kubelet", Scope.NODE),
    *_unit("4.1.3/4.1.4", "kube-proxy.conf", "conf/kube-proxy", Scope.NODE),
    *_unit("4.1.5/4.1.6", "kubelet.conf", "conf/kubelet", Scope.NODE),
    _node("4.1.7", "authority of clients: mode 644 or stricter", files.mode("client-ca", 0o644)),
    _node("4.1.8", "authority of clients: owned by root:root", files.owner("client-ca", "root:root")),
    *_unit("4.1.9/4.1.10", "configuration of the kubelet", "kubelet-config", Scope.NODE),
    _node(
        "4.2.1",
        "kubelet: no anonymous requests",
        kubelet.equals("authentication.anonymous.enabled", wanted=False),
    ),
    _node("4.2.2", "kubelet: not AlwaysAllow", kubelet.equals("authorization.mode", "Webhook")),
    _node("4.2.3", "kubelet: authority of clients", kubelet.given("authentication.x509.clientCAFile")),
    _node("4.2.4", "kubelet: no read-only port", kubelet.equals("readOnlyPort", 0, absent=True)),
    _node(
        "4.2.5",
        "kubelet: idle streams end",
        kubelet.differs("streamingConnectionIdleTimeout", "0", "0s"),
    ),
    _node(
        "4.2.6",
        "kubelet: chains of iptables",
        kubelet.equals("makeIPTablesUtilChains", wanted=True, absent=True),
    ),
    _node(
        "4.2.7",
        "kubelet: no --hostname-override",
        flags.explained(flags.absent("kubelet", "hostname-override", shown=False), NAMED),
    ),
    _node("4.2.8", "kubelet: events are not lost", kubelet.differs("eventRecordQPS", -1)),
    _node(
        "4.2.9",
        "kubelet: serving certificate",
        flags.every(kubelet.given("tlsCertFile"), kubelet.given("tlsPrivateKeyFile")),
    ),
    _node(
        "4.2.10",
        "kubelet: its client certificate is renewed",
        flags.explained(kubelet.equals("rotateCertificates", wanted=True, absent=True), RENEWED),
    ),
    _node(
        "4.2.11",
        "kubelet: its serving certificate is renewed",
        flags.explained(
            kubelet.equals("serverTLSBootstrap", wanted=True), RENEWED, unless=kubelet.given("tlsCertFile")
        ),
    ),
    _node("4.2.12", "kubelet: strong ciphers alone", kubelet.within("tlsCipherSuites", STRONG)),
    _node("4.2.13", "kubelet: a limit on pods' processes", kubelet.positive("podPidsLimit")),
    _node("4.2.14", "kubelet: seccompDefault", kubelet.equals("seccompDefault", wanted=True)),
    _node(
        "4.3.1",
        "kube-proxy: metrics on loopback",
        flags.flag(
            "kube-proxy",
            "metrics-bind-address",
            lambda value: value is None or value.startswith(("127.0.0.1", "[::1]", "localhost")),
            "take --metrics-bind-address away",
        ),
    ),
)

CONTROLS: tuple[Control, ...] = (*FILES, *API_SERVER, *LOOPS, *ETCD, *CONTROL_PLANE, *NODES, *RIGHTS, *PODS)
