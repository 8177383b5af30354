"""Empty directories on the node's disk."""

import stat
from pathlib import Path
from typing import cast

from kybern.api.core_v1 import EmptyDirVolumeSource, Volume
from kybern.kubelet.fields import Place
from kybern.kubelet.volumes import empty_dir
from kybern.kubelet.volumes.plugin import Objects, Site
from tests.unit.kubelet.making import pod


async def test_what_a_container_did_to_it_outlives_a_restart_of_the_kubelet(tmp_path: Path) -> None:
    volume = Volume(name="v", empty_dir=EmptyDirVolumeSource())
    site = Site(pod(), volume, tmp_path / "volumes/v", cast("Objects", None), Place())

    made = await empty_dir.PLUGIN.set_up(site)
    fresh = stat.S_IMODE(made.stat().st_mode)
    made.chmod(0o700)
    again = await empty_dir.PLUGIN.set_up(site)

    assert fresh == 0o777
    assert stat.S_IMODE(again.stat().st_mode) == 0o700
    assert [path.name for path in made.parent.iterdir()] == ["v"]


async def test_one_that_was_half_made_is_made_anew(tmp_path: Path) -> None:
    volume = Volume(name="v", empty_dir=EmptyDirVolumeSource())
    (tmp_path / ".v.new").mkdir(mode=0o700)

    made = await empty_dir.PLUGIN.set_up(Site(pod(), volume, tmp_path / "v", cast("Objects", None), Place()))

    assert stat.S_IMODE(made.stat().st_mode) == 0o777
