"""Work that ends: jobs are complete, and cron jobs made each job once."""

from collections.abc import Iterator

from tests.simulation.plane.world import Outside, World, condition, place, says, shown


def jobs(world: World, _outside: Outside) -> Iterator[str]:
    for one in world.of("Job"):
        if condition(one, "Complete") != "True":
            yield f"{shown(one)} is not complete"
        yield from says(one, succeeded=one["spec"]["completions"], active=0)
        held = [shown(pod) for pod in world.owned("Pod", one) if pod["metadata"].get("finalizers")]
        if held:
            yield f"{shown(one)} holds {held}"


def crons(world: World, outside: Outside) -> Iterator[str]:
    for one in world.of("CronJob"):
        made, due = world.owned("Job", one), outside.due.get(place(one))
        if len(made) != (due is not None) or (one.get("status") or {}).get("lastScheduleTime") != due:
            yield f"{shown(one)} was due at {due}, and made {[shown(job) for job in made]}"
        if (one.get("status") or {}).get("active"):
            yield f"{shown(one)} says that a job is active"
