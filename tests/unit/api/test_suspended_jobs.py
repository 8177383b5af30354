"""What of a job's template may change while it is suspended (KEP-2926, KEP-5440)."""

import copy
from typing import Any

import pytest

from kybern.api.rules.jobs import job

STARTED = {"startTime": "2026-01-02T03:04:05Z"}
RESTING = {**STARTED, "conditions": [{"type": "Suspended", "status": "True"}]}


def suspended(status: dict[str, Any] | None = None, *, suspend: bool = True) -> dict[str, Any]:
    labels = {"controller-uid": "u1"}
    container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
    pod: dict[str, Any] = {"containers": [container], "restartPolicy": "Never", "dnsPolicy": "ClusterFirst"}
    pod["terminationGracePeriodSeconds"] = 30
    return {
        "metadata": {"name": "j", "namespace": "default", "uid": "u1"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": suspend,
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod},
        },
        "status": status or {},
    }  # fmt: skip


def changed(old: dict[str, Any], **fields: Any) -> dict[str, Any]:
    new = copy.deepcopy(old)
    pod = new["spec"]["template"]["spec"]
    for name, value in fields.items():
        (pod["containers"][0] if name in ("resources", "image") else pod)[name] = value
    return new


MORE = {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}
ELSEWHERE = {"nodeSelector": {"zone": "b"}}


@pytest.mark.parametrize("change", [MORE, ELSEWHERE])
@pytest.mark.parametrize(
    ("status", "suspend", "allowed"),
    [
        ({}, True, True),
        (RESTING, True, True),
        ({**RESTING, "active": 1}, True, False),
        (STARTED, True, False),
        ({}, False, False),
    ],
)
def test_what_pods_ask_for_and_where_they_run_may_change_while_none_runs(
    change: dict[str, Any], status: dict[str, Any], suspend: bool, allowed: bool
) -> None:
    old = suspended(status, suspend=suspend)

    causes = [cause.field for cause in job(changed(old, **change), old)]

    assert causes == ([] if allowed else ["spec.template"])


def test_what_pods_run_stays() -> None:
    old = suspended()

    assert [cause.field for cause in job(changed(old, image="other"), old)] == ["spec.template"]
    assert [cause.field for cause in job(changed(old), old)] == []
