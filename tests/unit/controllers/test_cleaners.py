"""What goes after its time: jobs, tokens, certificate requests; and how long kubelets may keep what they read."""

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any

import pytest

from kybern.api.batch_v1 import Job, JobCondition, JobSpec, JobStatus
from kybern.api.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestStatus,
)
from kybern.api.core_v1 import Node, Secret
from kybern.api.meta_v1 import ObjectMeta
from kybern.controllers import certificate_cleaning, token_cleaner, ttl, ttl_after_finished
from kybern.loop.controller import Again, Controller, Delete, Key, Measure, Patch
from kybern.loop.settings import Settings
from kybern.machinery.struct import Object, replace
from tests.unit.controllers.making import NOW, ago, every, view


def actions(controller: Controller[Any], item: Any, *others: Object, live: Any = None) -> list[Any]:
    seen = view(controller, item, *others, live=(lambda _question: live) if live is not None else None)
    state = controller.observe(seen, Key(item.metadata.namespace, item.metadata.name))
    return every(controller.diff(state)) if state is not None else []


def job(since: datetime | None, ttl: int | None = 60, end: str = "Complete", **metadata: Any) -> Job:
    conditions = (JobCondition(type=end, status="True", last_transition_time=since),)
    return Job(
        metadata=ObjectMeta(name="j", namespace="a", **metadata),
        spec=JobSpec(ttl_seconds_after_finished=ttl),
        status=JobStatus(conditions=conditions),
    )


TTL = ttl_after_finished.controller(Settings())


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_a_job_goes_after_its_time(end: str) -> None:
    old = job(ago(61), end=end)

    assert actions(TTL, old, live=old) == [
        Delete(old, propagation="Foreground"),
        Measure("ttl_after_finished_controller_job_deletion_duration_seconds", value=1.0),
    ]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (job(ago(50)), [Again(10.0)]),
        (job(ago(500), ttl=None), []),
        (job(ago(500), end="Suspended"), []),
        (job(None), []),
        (job(ago(500), deletion_timestamp=NOW), []),
    ],
)
def test_a_job_stays_until_then(kept: Job, expected: list[Any]) -> None:
    assert actions(TTL, kept) == expected


def test_a_job_whose_time_was_raised_meanwhile_stays() -> None:
    assert actions(TTL, job(ago(61)), live=job(ago(61), ttl=100)) == [Again(39.0)]


def secret(expiration: str | None, namespace: str = "kube-system", **more: Any) -> Secret:
    data = {"expiration": b64encode(expiration.encode()).decode()} if expiration is not None else {}
    metadata = ObjectMeta(name="bootstrap-token-abcdef", namespace=namespace)
    return Secret(metadata=metadata, data=data, **{"type": "bootstrap.kubernetes.io/token", **more})


@pytest.mark.parametrize("expiration", ["2026-01-01T11:59:59Z", "2026-01-01T13:59:59+02:00", "whenever"])
def test_an_expired_token_goes(expiration: str) -> None:
    old = secret(expiration)

    assert actions(token_cleaner.controller(Settings()), old) == [Delete(old)]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (secret("2026-01-01T12:01:00Z"), [Again(60.0)]),
        (secret(None), []),
        (secret("2020-01-01T00:00:00Z", namespace="a"), []),
        (secret("2020-01-01T00:00:00Z", type="Opaque"), []),
    ],
)
def test_any_other_token_stays(kept: Secret, expected: list[Any]) -> None:
    assert actions(token_cleaner.controller(Settings()), kept) == expected


def request(
    age: timedelta, decision: str = "", since: timedelta = timedelta(), certificate: str = ""
) -> CertificateSigningRequest:
    conditions = (
        (CertificateSigningRequestCondition(type=decision, status="True", last_update_time=NOW - since),)
        if decision
        else ()
    )
    return CertificateSigningRequest(
        metadata=ObjectMeta(name="r", creation_timestamp=NOW - age),
        status=CertificateSigningRequestStatus(conditions=conditions, certificate=certificate),
    )


HOUR = timedelta(hours=1)
# No certificate that could be read: it does not expire, the request goes by its age.
ODD = b64encode(b"odd").decode()


@pytest.mark.parametrize(
    ("one", "left"),
    [
        (request(HOUR * 25), 0),
        (request(HOUR * 23), 3600),
        (request(HOUR * 2, "Denied", HOUR * 2), 0),
        (request(HOUR * 2, "Failed", HOUR / 2), 1800),
        (request(HOUR * 2, "Approved", HOUR * 2, ODD), 0),
        (request(HOUR * 2, "Approved", HOUR / 2, ODD), 1800),
        (request(HOUR * 2, "Approved", HOUR * 2), 22 * 3600),
        (request(HOUR * 25, "Approved", HOUR * 24), 0),
    ],
)
def test_a_certificate_request_has_its_time(one: CertificateSigningRequest, left: int) -> None:
    expected = Again(float(left)) if left else Delete(one)

    assert actions(certificate_cleaning.controller(Settings()), one) == [expected]


@pytest.mark.parametrize(
    ("count", "current", "expected"),
    [
        (1, "", "0"), (100, "", "0"), (101, "", "15"), (95, "15", "15"), (89, "15", "0"), (500, "15", "15"),
        (501, "15", "30"), (1500, "", "60"), (1900, "300", "300"), (5000, "", "300"), (1, "nonsense", "0"),
    ],
)  # fmt: skip
def test_how_long_kubelets_may_keep_things(count: int, current: str, expected: str) -> None:
    assert ttl.seconds(count, current) == expected


def test_the_time_is_written_on_the_node_once() -> None:
    node = Node(metadata=ObjectMeta(name="n1", annotations={"a": "b"}))
    (patch,) = actions(ttl.controller(Settings()), node)

    assert isinstance(patch, Patch)
    assert patch.new == replace(
        node, metadata=replace(node.metadata, annotations={"a": "b", ttl.ANNOTATION: "0"})
    )
    assert actions(ttl.controller(Settings()), patch.new) == []
