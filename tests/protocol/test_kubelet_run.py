"""``kubectl run -i`` against a kubelet on a real containerd: what a command that ends at once wrote is shown, and once.

Both ways of kubectl are here: 1.35 attaches to a pod that it saw ready and reads the log if that fails; 1.36 reads the log
before it attaches, and again if that fails. Both read it once of a pod that they only see ended.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kybern.client import kubeconfig
from kybern.client.rest import Client
from kybern.kubelet.cri import Runtime
from kybern.kubelet.daemon import Kubelet
from tests.protocol.apiserver_bed import Lab, Program, Server
from tests.protocol.clients_bed import client
from tests.protocol.containerd_bed import NODE, Bed, clean, settings

pytestmark = [pytest.mark.containerd, pytest.mark.etcd, pytest.mark.kubectl, pytest.mark.timeout(300)]

TIMES = 5
VERSIONS = ("1.35", "1.36")
# No scheduler and no tokens: the node is named, and the API server's part is not what is tried here.
HERE = f'{{"spec": {{"nodeName": "{NODE}", "automountServiceAccountToken": false}}}}'
type Run = Callable[..., str]


@pytest.fixture(scope="module")
def server(lab: Lab, free_ports: Callable[[], int]) -> Server:
    lab.add_node(NODE)
    found = lab.start(free_ports(), "--kubelet-preferred-address-types=InternalIP")
    body = {"metadata": {"name": "default"}}
    code, answer = found.ask("POST", "/api/v1/namespaces/default/serviceaccounts", body)
    assert code == 201, answer
    return found


@pytest.fixture
def run(lab: Lab, server: Server, tmp_path: Path) -> Run:
    """All that kubectl of a version prints."""

    def asked(version: str, name: str, *command: str, stdin: str = "") -> str:
        kubectl = Program((client(f"kubectl-{version}"),), lab.kubeconfig(server), tmp_path)
        return kubectl(
            "run", name, "-i", "--rm", "--quiet", "--restart=Never", "--image=busybox:1.36", "--override-type=strategic",
            f"--overrides={HERE}", "--", *command, stdin=stdin,
        )  # fmt: skip

    return asked


@asynccontextmanager
async def kubelet(bed: Bed, lab: Lab, server: Server, port: int, **more: Any) -> AsyncIterator[None]:
    config = kubeconfig.load(str(lab.kubeconfig(server, "node")))
    async with Runtime(bed.endpoint) as runtime, Client(config) as api:
        await runtime.greet()
        task = asyncio.create_task(Kubelet(settings(bed, port=port, **more), runtime, api, NODE).run())
        try:
            await asyncio.to_thread(server.wait, f"/api/v1/nodes/{NODE}")
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await clean(bed)


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_ended_at_once_is_shown_once(
    bed: Bed, lab: Lab, server: Server, run: Run, free_ports: Callable[[], int], version: str
) -> None:
    # Longer than the slowest machine takes to notice that a process has ended; nobody waits for it.
    async with kubelet(bed, lab, server, free_ports(), unseen_for=50.0):
        for number in range(TIMES):
            said = await asyncio.to_thread(run, version, f"one-{number}", "echo", "hello")
            assert said == "hello\n"
            said = await asyncio.to_thread(run, version, f"two-{number}", "sh", "-c", "echo a; echo b")
            assert said == "a\nb\n"


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_goes_on_is_attached_to(
    bed: Bed, lab: Lab, server: Server, run: Run, free_ports: Callable[[], int], version: str
) -> None:
    async with kubelet(bed, lab, server, free_ports()):
        said = await asyncio.to_thread(run, version, "echoes", "cat", stdin="to it and back\n")
    assert said == "to it and back\n"
