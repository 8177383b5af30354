"""kube-apiserver on a master, as a unit or as a static pod.

Needs etcd, package, pki; as a pod, kubelet and the image. Leaves it ready on :6443. One of which something changed, or
which is to run the other way, is restarted later (``apiserver_restarts``), one master at a time, when loadbalancer is done:
the address may have nowhere to go before that.

One that is to stop says that it is not ready, and goes on serving until haproxy and keepalived have led its clients to
another master: a restart costs no request.
"""

from pyinfra.api import deploy

from kybern.machines.authorization import FOLDER
from kybern.machines.certificates import CLIENTS
from kybern.machines.errors import TopologyError
from kybern.machines.key_service import folder
from kybern.machines.topology import Cluster, Machine
from roles.cluster import APISERVER_USER, CIPHERS, ENCRYPTION, PKI, etcd_endpoints
from roles.control_plane import image_of
from roles.operations import bundle, ready, units
from roles.package import here
from roles.pki import certificates, reads
from roles.static_pods import StaticPod, pods
from roles.templates import flags, render
from roles.tree import Directory, File, Service

NAME, UNIT = "kube-apiserver", "kube-apiserver.service"
KUBELET = "kubelet.service"
LOGS = "/var/log/kubernetes"
# haproxy sees it within 1.6 s, keepalived 2 s later, and gives the address away within another; the nodes' haproxy
# needs 4.5 s at most.
SHUTDOWN_SECONDS = 6
AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
AUTHENTICATION = "/etc/kubernetes/authentication.yaml"
AUTHORIZATION = "/etc/kubernetes/authorization.yaml"
ADMISSION, LIMITED = "/etc/kubernetes/admission.yaml", "EventRateLimit"
# What they read is not told: it is what they are for.
DAEMONS = tuple(sorted(set(CLIENTS.values()) - {CLIENTS["admin"], CLIENTS["kubelet"]}))


# Whom it believes, and what it signs and verifies tokens with.
READS = ("ca.crt", "front-proxy-ca.crt", "sa.pub", "sa.key")


@deploy("apiserver")
def apiserver(cluster: Cluster, machine: Machine) -> None:
    probe = is_ready(cluster)
    if cluster.has_static_pods:
        files = [Directory(LOGS, mode="700", user=APISERVER_USER), *read(cluster)]
        bundle(name="Files", files=files, prune=[str(FOLDER)])
        pods(name="Started", pods=[pod(cluster, machine)], image=image_of(cluster), restart=False)
        ready(name="Ready", probe=probe, log=KUBELET, _retries=4, _retry_delay=0)
        return
    service = unit(cluster, machine, here().programs)
    bundle(name="Unit", files=service.files, prune=[str(FOLDER)])
    units(name="Started", services=[service], restart=False)
    ready(name="Ready", probe=probe, log=UNIT, _retries=4, _retry_delay=0)


@deploy("apiserver")
def apiserver_restarts(cluster: Cluster, machine: Machine) -> None:
    probe = is_ready(cluster)
    if cluster.has_static_pods:
        pods(
            name="Changed ones replaced, one at a time",
            pods=[pod(cluster, machine)],
            image=image_of(cluster),
            gate=probe,
            _serial=True,
        )
        return
    service = unit(cluster, machine, here().programs)
    units(name="Changed ones restarted, one at a time", services=[service], gate=probe, _serial=True)


def is_ready(cluster: Cluster) -> str:
    return f"curl -fsS --max-time 3 --cacert {PKI}/ca.crt https://127.0.0.1:{cluster.api_port}/readyz"


def ask(cluster: Cluster, what: str, more: str = "") -> str:
    """A request to this master's own API server, as a client that may do everything."""
    pair = f"--cert {PKI}/apiserver-kubelet-client.crt --key {PKI}/apiserver-kubelet-client.key"
    url = f"'https://127.0.0.1:{cluster.api_port}{what}'"
    return f"curl -fsS --max-time 5 --cacert {PKI}/ca.crt {pair} {more} {url}"


def unit(cluster: Cluster, machine: Machine, programs: str) -> Service:
    text = render(
        "apiserver/kube-apiserver.service",
        cluster=cluster,
        user=APISERVER_USER,
        programs=programs,
        flags=line(cluster, machine),
    )
    return Service(
        UNIT,
        (File(f"/etc/systemd/system/{UNIT}", text, mode="600"), *read(cluster)),
        wait=False,
        reads=authorities(cluster, machine),
        pod=NAME,
    )


def pod(cluster: Cluster, machine: Machine) -> StaticPod:
    return StaticPod(
        NAME,
        machine.name,
        APISERVER_USER,
        line(cluster, machine),
        cluster.api_port,
        cpu="250m",
        # Without etcd it answers from its cache, which one that is started anew does not have.
        health="/livez?exclude=etcd",
        readiness="/readyz",
        scratch=("/tmp", "/var/run/kubernetes"),  # noqa: S108  # in the pod, which is alone with it
        writes=(LOGS,),
        sockets=(folder(cluster),) if cluster.kms else (),
        inputs=read(cluster),
        reads=authorities(cluster, machine),
    )


def line(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    """The command line of both."""
    return flags(
        "apiserver/kube-apiserver",
        cluster=cluster,
        machine=machine,
        pki=PKI,
        etcd=etcd_endpoints(cluster, machine),
        shutdown_seconds=SHUTDOWN_SECONDS,
        ciphers=CIPHERS,
        admission=ADMISSION if LIMITED in cluster.admission else "",
        audit_policy=AUDIT_POLICY,
        authentication=AUTHENTICATION if cluster.authentication else "",
        authorization=AUTHORIZATION if cluster.authorization else "",
        # Also of a cluster that does not encrypt any more: its old values have to be read.
        encryption=ENCRYPTION if certificates(cluster, machine).encryption else "",
    )


def read(cluster: Cluster) -> tuple[File, ...]:
    """Its files beside certificates."""
    audit = File(AUDIT_POLICY, render("apiserver/audit-policy.yaml", daemons=DAEMONS))
    limits = (File(ADMISSION, render("apiserver/admission.yaml")),) if LIMITED in cluster.admission else ()
    return (audit, *limits, *issuers(cluster), *authorizers(cluster))


def issuers(cluster: Cluster) -> tuple[File, ...]:
    """Whose identity tokens it believes. Raises TopologyError for a file that it would not start with."""
    if not cluster.authentication:
        return ()
    # Imported here: what checks expressions is large, and most clusters have no such file.
    from kybern.apiserver.config_file import Invalid  # noqa: PLC0415
    from kybern.apiserver.identity import configuration  # noqa: PLC0415

    content = cluster.authentication.encode()
    try:
        configuration.parse(content, (f"https://kubernetes.default.svc.{cluster.cluster_domain}",))
    except Invalid as problem:
        raise TopologyError(f'the file of "authentication" cannot be used: {problem}') from problem
    return (File(AUTHENTICATION, content),)


def authorizers(cluster: Cluster) -> tuple[File, ...]:
    """Who decides what is allowed. Raises TopologyError for a file that no server of ours can do with."""
    if cluster.authorization is None:
        return ()
    # Imported here, as above.
    from kybern.apiserver.config_file import Invalid  # noqa: PLC0415
    from kybern.apiserver.rights import configuration  # noqa: PLC0415

    content = cluster.authorization.text.encode()
    try:
        # Nodes and daemons have their rights from these two. Whether a kubeconfig is there, only masters know.
        found = configuration.parse(content, ("Node", "RBAC"), look=lambda _path: "")
    except Invalid as problem:
        raise TopologyError(f'the file of "authorization" cannot be used: {problem}') from problem
    if any(one.type == "ABAC" for one in found):
        raise TopologyError(
            'the file of "authorization" cannot be used: ABAC reads rules from a file that a topology cannot name; '
            "use RBAC or a Webhook"
        )
    return (
        File(AUTHORIZATION, content),
        *(
            File(str(FOLDER / name), text.encode(), mode="600", user=APISERVER_USER, secret=True)
            for name, text in cluster.authorization.kubeconfigs
        ),
    )


def authorities(cluster: Cluster, machine: Machine) -> tuple[File, ...]:
    return reads(cluster, machine, *(f"{PKI}/{name}" for name in READS))
