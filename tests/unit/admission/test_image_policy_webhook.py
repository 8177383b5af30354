"""ImagePolicyWebhook: what is asked, what its answers do, how long they are kept, and what happens without one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kybern.admission.chain import chain
from kybern.admission.plugins.image_policy_webhook import Images, Settings, made, settings_of
from kybern.client.posting import Unanswered
from kybern.machinery.kind import Raw
from tests.unit.admission.writes import admitted, named, write

FILE = {"kubeConfigFile": "/etc/images"}


def pod(**annotations: str) -> Raw:
    return named(
        "p",
        metadata={"annotations": {key.replace("_", "."): text for key, text in annotations.items()}},
        spec={
            "containers": [{"name": "c", "image": "a:1"}, {"name": "d", "image": "b:1"}],
            "initContainers": [{"name": "i", "image": "i:1"}],
            "ephemeralContainers": [{"name": "e", "image": "debug:1"}],
        },
    )


@dataclass
class Fake:
    """A webhook that gives the same status each time, or fails."""

    status: Raw | None
    asked: list[Raw] = field(default_factory=list)

    async def start(self) -> None:
        return

    async def close(self) -> None:
        return

    async def post(self, review: Raw) -> Raw:
        self.asked.append(review)
        if self.status is None:
            raise Unanswered("connection refused")
        return {"status": self.status}


def images(status: Raw | None, clock: Callable[[], float] = lambda: 0.0, **more: Any) -> Images:
    usual: dict[str, Any] = {"file": "f", "allowed": 10.0, "denied": 5.0, "backoff": 0.5, "opens": False}
    return Images(Settings(**{**usual, **more}), Fake(status), clock)


def asked(found: Images) -> list[Raw]:
    assert isinstance(found.poster, Fake)
    return found.poster.asked


async def test_it_is_asked_about_the_images_and_its_own_annotations() -> None:
    found, new = images({"allowed": True}), pod()
    new["metadata"]["annotations"] = {"team.image-policy.k8s.io/ticket": "7", "other": "x"}

    assert await admitted(made(found), write("CREATE", "pods", new)) == ""

    assert asked(found) == [
        {
            "kind": "ImageReview",
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": {},
            "spec": {
                "containers": [{"image": "a:1"}, {"image": "b:1"}, {"image": "i:1"}],
                "annotations": {"team.image-policy.k8s.io/ticket": "7"},
                "namespace": "x",
            },
            "status": {"allowed": False},
        }
    ]


@pytest.mark.parametrize(
    ("operation", "plural", "images_of"),
    [
        ("UPDATE", "pods", ["a:1", "b:1", "i:1"]),
        ("UPDATE", "pods/ephemeralcontainers", ["debug:1"]),
        ("UPDATE", "pods/status", None),
        ("UPDATE", "pods/resize", None),
        ("DELETE", "pods", None),
    ],
)
async def test_it_looks_at_pods_and_at_ephemeral_containers(
    operation: str, plural: str, images_of: list[str] | None
) -> None:
    found = images({"allowed": True})

    assert await admitted(made(found), write(operation, plural, pod(), pod())) == ""

    told = [[one["image"] for one in each["spec"]["containers"]] for each in asked(found)]
    assert told == ([images_of] if images_of else [])


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            {"allowed": False, "reason": "a:1 is old"},
            "image policy webhook backend denied one or more images: a:1 is old",
        ),
        ({"allowed": False}, "one or more images rejected by webhook backend"),
        ({}, "one or more images rejected by webhook backend"),
    ],
)
async def test_a_pod_is_refused_with_what_the_webhook_says(status: Raw, said: str) -> None:
    assert (
        await admitted(made(images(status)), write("CREATE", "pods", pod()))
        == f'pods "p" is forbidden: {said}'
    )


async def test_what_it_says_for_the_audit_log_gets_there_under_its_own_prefix() -> None:
    request = write("CREATE", "pods", pod())
    status = {"allowed": True, "auditAnnotations": {"checked": "yes", "no good name": "x"}}

    assert await admitted(made(images(status)), request) == ""

    assert request.annotations == {"imagepolicywebhook.image-policy.k8s.io/checked": "yes"}


@pytest.mark.parametrize(("allowed", "seconds"), [(True, 10.0), (False, 5.0)])
async def test_an_answer_is_kept_for_its_time(allowed: bool, seconds: float) -> None:
    now = 0.0
    found = images({"allowed": allowed}, lambda: now)
    for now, times in ((0.0, 1), (seconds - 0.1, 1), (seconds, 2)):  # noqa: B007  # the clock reads it
        await admitted(made(found), write("CREATE", "pods", pod()))
        assert len(asked(found)) == times


async def test_an_answer_of_no_time_is_not_kept() -> None:
    found = images({"allowed": True}, allowed=0.0)
    for _ in range(2):
        assert await admitted(made(found), write("CREATE", "pods", pod())) == ""
    assert len(asked(found)) == 2


async def test_without_an_answer_the_pod_is_refused() -> None:
    assert await admitted(made(images(None)), write("CREATE", "pods", pod())) == (
        'pods "p" is forbidden: connection refused'
    )


async def test_without_an_answer_the_pod_passes_marked_where_that_is_asked_for() -> None:
    request = write("CREATE", "pods", pod(a="b"))

    assert await admitted(made(images(None, opens=True)), request) == ""

    assert request.new is not None
    assert request.new["metadata"]["annotations"] == {
        "a": "b",
        "alpha.image-policy.k8s.io/failed-open": "true",
    }
    assert request.annotations == {"imagepolicywebhook.image-policy.k8s.io/failed-open": "true"}


def test_times_that_are_not_given_are_upstream_s() -> None:
    assert settings_of({"imagePolicy": FILE}) == Settings("/etc/images", 300.0, 30.0, 0.5, False)


def test_times_are_seconds_and_the_wait_between_tries_is_in_thousandths() -> None:
    given = {**FILE, "allowTTL": 60, "denyTTL": -1, "retryBackoff": 250, "defaultAllow": True}
    assert settings_of({"imagePolicy": given}) == Settings("/etc/images", 60.0, 0.0, 0.25, True)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "imagePolicy.kubeConfigFile: Required value"),
        ({"imagePolicy": {}}, "imagePolicy.kubeConfigFile: Required value"),
        ({"imagePolicy": {**FILE, "allowTTL": 1}}, "valid value is between 1s and 30m0s, got 1s"),
        ({"imagePolicy": {**FILE, "denyTTL": 1801}}, "valid value is between 1s and 30m0s, got 30m1s"),
        (
            {"imagePolicy": {**FILE, "retryBackoff": 300001}},
            "valid value is between 1ns and 5m0s, got 5m0.001s",
        ),
        (
            {"imagePolicy": {**FILE, "denyTTL": "30s"}},
            "imagePolicy.denyTTL: Invalid value: '30s': must be of type int",
        ),
        ({"imagePolicy": {**FILE, "defaultAllow": 1}}, "imagePolicy.defaultAllow: Invalid value: 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Raw, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        settings_of(given)


def test_a_server_does_not_start_without_the_kubeconfig(tmp_path: Path) -> None:
    settings = {"ImagePolicyWebhook": {"imagePolicy": {"kubeConfigFile": str(tmp_path / "none")}}}
    with pytest.raises(ValueError, match=r'init admission plugin "ImagePolicyWebhook": .*none'):
        chain(["ImagePolicyWebhook"], settings=settings)
