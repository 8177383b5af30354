"""Controllers act once though their watches are late, and not at all once they do not lead."""

import asyncio

from kybern.api.apps_v1 import Deployment
from kybern.api.batch_v1 import Job
from kybern.api.core_v1 import Namespace, Pod
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import CONTROLLERS
from tests.simulation.api import FakeApi
from tests.simulation.cluster import Simulation, kinds_of
from tests.simulation.mortal import Late, alive
from tests.simulation.occasions import SETTINGS
from tests.simulation.test_jobs import work
from tests.simulation.test_statefulsets import database
from tests.simulation.test_workloads import web

MADE = [make(SETTINGS) for make in CONTROLLERS]


async def api_with_work() -> FakeApi:
    api = FakeApi(*kinds_of(MADE))
    await api.create(Namespace(metadata=ObjectMeta(name="a")))
    await api.create(web(3))
    await api.create(work())
    await api.create(database(2))
    return api


async def test_they_act_once_though_their_watches_are_late() -> None:
    api = await api_with_work()
    async with alive(Late(api, 0.02), MADE) as loop:
        cluster = Simulation(api, loop)
        kubelets = asyncio.create_task(cluster.kubelets())
        # Three of the deployment, three of the job that run at a time, two with names.
        await cluster.until(lambda: len(api.all(Pod)) == 8, seconds=20)
        await asyncio.sleep(0.2)
        await cluster.rest()
        kubelets.cancel()

    born = [
        body["metadata"]["uid"]
        for _, kind, where, body in api.log
        if kind == "ADDED" and where == "/api/v1/pods"
    ]
    assert len(born) == len(api.all(Pod)) == 8


async def test_who_does_not_lead_any_more_writes_nothing() -> None:
    api = await api_with_work()
    async with alive(api, MADE) as loop:
        await Simulation(api, loop).until(lambda: api.all(Pod))
    written = len(api.requests)

    for one in (*api.all(Deployment), *api.all(Job)):
        await api.delete(one)
    deletions = len(api.requests) - written
    await asyncio.sleep(0.1)

    assert deletions == 2
    assert len(api.requests) == written + deletions
