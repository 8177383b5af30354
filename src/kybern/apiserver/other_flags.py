"""Upstream's flags of kube-apiserver for parts that are not here, or that there is one way of.

As in ``daemon.shared_flags``: each is taken. One that tunes what is not here has no effect, and its help says so; one
that asks for what is not done takes its default only, and is refused with the reason.
"""

from kybern.daemon import shared_flags
from kybern.daemon.flags import Flags, boolean, commas, duration
from kybern.daemon.shared_flags import unused

_GOOGLE = "130.211.0.0/22", "35.191.0.0/16"
_LEADERSHIP = "the gate CoordinatedLeaderElection is off"
_PEERS = "requests for versions that this server has not are answered here, and not handed to another"
_ETCD = "etcd is asked when somebody asks for what it has"
_AUDIT = "events are not cut"
_LOADED = "caches are filled as fast as etcd answers, and stay whole"
_WEBHOOK = "batches are sent one after the other, as fast as the webhook takes them"


def other_flags(found: Flags) -> Flags:
    """The flags of a server, and these."""
    shared_flags.observing(found)
    shared_flags.connections(found)
    shared_flags.versions(found)
    _fixed(found)
    _unused(found)
    return found


def _fixed(found: Flags) -> None:
    for name, read, default, why in (
        ("aggregator-reject-forwarding-redirect", boolean, True, "a redirect is never followed"),
        ("audit-log-batch-throttle-enable", boolean, False, "batches are written as they come"),
        ("audit-log-truncate-enabled", boolean, False, _AUDIT),
        ("audit-webhook-truncate-enabled", boolean, False, _AUDIT),
        (
            "cors-allowed-origins",
            commas,
            (),
            "pages of other origins get nothing; put a proxy in front that lets them",
        ),
        ("debug-socket-path", str, "", "there are no Go profiles of a program in Python"),
        ("egress-selector-config-file", str, "", "nodes and webhooks are dialled directly"),
        ("emulation-forward-compatible", boolean, False, "no version but this one is emulated"),
        ("enable-garbage-collector", boolean, True, "kube-controller-manager has a switch of that name"),
        ("etcd-servers-overrides", commas, (), "all kinds are in the etcd of --etcd-servers"),
        ("kubelet-port", int, 10250, "the port is in the status of the node"),
        ("kubelet-read-only-port", int, 10255, "kubelets are asked at the port in the status of the node"),
        ("livez-grace-period", duration, 0.0, "/livez tells how the server is from its start"),
        ("max-connection-bytes-per-sec", int, 0, "connections are as fast as the network"),
        ("peer-advertise-ip", str, "", _PEERS),
        ("peer-advertise-port", str, "", _PEERS),
        ("peer-ca-file", str, "", _PEERS),
        (
            "runtime-config-emulation-forward-compatible",
            boolean,
            False,
            "no version but this one is emulated",
        ),
        ("service-account-lookup", boolean, True, "tokens are always checked against their objects"),
        (
            "service-account-signing-endpoint",
            str,
            "",
            "tokens are signed by --service-account-signing-key-file",
        ),
        ("shutdown-send-retry-after", boolean, False, "requests are answered until the listener ends"),
        (
            "shutdown-watch-termination-grace-period",
            duration,
            0.0,
            "watches end at once, and go on at another server",
        ),
        ("storage-backend", str, "etcd3", "there is no other storage"),
        (
            "strict-transport-security-directives",
            commas,
            (),
            "clients of the API are told its scheme; put a proxy in front for browsers",
        ),
        ("tracing-config-file", str, "", "no traces are made"),
    ):
        found.fixed(f"--{name}", read, default, why)


def _unused(found: Flags) -> None:
    for name, read, default, why in (
        ("apiserver-count", int, 1, "leases count the servers"),
        ("audit-log-batch-throttle-burst", int, 0, "batches are written as they come"),
        ("audit-log-batch-throttle-qps", float, 0.0, "batches are written as they come"),
        ("audit-log-truncate-max-batch-size", int, 10485760, _AUDIT),
        ("audit-log-truncate-max-event-size", int, 102400, _AUDIT),
        ("audit-webhook-batch-throttle-burst", int, 15, _WEBHOOK),
        ("audit-webhook-batch-throttle-enable", bool, True, _WEBHOOK),
        ("audit-webhook-batch-throttle-qps", float, 10.0, _WEBHOOK),
        ("audit-webhook-truncate-max-batch-size", int, 10485760, _AUDIT),
        ("audit-webhook-truncate-max-event-size", int, 102400, _AUDIT),
        (
            "cloud-provider-gce-l7lb-src-cidrs",
            commas,
            _GOOGLE,
            "there are no cloud providers in this program",
        ),
        ("cloud-provider-gce-lb-src-cidrs", commas, _GOOGLE, "there are no cloud providers in this program"),
        ("coordinated-leadership-lease-duration", duration, 15.0, _LEADERSHIP),
        ("coordinated-leadership-renew-deadline", duration, 10.0, _LEADERSHIP),
        ("coordinated-leadership-retry-period", duration, 2.0, _LEADERSHIP),
        ("default-watch-cache-size", int, 100, _LOADED),
        ("delete-collection-workers", int, 1, "objects are deleted many at a time"),
        ("enable-logs-handler", bool, True, "logs of the machine are not served"),
        ("etcd-count-metric-poll-period", duration, 60.0, _ETCD),
        ("etcd-db-metric-poll-interval", duration, 30.0, _ETCD),
        ("etcd-readycheck-timeout", duration, 2.0, "/readyz asks etcd nothing"),
        ("goaway-chance", float, 0.0, "HTTP/1.1 is served"),
        ("kubelet-timeout", duration, 5.0, "a request to a kubelet lasts as long as the one that it is for"),
        (
            "lease-reuse-duration-seconds",
            int,
            60,
            "each event that is written ends with a lease of its minute",
        ),
        ("min-request-timeout", int, 1800, "watches live at least this long"),
        ("storage-initialization-timeout", duration, 60.0, "the server waits for etcd until it is stopped"),
        ("storage-media-type", str, "application/json", "values are JSON"),
        ("watch-cache", bool, True, "there is always one"),
        ("watch-cache-sizes", commas, (), _LOADED),
    ):
        unused(found, f"--{name}", read, default, why)
