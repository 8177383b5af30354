"""Drivers of local volumes on a real API server: what the role gives them, and one driver for each node, in this process."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from kybern.auth.x509 import Authority, Leaf
from kybern.client import kubeconfig
from kybern.client.events import Recorder
from kybern.client.rest import Client
from kybern.local_volumes.names import DRIVER
from kybern.local_volumes.provisioner import Provisioner
from kybern.local_volumes.store import Store
from roles.local_volumes import objects
from tests.protocol.apiserver_bed import Lab, Server

USER = "system:kybern-local-volumes"


def prepare(lab: Lab, server: Server, *nodes: str) -> None:
    """What the deploy writes into the API, and a certificate for each node's driver."""
    at = lab.directory
    authority = Authority.load((at / "ca.crt").read_bytes(), (at / "ca.key").read_bytes())
    for node in nodes:
        pair = authority.issue_leaf(Leaf(f"{USER}:{node}", (USER,)), datetime.now(UTC))
        lab.write(f"driver-{node}.crt", pair.cert_pem)
        lab.write(f"driver-{node}.key", pair.key_pem)
    for one in objects():
        body = yaml.safe_load(one.file.content)
        where = f"{one.place}?fieldManager=kybern&force=true"
        code, answer = server.ask("PATCH", where, body, form="apply-patch+yaml")
        assert code in (200, 201), answer


def schedule(lab: Lab, server: Server, port: int) -> None:
    """Start a scheduler for a server; the lab ends it."""
    command = [
        sys.executable, "-c", "from kybern.cli.scheduler import main; main()",
        f"--kubeconfig={lab.kubeconfig(server, 'scheduler')}", "--leader-elect=false", "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    ]  # fmt: skip
    with (lab.directory / "scheduler.log").open("wb") as log:
        lab.started.append(subprocess.Popen(command, stdout=log, stderr=log))


class SmallStore(Store):
    """A store on a disk of ``space`` bytes."""

    space = 1 << 30

    def room(self) -> int:
        return max(0, self.space - sum(one.size for one in self.all()))


@dataclass
class Driver:
    node: str
    store: SmallStore
    provisioner: Provisioner

    def directories(self) -> set[str]:
        return {path.name for path in self.store.root.iterdir()}


@asynccontextmanager
async def driver(lab: Lab, server: Server, node: str, root: Path) -> AsyncIterator[Driver]:
    """A daemon's part that watches claims; ended when the block is."""
    SmallStore.at(root)
    store = SmallStore(root, limits=False)
    config = kubeconfig.load(str(lab.kubeconfig(server, f"driver-{node}")))
    async with Client(config) as client:
        recorder = Recorder(client, f"{DRIVER}_{node}")
        provisioner = Provisioner(client, store, recorder, node, lambda: 0.0)
        tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(provisioner.run())]
        try:
            yield Driver(node, store, provisioner)
        finally:
            for task in tasks:
                if task.done():
                    # It must not end by itself; why it did is worth more than what the test missed.
                    task.result()
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def claim(name: str, size: str = "1Mi", storage_class: str = "local", **more: Any) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": name}, "spec": {"storageClassName": storage_class, **spec, **more}}
