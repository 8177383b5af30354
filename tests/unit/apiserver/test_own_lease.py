"""The leases that say which API servers there are: named for hosts, renewed, and removed an hour after the last renewal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kybern.apiserver.local import Local
from kybern.apiserver.own_lease import GROUP, LEASES, NAMESPACE, OwnLease, is_over, name_of, renewed
from kybern.machinery.kind import Raw
from tests.unit.apiserver.conftest import NOW


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def test_a_name_is_the_hash_of_host_and_program() -> None:
    # Of sha256(b"\x00\x08master-1\x00\x0ekube-apiserver"), the first 16 bytes in base32.
    assert name_of("master-1") == "apiserver-wj467rbl25eeviqacfhvg2yvnm"


def test_a_lease_that_is_renewed_keeps_what_others_said() -> None:
    found = {
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"acquireTime": "t", "holderIdentity": "old"},
    }

    assert renewed(found, "m1", "new", at(0)) == {
        "metadata": {
            "name": "x",
            "labels": {
                "a": "b",
                "apiserver.kubernetes.io/identity": "kube-apiserver",
                "kubernetes.io/hostname": "m1",
            },
        },
        "spec": {
            "acquireTime": "t",
            "holderIdentity": "new",
            "leaseDurationSeconds": 3600,
            "renewTime": "2023-11-14T22:13:20.000000Z",
        },
    }


@pytest.mark.parametrize(
    ("change", "seconds", "over"),
    [
        ({}, 3599, False),
        ({}, 3601, True),
        ({"renewTime": None}, 0, True),
        ({"leaseDurationSeconds": None}, 0, True),
    ],
)
def test_a_lease_is_over_an_hour_after_it_was_renewed(change: Raw, seconds: float, over: bool) -> None:
    lease = renewed(None, "m1", "h", at(0))
    assert is_over({**lease, "spec": {**lease["spec"], **change}}, at(seconds)) is over


def test_a_lease_of_somebody_else_is_left_alone() -> None:
    lease = renewed(None, "m1", "h", at(0))
    lease["metadata"]["labels"] = {}
    assert not is_over(lease, at(10_000))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


async def test_a_server_that_comes_back_takes_its_lease_and_those_of_others_go_in_time(
    make: Any, engine: Any
) -> None:
    await make("namespaces", {"metadata": {"name": NAMESPACE}})
    clock, local = Clock(), Local(engine)
    first, other = OwnLease(local, clock, "m1"), OwnLease(local, clock, "m2")
    await first.renew()
    await other.renew()
    clock.now += 3000
    again = OwnLease(local, clock, "m1")
    await again.renew()
    clock.now += 1000
    await again.sweep()

    found = await local.get(GROUP, LEASES, NAMESPACE, name_of("m1"))
    assert found is not None
    assert found["spec"]["holderIdentity"] == again.holder != first.holder
    assert found["metadata"]["labels"]["kubernetes.io/hostname"] == "m1"
    assert await local.get(GROUP, LEASES, NAMESPACE, name_of("m2")) is None
