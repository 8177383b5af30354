"""When a volume's phase last changed."""

from typing import Any

import pytest

from kybern.api.core_v1 import persistentvolume

OLD, OWN, NOW = "2024-01-01T00:00:00Z", "2024-05-05T00:00:00Z", "2025-06-15T15:06:40Z"


@pytest.mark.parametrize(
    ("before", "after", "when"),
    [
        pytest.param(("Pending", OLD), ("Available", OLD), NOW, id="phase-changed"),
        pytest.param(("Pending", OLD), ("Available", None), NOW, id="changed-and-dropped"),
        pytest.param(("Pending", None), ("Bound", None), NOW, id="never-noted"),
        pytest.param(("Pending", OLD), ("Available", OWN), OWN, id="writer-knows-better"),
        pytest.param(("Bound", OLD), ("Bound", None), OLD, id="same-phase-keeps-it"),
        pytest.param(("Bound", OLD), ("Bound", OWN), OWN, id="same-phase-writer-sets-it"),
        pytest.param(("Bound", None), ("Bound", None), None, id="nothing-known"),
    ],
)
def test_transition_time(
    before: tuple[str, str | None], after: tuple[str, str | None], when: str | None
) -> None:
    """A status write that changes the phase is stamped, unless it brings a time of its own."""
    old, new = _volume(*before), _volume(*after)
    persistentvolume.KIND.rules.stamp_status(new, old, NOW)
    assert new["status"].get("lastPhaseTransitionTime") == when


def _volume(phase: str, when: str | None) -> dict[str, Any]:
    return {"status": {"phase": phase} | ({"lastPhaseTransitionTime": when} if when else {})}
