"""Uses of tokens out of Secrets: noted once a day, since a day that the cluster knows."""

from base64 import b64encode
from typing import Any

import pytest
from prometheus_client import REGISTRY

from kybern.apiserver.legacy_tracking import Tracking, mended
from kybern.apiserver.local import Local
from kybern.auth import legacy_labels, legacy_tokens
from kybern.machinery.errors import AlreadyExists
from tests.unit.apiserver.conftest import NOW

TODAY = legacy_tokens.day(NOW)
DAY = 86400.0


@pytest.mark.parametrize("data", [None, {}, {"since": "yesterday"}, {"since": "2023-13-01", "more": "kept"}])
def test_a_date_that_cannot_be_read_is_mended(data: dict[str, str] | None) -> None:
    found = {"metadata": {"name": "m"}, "data": data}

    assert mended(found, TODAY) == {
        "metadata": {"name": "m"},
        "data": {**(data or {}), "since": "2023-11-14"},
    }


def test_a_date_that_can_be_read_stays() -> None:
    assert mended({"metadata": {}, "data": {"since": "2020-01-01"}}, TODAY) is None


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


async def bed(make: Any, engine: Any) -> tuple[Tracking, Local, Clock]:
    for name in ("kube-system", "a"):
        await make("namespaces", {"metadata": {"name": name}})
    clock = Clock()
    return Tracking(Local(engine), clock), Local(engine), clock


async def test_the_first_server_says_since_when_and_others_leave_it(make: Any, engine: Any) -> None:
    tracking, local, clock = await bed(make, engine)

    await tracking.look()
    clock.now += 9 * DAY
    await tracking.look()

    found = await local.get("", "configmaps", *legacy_labels.TRACKING)
    assert found is not None
    assert found["data"] == {"since": "2023-11-14"}


async def test_one_that_another_server_made_meanwhile_is_no_error(
    make: Any, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, local, _ = await bed(make, engine)

    async def taken(*_args: Any) -> None:
        raise AlreadyExists("somebody was faster")

    monkeypatch.setattr(tracking._local, "create", taken)
    await tracking.look()

    assert await local.get("", "configmaps", *legacy_labels.TRACKING) is None


async def test_a_use_is_written_once_a_day_and_counted_each_time(make: Any, engine: Any) -> None:
    tracking, local, clock = await bed(make, engine)
    data = {"token": b64encode(b"t").decode()}
    await make(
        "secrets", {"metadata": {"name": "key", "labels": {"mine": "kept"}}, "data": data}, namespace="a"
    )
    metric = "serviceaccount_legacy_manual_token_uses_total"
    before = REGISTRY.get_sample_value(metric) or 0.0
    versions = []

    for later in (0.0, 60.0, 5 * DAY):
        clock.now = NOW + later
        secret = await local.get("", "secrets", "a", "key")
        assert secret is not None
        await tracking.used(secret, "manual")
        secret = await local.get("", "secrets", "a", "key")
        assert secret is not None
        versions.append((secret["metadata"]["resourceVersion"], secret["metadata"]["labels"]))

    assert versions[0] == versions[1]
    assert versions[0][1] == {"mine": "kept", legacy_labels.LAST_USED: "2023-11-14"}
    assert versions[2][1][legacy_labels.LAST_USED] == "2023-11-19"
    assert REGISTRY.get_sample_value(metric) == before + 3


async def test_a_use_is_noted_of_a_secret_that_has_changed_and_of_none_that_went(
    make: Any, engine: Any
) -> None:
    tracking, local, _ = await bed(make, engine)
    await make("secrets", {"metadata": {"name": "key"}}, namespace="a")
    old = await local.get("", "secrets", "a", "key")
    assert old is not None
    await local.update("", "secrets", {**old, "data": {"new": b64encode(b"n").decode()}})

    await tracking.used(old, "auto")
    await tracking.used({"metadata": {"name": "gone", "namespace": "a"}}, "auto")

    found = await local.get("", "secrets", "a", "key")
    assert found is not None
    assert found["data"] == {"new": b64encode(b"n").decode()}
    assert found["metadata"]["labels"] == {legacy_labels.LAST_USED: "2023-11-14"}
    assert await local.get("", "secrets", "a", "gone") is None
