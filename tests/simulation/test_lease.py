"""Who leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kybern.api.coordination_v1 import Lease
from kybern.client.lease import Election, Lost, Timing
from kybern.machinery.errors import ServiceUnavailable
from kybern.machinery.struct import replace
from tests.simulation.api import FakeApi
from tests.simulation.plane.virtual import simulated

QUICK = Timing(lease_duration=1.0, renew_deadline=0.3, retry_period=0.02)


class Candidate:
    def __init__(self, api: FakeApi, name: str) -> None:
        self.election = Election(api, "controller", name, timing=QUICK)
        self.began = asyncio.Event()

    async def work(self) -> None:
        self.began.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def running(candidate: Candidate) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(candidate.election.run(candidate.work))
    yield task
    task.cancel()
    await asyncio.wait([task])


def holder(api: FakeApi) -> str:
    found = api.one(Lease, "kube-system", "controller")
    assert found is not None
    return found.spec.holder_identity


async def test_the_first_one_leads_and_the_second_waits() -> None:
    api = FakeApi(Lease)
    one, two = Candidate(api, "one"), Candidate(api, "two")
    async with running(one):
        await one.began.wait()
        async with running(two):
            await asyncio.sleep(0.2)

            assert holder(api) == "one"
            assert not two.began.is_set()
            assert two.election.holder == "one"


async def test_who_ends_in_peace_is_followed_at_once() -> None:
    api = FakeApi(Lease)
    one, two = Candidate(api, "one"), Candidate(api, "two")
    async with running(one):
        await one.began.wait()
    assert holder(api) == ""

    async with running(two):
        await asyncio.wait_for(two.began.wait(), 0.3)
        found = api.one(Lease, "kube-system", "controller")

    assert found is not None
    assert found.spec.lease_transitions == 1


async def test_who_vanishes_is_followed_when_the_lease_is_over() -> None:
    api = FakeApi(Lease)
    gone, two = Candidate(api, "gone"), Candidate(api, "two")
    await gone.election.acquire()

    async with running(two):
        await asyncio.wait_for(two.began.wait(), 3)

    assert api.log[-2][3]["spec"]["holderIdentity"] == "two"


async def test_who_cannot_renew_stops_leading_before_the_lease_is_over() -> None:
    api = FakeApi(Lease)
    one = Candidate(api, "one")
    async with running(one) as task:
        await one.began.wait()

        def down(_method: str, _path: str) -> None:
            raise ServiceUnavailable("down")

        api.refuse = down
        with pytest.raises(Lost, match="kube-system/controller"):
            await asyncio.wait_for(task, QUICK.lease_duration)


class Away:
    """A server that refuses at first, and then does not answer at all: the ways in which one goes down."""

    def __init__(self, refuses: float) -> None:
        self.until = refuses

    async def get(self, *_words: object) -> Lease:
        if asyncio.get_running_loop().time() < self.until:
            raise ServiceUnavailable("down")
        await asyncio.Event().wait()
        raise AssertionError("nobody answers")


@pytest.mark.parametrize("refuses", [0.0, 5.0, 9.0, 9.9, 10.0, 30.0])
def test_nobody_leads_beyond_the_deadline_however_the_server_goes_down(refuses: float) -> None:
    """An attempt that hangs when the lease should have been renewed would end after the next leader's beginning."""
    timing = Timing()

    async def main() -> float:
        api = FakeApi(Lease)
        election = Election(api, "controller", "one", timing=timing)
        clock = asyncio.get_running_loop().time
        began = clock()

        async def lead() -> None:
            election._client = Away(refuses)  # type: ignore[assignment]
            election._lease = None
            await asyncio.Event().wait()

        with pytest.raises(Lost):
            await election.run(lead)
        return clock() - began

    # The last two seconds are those in which it tries to give the lease back, with the work already ended.
    assert simulated(main) <= timing.renew_deadline + 2.1


async def test_short_trouble_does_not_end_leading() -> None:
    api = FakeApi(Lease)
    one = Candidate(api, "one")
    async with running(one) as task:
        await one.began.wait()

        def down(_method: str, _path: str) -> None:
            raise ServiceUnavailable("down")

        api.refuse = down
        await asyncio.sleep(0.1)
        api.refuse = lambda _method, _path: None
        await asyncio.sleep(0.4)

        assert not task.done()
        assert holder(api) == "one"


async def test_a_lease_that_was_lost_is_given_back_as_soon_as_somebody_answers() -> None:
    """Its last renewal may have arrived although no answer did: others would wait for the whole duration."""
    api = FakeApi(Lease)
    one = Candidate(api, "one")

    def down(_method: str, _path: str) -> None:
        raise ServiceUnavailable("down")

    async def until_away() -> None:
        api.refuse = down
        try:
            await asyncio.Event().wait()
        finally:
            api.refuse = lambda _method, _path: None

    with pytest.raises(Lost):
        await asyncio.wait_for(one.election.run(until_away), 5)

    assert holder(api) == ""


async def test_a_lease_of_somebody_else_is_left_alone() -> None:
    api = FakeApi(Lease)
    one = Candidate(api, "one")
    taken = asyncio.Event()

    async def until_taken() -> None:
        found = api.one(Lease, "kube-system", "controller")
        assert found is not None
        await api.update(replace(found, spec=replace(found.spec, holder_identity="two")))
        taken.set()
        await asyncio.Event().wait()

    with pytest.raises(Lost):
        await asyncio.wait_for(one.election.run(until_taken), 5)

    assert taken.is_set()
    assert holder(api) == "two"
