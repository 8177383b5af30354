"""Every controller is in the shared tests, and does something there: a new one that nothing wakes fails here.

The shared tests (rest, kills, troubles) run all of CONTROLLERS on what ``create_some`` makes. Who has nothing to write in
that cluster is named here, with the test that shows it at work.
"""

import asyncio
from pathlib import Path

import pytest

from kybern.api.apps_v1 import Deployment
from kybern.api.core_v1 import Namespace, Node
from kybern.controllers import CONTROLLERS
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import alive
from tests.simulation.test_kills import _nothing_new
from tests.simulation.test_rest import SETTINGS, create_some

TESTS = Path(__file__).parent.parent
MADE = {one.name: one for one in (make(SETTINGS) for make in CONTROLLERS)}

PLANE = "simulation/test_plane.py"
# By controller: the test, and what of it is about this controller.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "cronjob-controller": (PLANE, "cronjob-controller"),
    "horizontal-pod-autoscaler-controller": (PLANE, "horizontal-pod-autoscaler"),
    "node-ipam-controller": (PLANE, "node-controller"),
    "node-lifecycle-controller": (PLANE, "node-controller"),
    "taint-eviction-controller": (PLANE, "node-controller"),
    "pod-garbage-collector-controller": (PLANE, "pod-garbage-collector"),
    "certificatesigningrequest-cleaner-controller": ("unit/controllers/test_cleaners.py", "certificate_cleaning"),
    "ttl-after-finished-controller": ("unit/controllers/test_cleaners.py", "ttl_after_finished"),
    "certificatesigningrequest-approving-controller": (
        "unit/controllers/test_certificates.py", "certificate_approving",
    ),
    "certificatesigningrequest-signing-controller": (
        "unit/controllers/test_certificates.py", "certificate_signing",
    ),
    "serviceaccount-token-controller": (
        "unit/controllers/test_serviceaccount_token.py", "serviceaccount_token",
    ),
    "persistentvolume-expander-controller": (
        "unit/controllers/test_ephemeral_volume.py", "persistentvolume_expander",
    ),
    "persistentvolume-attach-detach-controller": (
        "unit/controllers/test_persistentvolume_attach_detach.py", "persistentvolume_attach_detach",
    ),
    "device-taint-eviction-controller": ("unit/controllers/test_resource_claim.py", "device_taint_eviction"),
    "resourceclaim-controller": ("unit/controllers/test_resource_claim.py", "resource_claim"),
    "legacy-serviceaccount-token-cleaner-controller": (
        "unit/controllers/test_legacy_serviceaccount_token_cleaner.py", "legacy_serviceaccount_token_cleaner",
    ),
    "validatingadmissionpolicy-status-controller": (
        "unit/controllers/test_validatingadmissionpolicy_status.py", "validatingadmissionpolicy_status",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def writers() -> set[str]:
    async def see() -> set[str]:
        api = FakeApi(*kinds_of(list(MADE.values())))
        await create_some(api)
        for node in api.all(Node):
            await api.set_status(node, conditions=[{"type": "Ready", "status": "True"}])
        async with alive(api, list(MADE.values())) as loop:
            cluster = Simulation(api, loop)
            kubelets = asyncio.create_task(cluster.kubelets())
            await cluster.rest()
            await api.delete(api.all(Deployment)[0])
            await cluster.rest()
            namespace = api.one(Namespace, "", "a")
            assert namespace is not None
            api.refuse = _nothing_new
            await api.delete(namespace)
            await cluster.rest()
            kubelets.cancel()
        return api.writers

    return asyncio.run(see())


@pytest.mark.parametrize("name", MADE)
def test_every_controller_writes_in_the_shared_tests_or_in_one_of_its_own(
    writers: set[str], name: str
) -> None:
    at_work = MADE[name].account in writers
    file, words = ELSEWHERE.get(name, ("", ""))
    # Some controllers share an account: who is named to be at work in the plane is so there, see test_plane.py.
    shown = bool(file) and words in (TESTS / file).read_text()

    assert at_work or shown, f"{name} does nothing in the shared tests"


def test_who_is_named_is_registered() -> None:
    assert ELSEWHERE.keys() <= MADE.keys()
