"""``kybern certificates rotate-encryption-key``: observe, decide (``machines.rotation``), act, until nothing is left."""

import asyncio
from pathlib import Path

from kybern.cli import machines
from kybern.cli.deploys import only, run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.patience import Patience
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.client.verbs import PATCHES
from kybern.machinery.errors import ApiError, NotFound
from kybern.machines import encryption
from kybern.machines.encryption import FILE, KMS, Key, Order
from kybern.machines.errors import MachineError
from kybern.machines.rotation.encryption import (
    SECRETS,
    Await,
    Rest,
    Rewrite,
    Seen,
    Ship,
    Step,
    Write,
    next_step,
    question,
    told,
)
from kybern.machines.secret_files import write_secret
from kybern.machines.state import State
from kybern.machines.topology import Cluster
from kybern.reach.machines import Machines

ON_MACHINES = f"/etc/kubernetes/pki/{FILE}"
WITHIN = 40.0  # seconds a master may take to tell
PATIENCE = 60.0  # seconds an API server may take to read its file again
EVERY = 0.5
AT_ONCE = 8  # secrets that are written at the same time


def rotate_encryption_key(topology: Topology = "lab", break_lock: BreakLock = False) -> None:
    """Encrypt all secrets in etcd by a new key. A run that was interrupted is finished by the next one."""
    cluster = machines.read(topology, None)
    with holding(cluster, "certificates rotate-encryption-key", break_lock):
        Rotation(topology, cluster).run()


class Rotation:
    """One run. What it finds begun it finishes, and begins nothing more."""

    def __init__(self, topology: str, cluster: Cluster) -> None:
        self._topology, self._cluster = topology, cluster
        self._folder = State.of(cluster.name).directory / "pki"
        self._path = self._folder / FILE
        self._patience = Patience(PATIENCE, EVERY)

    def run(self) -> None:
        steps = 0
        while True:
            seen = asyncio.run(self._seen())
            step = next_step(seen, self._cluster.encryption, self._new_key)
            if isinstance(step, Rest) or (isinstance(step, Write) and step.begins and steps):
                break
            self._act(step, seen.order)
            steps += 1
        first = seen.order[0].name if seen.order else ""
        done = f"are encrypted by {first}" if first else "are not encrypted, as the topology says"
        print(f"The secrets of {self._cluster.name} {done}.")

    def _act(self, step: Step, order: Order) -> None:
        if not isinstance(step, Await):
            self._patience.restore()
        match step:
            case Ship(names):
                print(f"Shipping {FILE} to {', '.join(names)}.", flush=True)
                run_deploy(self._topology, self._cluster, only(names), verb="certificates")
            case Await(names):
                self._wait(names)
            case Write(new, why):
                print(f"{why[:1].upper()}{why[1:]}.", flush=True)
                self._write(new, order, drops=step.drops)
            case Rewrite(keys):
                print(f"Writing {len(keys)} secrets again.", flush=True)
                asyncio.run(self._rewrite(keys))
            case Rest():
                return

    def _wait(self, names: tuple[str, ...]) -> None:
        which = f"the API server of {', '.join(names)}"
        self._patience.wait(
            f"Waiting for {which}.",
            f"{which} has not taken {ON_MACHINES} over; if it was deployed without encryption, run "
            f"'kybern deploy {self._topology}' first, else {self._ask()}{self._plugins()}",
        )

    def _ask(self) -> str:
        """Where an API server's last words are."""
        if self._cluster.has_static_pods:
            return "see /var/log/pods/kube-system_kube-apiserver-* there"
        return "ask 'journalctl -u kube-apiserver' there"

    def _plugins(self) -> str:
        """What a file under a key management service needs more."""
        if self._cluster.encryption != KMS:
            return ""
        return (
            f", and look whether the plugin listens at {self._cluster.kms} on each of them, and lets the user "
            "kube-apiserver in"
        )

    def _write(self, new: Order, old: Order, *, drops: bool) -> None:
        if drops:
            gone = max((key for key in old if key not in new), key=lambda key: key.number)
            write_secret(self._folder / "dropped" / f"{gone.name}.{FILE}", encryption.content(old))
        write_secret(self._path, encryption.content(new))

    def _new_key(self, provider: str, known: Order) -> Key:
        aside = (self._folder / "dropped").glob(f"*.{FILE}")
        dropped = tuple(key for path in aside for key in encryption.order(path.read_bytes()))
        return encryption.new_key(provider, (*known, *dropped), endpoint=self._cluster.kms)

    async def _seen(self) -> Seen:
        """Raises MachineError when a master does not tell: a key must not be dropped that it may still write by."""
        there = Machines(self._cluster)
        masters = self._cluster.masters
        teller = next((each for each in masters if each.is_etcd), None)
        if teller is None:
            raise MachineError(
                f"no master of {self._cluster.name} is a member of etcd; rotate its keys by hand"
            )
        asked = [
            there.run(each.name, question(self._cluster, ON_MACHINES, member=each is teller), WITHIN)
            for each in masters
        ]
        found = dict(
            zip([each.name for each in masters], map(told, await asyncio.gather(*asked)), strict=True)
        )
        for name, one in found.items():
            if not one.answers:
                raise MachineError(
                    f"{name} does not answer: start it, or remove it, and run the same command again"
                )
            if not one.serves:
                raise MachineError(
                    f"the API server of {name} does not answer; {self._ask()}, and run the same command again"
                )
        stored = found[teller.name].stored
        if stored is None:
            raise MachineError(
                f"{teller.name} cannot tell what lies in etcd; see 'kybern status {self._topology}'"
            )
        order = encryption.order(_content(self._path))
        return Seen(
            order,
            {name: one.shipped for name, one in found.items()},
            {name: one.loaded for name, one in found.items()},
            stored,
        )

    async def _rewrite(self, keys: tuple[str, ...]) -> None:
        """An empty patch: the server stores what does not change when it is sealed by another key than the first."""
        room, failed = asyncio.Semaphore(AT_ONCE), list[str]()

        async def again(api: Client, key: str) -> None:
            namespace, name = key.removeprefix(SECRETS).split("/")
            async with room:
                try:
                    path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
                    await api.request("PATCH", path, {}, content_type=PATCHES["merge"])
                except NotFound:
                    return
                except ApiError as problem:
                    failed.append(f"{namespace}/{name}: {problem}")

        async with Client(load(State.of(self._cluster.name).directory / "admin.conf")) as api:
            await asyncio.gather(*(again(api, key) for key in keys))
        if failed:
            raise MachineError(
                f"cannot write {len(failed)} secrets again, and the old key stays: {'; '.join(failed[:3])}; "
                "mend or delete them, and run the same command again"
            )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
