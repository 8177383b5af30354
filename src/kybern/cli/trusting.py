"""``kybern certificates rotate-ca`` and ``rotate-service-account-key``: observe, decide (``machines.rotation``), act."""

import asyncio
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from kybern.api.core_v1 import Secret
from kybern.auth.x509 import signing_key
from kybern.cli import machines
from kybern.cli.deploys import run_deploy
from kybern.cli.holding import BreakLock, holding
from kybern.cli.machines import Topology
from kybern.cli.patience import Patience
from kybern.client.kubeconfig import load
from kybern.client.rest import Client
from kybern.machinery.errors import ApiError
from kybern.machines.certificates import CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA, PUBLIC, TOKENS, Keep
from kybern.machines.errors import MachineError
from kybern.machines.rotation.trust import (
    Add,
    AwaitPods,
    Deploy,
    Drop,
    Later,
    Seen,
    Step,
    Turn,
    digest,
    next_step,
    question,
    told,
)
from kybern.machines.state import State
from kybern.machines.topology import Cluster, Machine
from kybern.machines.trust import Stage, Trust
from kybern.reach.machines import Machines

PKI = "/etc/kubernetes/pki"
WITHIN = 30.0  # seconds a machine may take to tell
POD_PATIENCE = 240.0  # seconds in which kubelets put a new authority into pods: they look every minute or so
EVERY = 3.0
# Kubelets renew the tokens of pods within the hour; those that others asked for may say longer.
TOKEN_SECONDS = 24 * 3600.0


class Which(StrEnum):
    CLUSTER = "cluster"
    ETCD = "etcd"
    FRONT_PROXY = "front-proxy"


NAMES = {Which.CLUSTER: CLUSTER_CA, Which.ETCD: ETCD_CA, Which.FRONT_PROXY: FRONT_PROXY_CA}
WORDS = {
    CLUSTER_CA: "cluster's authority",
    ETCD_CA: "authority of etcd",
    FRONT_PROXY_CA: "authority of front proxies",
}


def rotate_ca(
    topology: Topology = "lab",
    authority: Annotated[
        list[Which] | None,
        typer.Option("--authority", help="Whose: cluster (the default), etcd, front-proxy."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for pods that do not take a new authority over.")
    ] = False,
    break_lock: BreakLock = False,
) -> None:
    """Exchange an authority: trust both, issue everything anew, trust the new one alone. Finishes what was begun."""
    cluster = machines.read(topology, None)
    with holding(cluster, "certificates rotate-ca", break_lock):
        for which in authority or [Which.CLUSTER]:
            Rotation(topology, cluster, NAMES[which], force=force).run()


def rotate_service_account_key(
    topology: Topology = "lab",
    force: Annotated[
        bool, typer.Option("--force", help="Drop the old key now: tokens that it signed are refused.")
    ] = False,
    break_lock: BreakLock = False,
) -> None:
    """Exchange the key of service account tokens. The old one verifies for a day more; run this again then."""
    cluster = machines.read(topology, None)
    with holding(cluster, "certificates rotate-service-account-key", break_lock):
        Rotation(topology, cluster, TOKENS, force=force).run()


class Rotation:
    """One run. What it finds begun it finishes, and begins nothing more."""

    def __init__(self, topology: str, cluster: Cluster, name: str, *, force: bool) -> None:
        self._topology, self._cluster, self._name, self._force = topology, cluster, name, force
        self._folder = State.of(cluster.name).directory / "pki"
        self._trust = Trust(self._folder, name, PUBLIC if name == TOKENS else ".crt")
        self._deployed = False
        self._patience = Patience(POD_PATIENCE, EVERY)

    @property
    def _what(self) -> str:
        return WORDS.get(self._name, "key of service account tokens")

    def run(self) -> None:
        if self._trust.signer() is None:
            raise MachineError(
                f"there is no {self._what} in {self._folder}: deploy {self._cluster.name} first"
            )
        resumed = self._trust.stage is not Stage.REST
        added = False
        while True:
            step = next_step(asyncio.run(self._seen()))
            if isinstance(step, Later) or (isinstance(step, Add) and (added or resumed)):
                break
            added = added or isinstance(step, Add)
            # Machines that have other files: the old one was dropped, and not everywhere yet.
            resumed = resumed or (isinstance(step, Deploy) and bool(step.machines) and not added)
            self._act(step)
        self._tell(step)

    def _tell(self, step: Step) -> None:
        if not isinstance(step, Later):
            print(
                f"The {self._what} of {self._cluster.name} is a new one, and the old one is trusted no longer."
            )
            return
        until = datetime.fromtimestamp(self._trust.turned_at() + TOKEN_SECONDS, UTC)
        print(
            f"The {self._what} of {self._cluster.name} is a new one. The old one verifies until you run the same command "
            f"again: after {until:%Y-%m-%d %H:%M} UTC, when no Secret holds a token that it signed, or with --force."
        )

    def _act(self, step: Step) -> None:
        match step:
            case Deploy():
                run_deploy(self._topology, self._cluster)
                self._deployed = True
                return
            case AwaitPods(names):
                self._wait(names)
                return
            case Add():
                print(f"A new {self._what} is made, and trusted beside the old one.", flush=True)
                pair = signing_key() if self._name == TOKENS else self._keep().new_authority(self._name).pair
                self._trust.add(pair)
            case Turn():
                print(f"The new {self._what} signs everything anew.", flush=True)
                self._trust.turn()
            case Drop():
                print(f"The old {self._what} is trusted no longer.", flush=True)
                self._trust.drop()
            case Later():
                return
        self._deployed = False
        self._patience.restore()

    def _wait(self, names: tuple[str, ...]) -> None:
        which = f"pods on {', '.join(names)}"
        self._patience.wait(
            f"Waiting until {which} have what is trusted now.",
            f"{which} do not take the authority over; delete those that mount it by subPath, or go on with --force",
        )

    def _keep(self) -> Keep:
        return Keep(self._folder, datetime.now(UTC))

    async def _seen(self) -> Seen:
        """Raises MachineError when a machine does not tell: it would trust what nobody else does."""
        there = Machines(self._cluster)
        wanted = {each.name: self._wanted(each) for each in self._cluster.machines}
        concerned = [each for each in self._cluster.machines if wanted[each.name]]
        asked = [there.run(each.name, question(each, tuple(wanted[each.name])), WITHIN) for each in concerned]
        found = dict(
            zip([each.name for each in concerned], map(told, await asyncio.gather(*asked)), strict=True)
        )
        if silent := sorted(name for name, one in found.items() if not one.answers):
            raise MachineError(
                f"{', '.join(silent)} does not answer: start it, or remove it, and run the same command again"
            )
        pods = digest(self._trust.trusted()) if self._name == CLUSTER_CA and not self._force else ""
        return Seen(
            self._trust.stage,
            {name: wanted[name] for name in found},
            found,
            self._deployed,
            pods,
            await self._droppable(),
        )

    def _wanted(self, machine: Machine) -> dict[str, str]:
        """What of this has to be on a machine: digests by path."""
        trusted = digest(self._trust.trusted())
        if self._name == CLUSTER_CA:
            return {f"{PKI}/ca.crt": trusted}
        if self._name == ETCD_CA:
            return {f"{PKI}/etcd/ca.crt": trusted} if machine.is_etcd or machine.is_master else {}
        if not machine.is_master:
            return {}
        if self._name == FRONT_PROXY_CA:
            return {f"{PKI}/front-proxy-ca.crt": trusted}
        signer = self._trust.signer()
        assert signer is not None, "looked at before anything else"
        return {f"{PKI}/sa.pub": trusted, f"{PKI}/sa.key": digest(signer.key_pem)}

    async def _droppable(self) -> bool:
        if self._name != TOKENS or self._force or self._trust.stage is not Stage.TURNED:
            return True
        if time.time() < self._trust.turned_at() + TOKEN_SECONDS:
            return False
        try:
            async with Client(load(State.of(self._cluster.name).directory / "admin.conf")) as api:
                held, _ = await api.list(Secret, field_selector="type=kubernetes.io/service-account-token")
        except ApiError as problem:
            raise MachineError(f"cannot see which Secrets hold tokens: {problem}") from problem
        return not held
