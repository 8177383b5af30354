"""A kubelet that is a process, on a real containerd and for a real API server: what it costs can be read from outside."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import cpu_seconds
from benchmarks.pods import proportional_mebibytes
from kybern.auth.x509 import Authority, Leaf
from tests.protocol.apiserver_bed import Lab, Server
from tests.protocol.containerd_bed import NODE, Bed


@dataclass(frozen=True)
class Cost:
    """Of a process, at one moment."""

    cpu: float
    memory: float
    files: int


@dataclass(frozen=True)
class KubeletProcess:
    process: "subprocess.Popen[bytes]"
    log: Path

    def cost(self) -> Cost:
        pid = self.process.pid
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Cost(cpu_seconds(pid), proportional_mebibytes(pid), files)


def identity(lab: Lab) -> None:
    """The certificate of the node: ``lab.kubeconfig(server, "node")`` names it."""
    at = lab.directory
    authority = Authority.load((at / "ca.crt").read_bytes(), (at / "ca.key").read_bytes())
    pair = authority.issue_leaf(Leaf(f"system:node:{NODE}", ("system:nodes",)), now=datetime.now(UTC))
    lab.write("node.crt", pair.cert_pem)
    lab.write("node.key", pair.key_pem)


@contextmanager
def running_kubelet(
    bed: Bed, lab: Lab, server: Server, free_ports: Callable[[], int], *more: str
) -> Iterator[KubeletProcess]:
    """While the block runs; ``identity`` comes before it."""
    command = [
        sys.executable, "-c", "from kybern.cli.kubelet import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'node')}", f"--hostname-override={NODE}", "--node-ip=127.0.0.1",
        f"--root-dir={bed.at}/kubelet", f"--cert-dir={bed.at}/pki", f"--container-runtime-endpoint={bed.endpoint}",
        "--address=127.0.0.1", f"--port={free_ports()}", f"--healthz-port={free_ports()}",
        f"--client-ca-file={lab.directory}/ca.crt", f"--cgroup-root={bed.cgroup}", f"--pod-logs-dir={bed.at}/logs",
        f"--container-logs-dir={bed.at}/containers", "--cluster-dns=10.96.0.10", "--cluster-domain=cluster.local",
        "--fail-swap-on=false", "--eviction-hard=memory.available<1Mi", "--rotate-certificates=false",
        "--make-iptables-util-chains=false", *more,
    ]  # fmt: skip
    log = lab.directory / "kubelet.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        yield KubeletProcess(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
