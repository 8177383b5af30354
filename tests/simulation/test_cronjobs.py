"""Cron jobs in a whole control plane: every start makes one job, whatever fails in between."""

from datetime import UTC, datetime, timedelta

import pytest

from kybern.api.batch_v1 import CronJob, CronJobSpec, Job, JobTemplateSpec
from kybern.api.core_v1 import Namespace
from kybern.api.meta_v1 import ObjectMeta
from kybern.machinery.errors import Conflict
from kybern.machinery.struct import replace
from tests.simulation.cluster import running
from tests.simulation.test_jobs import work


def every_minute() -> CronJob:
    template = JobTemplateSpec(spec=replace(work().spec, selector=None))
    spec = CronJobSpec(schedule="* * * * *", concurrency_policy="Allow", job_template=template)
    return CronJob(metadata=ObjectMeta(name="tick", namespace="a"), spec=spec)


@pytest.mark.parametrize("failing", range(2))
async def test_every_start_makes_one_job_though_a_write_fails(failing: int) -> None:
    async with running(("cronjob-controller",)) as cluster:
        await cluster.api.create(Namespace(metadata=ObjectMeta(name="a")))
        count = 0

        def once(method: str, path: str) -> None:
            nonlocal count
            if method == "GET" or "/events" in path or path.endswith("/namespaces/a/cronjobs"):
                return
            count += 1
            if count == failing + 1:
                raise Conflict("injected")

        cluster.api.refuse = once
        # It is an hour old: a start is due at once, and sixty were missed.
        cluster.api.clock = lambda: datetime.now(UTC) - timedelta(hours=1)
        await cluster.api.create(every_minute())

        def started() -> bool:
            found = cluster.api.one(CronJob, "a", "tick")
            return found is not None and bool(found.status.active)

        await cluster.until(started)
        await cluster.rest()

        (job,), found = cluster.api.all(Job), cluster.api.one(CronJob, "a", "tick")
        assert found is not None
        assert [one.uid for one in found.status.active] == [job.metadata.uid]
        assert found.status.last_schedule_time is not None
