"""What is said of a definition whose objects are taken away."""

import pytest

from kybern.apiserver.crd import conditions, ending
from kybern.machinery.kind import Raw

SINCE = 1767225600.0


def condemned() -> Raw:
    found: Raw = {"metadata": {"name": "toys.example.com"}}
    conditions.condemned(found, "2026-01-01T00:00:00Z")
    return found


def said(status: Raw) -> Raw:
    (found,) = status["conditions"]
    return dict(found)


def test_who_is_condemned_waits_for_his_objects() -> None:
    found = condemned()

    assert found["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert said(found["status"])["reason"] == "InstanceDeletionPending"
    assert ending.is_fresh(found)


def test_the_time_moves_when_the_status_does() -> None:
    found = condemned()

    under_way = ending.told(found, ending.UNDER_WAY, "2026-01-01T00:00:05Z")
    done = ending.told({**found, "status": under_way}, ending.DONE, "2026-01-01T00:00:09Z")

    assert said(under_way)["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert said(done) == {
        "type": "Terminating", "status": "False", "lastTransitionTime": "2026-01-01T00:00:09Z",
        "reason": "InstanceDeletionCompleted", "message": "removed all instances",
    }  # fmt: skip
    assert not ending.is_fresh({**found, "status": under_way})
    assert said(found["status"])["reason"] == "InstanceDeletionPending"


@pytest.mark.parametrize(
    ("errors", "later", "reason", "message"),
    [
        ((), 1, "InstanceDeletionInProgress", "CustomResource deletion is in progress"),
        ((), 60, "InstanceDeletionCheck", "could not confirm zero CustomResources remaining: timed out"),
        (("no",), 1, "InstanceDeletionFailed", "could not issue all deletes: no"),
        (("no", "never", "no"), 99, "InstanceDeletionFailed", "could not issue all deletes: [no, never]"),
    ],
)
def test_what_is_left_is_told_with_its_reason(
    errors: tuple[str, ...], later: float, reason: str, message: str
) -> None:
    status, why, text = ending.stuck(condemned(), errors, SINCE + later)

    assert (status, why) == ("True", reason)
    assert text.startswith(message)
