"""Mounts below which nothing can be written."""

import pytest

from kybern.api.core_v1 import VolumeMount
from kybern.kubelet import recursive
from kybern.kubelet.volumes.plugin import CannotMount
from tests.unit.kubelet.making import container


@pytest.mark.parametrize(
    ("said", "able", "paths"),
    [
        ("", True, set()),
        ("Disabled", True, set()),
        ("IfPossible", True, {"/v"}),
        ("Enabled", True, {"/v"}),
        ("IfPossible", False, set()),
    ],
)
def test_what_is_so_is_what_is_asked_and_can_be(said: str, able: bool, paths: set[str]) -> None:
    one = container(
        volume_mounts=(VolumeMount(name="v", mount_path="v", read_only=True, recursive_read_only=said),)
    )

    assert recursive.paths(one, able=able) == paths


def test_what_must_be_so_and_cannot_is_refused_in_upstream_s_words() -> None:
    one = container(
        volume_mounts=(
            VolumeMount(name="mnt", mount_path="/v", read_only=True, recursive_read_only="Enabled"),
        )
    )

    with pytest.raises(CannotMount) as refused:
        recursive.paths(one, able=False)

    assert str(refused.value) == (
        'failed to resolve recursive read-only mode: volume "mnt" requested recursive read-only mode, '
        "but it is not supported by the runtime"
    )
