"""Empty directories on the node's disk, in memory and in huge pages."""

import stat
from pathlib import Path
from typing import Any, cast

import pytest

from kybern.api.core_v1 import EmptyDirVolumeSource, Pod, PodSecurityContext, ResourceRequirements, Volume
from kybern.kubelet.fields import Place
from kybern.kubelet.volumes import empty_dir, kernel
from kybern.kubelet.volumes.plugin import CannotMount, Objects, Site
from tests.unit.kubelet.making import container, pod


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


GIBI = 1 << 30


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        kernel, "mount", lambda source, _where, kind, options: found.append((source, kind, options))
    )
    return found


async def set_up(of: Pod, where: Path, **source: Any) -> None:
    volume = Volume(name="v", empty_dir=EmptyDirVolumeSource(**source))
    await empty_dir.PLUGIN.set_up(Site(of, volume, where, cast("Objects", None), Place(memory=8 * GIBI)))


def asking(*limits: dict[str, str], whole: dict[str, str] | None = None, group: int | None = None) -> Pod:
    each = [
        container(f"c{number}", resources=ResourceRequirements(limits=limit, requests=limit))
        for number, limit in enumerate(limits)
    ]
    more = {"resources": ResourceRequirements(limits=whole, requests=whole)} if whole else {}
    return pod(*each, security_context=PodSecurityContext(fs_group=group), **more)


@pytest.mark.parametrize(
    ("of", "asked", "size"),
    [
        (asking({}), "", 8 * GIBI),
        (asking({}), "1Gi", GIBI),
        (asking({}), "9Gi", 8 * GIBI),
        (asking({"memory": "1Gi"}, {"memory": "2Gi"}), "", 3 * GIBI),
        (asking({"memory": "1Gi"}, {"memory": "2Gi"}), "4Gi", 3 * GIBI),
        (asking({"memory": "1Gi"}, {}), "", 8 * GIBI),
        (asking({}, whole={"memory": "2Gi"}), "", 2 * GIBI),
    ],
)
async def test_one_in_memory_grows_no_larger_than_the_pod_or_the_node(
    of: Pod, asked: str, size: int, tmp_path: Path, mounted: list[tuple[Any, ...]]
) -> None:
    await set_up(of, tmp_path / "v", medium="Memory", size_limit=asked)

    ((source, kind, options),) = mounted
    assert (source, kind) == ("tmpfs", "tmpfs")
    assert f"size={size}" in options


@pytest.mark.parametrize(
    ("medium", "of", "options"),
    [
        ("HugePages", asking({"hugepages-2Mi": "4Mi"}), ("pagesize=2Mi",)),
        ("HugePages-1Gi", asking({"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}), ("pagesize=1Gi",)),
        ("HugePages-2048Ki", asking({}, whole={"hugepages-2Mi": "4Mi"}), ("pagesize=2Mi",)),
    ],
)
async def test_one_in_huge_pages_has_those_that_the_pod_asks_for(
    medium: str, of: Pod, options: tuple[str, ...], tmp_path: Path, mounted: list[tuple[Any, ...]]
) -> None:
    await set_up(of, tmp_path / "v", medium=medium)

    assert mounted == [("nodev", "hugetlbfs", options)]


async def test_huge_pages_are_the_pods_groups(
    tmp_path: Path, mounted: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owned: list[tuple[Path, int | None]] = []
    monkeypatch.setattr(empty_dir, "own", lambda where, group: owned.append((where, group)))

    await set_up(asking({"hugepages-2Mi": "4Mi"}, group=7), tmp_path / "v", medium="HugePages")

    assert len(mounted) == 1
    assert owned == [(tmp_path / "v", 7)]


@pytest.mark.parametrize(
    ("medium", "of", "text"),
    [
        ("HugePages", asking({}), "there is no resource request for huge pages"),
        ("HugePages-1Gi", asking({"hugepages-2Mi": "4Mi"}), "there is no resource request for huge pages"),
        (
            "HugePages",
            asking({"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"}),
            "medium: HugePages can't be used if container requests multiple huge page sizes",
        ),
        ("Paper", asking({}), "unknown storage medium 'Paper'"),
    ],
)
async def test_a_medium_that_cannot_be_had_is_told(medium: str, of: Pod, text: str, tmp_path: Path) -> None:
    with pytest.raises(CannotMount, match=text):
        await set_up(of, tmp_path / "v", medium=medium)
