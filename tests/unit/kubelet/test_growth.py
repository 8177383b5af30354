"""When a volume grows on its node, and what its claim says of it."""

from datetime import UTC, datetime

import pytest

from kybern._proto import csi_pb2 as pb
from kybern.api.core_v1 import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from kybern.kubelet.csi import growth
from kybern.kubelet.stats.claimed import said
from kybern.kubelet.stats.use import VolumeUse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim(has: str, state: str = "", *conditions: str) -> PersistentVolumeClaim:
    marks = {"storage": state} if state else {}
    status = PersistentVolumeClaimStatus(
        capacity={"storage": has},
        allocated_resource_statuses={**marks, "other": "kept"},
        conditions=tuple(PersistentVolumeClaimCondition(type=one, status="True") for one in conditions),
    )
    return PersistentVolumeClaim(status=status)


def volume(size: str) -> PersistentVolume:
    return PersistentVolume(spec=PersistentVolumeSpec(capacity={"storage": size}))


@pytest.mark.parametrize(
    ("has", "state", "size", "wanted"),
    [
        ("1Gi", "NodeResizePending", "2Gi", "2Gi"),
        ("1Gi", "NodeResizeInProgress", "2Gi", "2Gi"),
        ("1Gi", "NodeResizeInfeasible", "2Gi", ""),
        ("1Gi", "ControllerResizeInProgress", "2Gi", ""),
        ("1Gi", "", "2Gi", ""),
        ("2Gi", "NodeResizePending", "2048Mi", ""),
        ("3Gi", "NodeResizePending", "2Gi", ""),
    ],
)
def test_a_volume_grows_here_when_its_controller_has_made_it_larger(
    has: str, state: str, size: str, wanted: str
) -> None:
    assert growth.wanted(claim(has, state), volume(size)) == wanted


def test_a_claim_whose_volume_has_grown_says_nothing_of_it_any_more() -> None:
    found = growth.done(claim("1Gi", "NodeResizeInProgress", "FileSystemResizePending", "Other"), "2Gi")

    assert found.status.capacity == {"storage": "2Gi"}
    assert found.status.allocated_resource_statuses == {"other": "kept"}
    assert [one.type for one in found.status.conditions] == ["Other"]


def test_a_failure_is_told_once_and_keeps_what_else_is_said() -> None:
    once = growth.failed(claim("1Gi", growth.IN_PROGRESS, "Other"), "no", NOW, infeasible=False)

    assert once.status.allocated_resource_statuses["storage"] == growth.IN_PROGRESS
    assert [one.type for one in once.status.conditions] == ["Other", "NodeResizeError"]
    assert growth.failed(once, "no", NOW.replace(hour=1), infeasible=False) == once


def test_what_a_driver_does_not_say_is_not_made_up() -> None:
    size = pb.VolumeUsage(total=10, used=4, available=6, unit=1)

    assert said(pb.NodeGetVolumeStatsResponse(usage=(size,)), 1.0) == VolumeUse(1.0, 10, 6, 4)
    assert not said(pb.NodeGetVolumeStatsResponse(), 1.0).known
