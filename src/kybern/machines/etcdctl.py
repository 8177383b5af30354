"""Where etcd is on a machine, and how it is asked there: by its own client, with the certificate that may look after it."""

from collections.abc import Sequence

CLIENT_PORT = 2379
PEER_PORT = 2380
METRICS_PORT = 2381
DATA = "/var/lib/etcd"
SNAPSHOTS = "/var/lib/kybern/snapshots"
RESTORED = "/var/lib/kybern/etcd-restored"  # the stamp of the restore that a member's data are of
PKI = "/etc/kubernetes/pki/etcd"
HERE = "127.0.0.1"


def etcdctl(addresses: Sequence[str] = (HERE,), seconds: int = 10) -> str:
    """The words before a command of etcd's client. ``seconds`` is what an answer may take; a connection gets 3."""
    endpoints = ",".join(f"https://{address}:{CLIENT_PORT}" for address in addresses)
    return (
        f"etcdctl --endpoints={endpoints} --dial-timeout=3s --command-timeout={seconds}s --cacert={PKI}/ca.crt "
        f"--cert={PKI}/healthcheck-client.crt --key={PKI}/healthcheck-client.key"
    )
