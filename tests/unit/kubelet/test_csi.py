"""What drivers are told of volumes, and what is kept of them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kybern.api.core_v1 import (
    CSIPersistentVolumeSource,
    CSIVolumeSource,
    PersistentVolume,
    PersistentVolumeSpec,
    SecretReference,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.api.storage_v1 import CSIDriver, CSIDriverSpec, CSINodeDriver, VolumeNodeResources
from kybern.kubelet.csi import names, wanted
from kybern.kubelet.csi.allocatable import due, with_count
from kybern.kubelet.csi.driver import GROUPS, MANY_WRITERS, Info
from kybern.kubelet.csi.names import Record
from kybern.kubelet.csi.registry import with_driver
from kybern.kubelet.volumes.ownership import own_tree
from kybern.kubelet.volumes.plugin import CannotMount
from tests.unit.kubelet.making import pod


def persistent(*modes: str, **more: Any) -> wanted.Wanted:
    source = CSIPersistentVolumeSource(
        driver="d", volume_handle="h", fs_type=more.pop("fs_type", "ext4"),
        node_stage_secret_ref=SecretReference(name="key", namespace="ns"), volume_attributes={"a": "1"},
    )  # fmt: skip
    spec = PersistentVolumeSpec(
        csi=source, access_modes=modes or ("ReadWriteOnce",), mount_options=("noatime",)
    )
    found = PersistentVolume(metadata=ObjectMeta(name="pv"), spec=spec)
    return wanted.of_persistent(found, read_only=more.pop("read_only", False))


def inline() -> wanted.Wanted:
    return wanted.of_inline(pod(), Volume(name="v", csi=CSIVolumeSource(driver="d", fs_type="ext4")))


def driver(**spec: Any) -> CSIDriver:
    return CSIDriver(metadata=ObjectMeta(name="d"), spec=CSIDriverSpec(**spec))


def test_a_persistent_volume_says_what_its_driver_needs() -> None:
    found = persistent()

    assert (found.name, found.handle, found.stage_secret) == ("pv", "h", ("ns", "key"))
    assert found.publish_secret == ("", "")


@pytest.mark.parametrize(
    ("modes", "abilities", "number"),
    [
        (("ReadWriteOnce",), (), 1), (("ReadOnlyMany",), (), 3), (("ReadWriteMany",), (), 5), (("ReadWriteOncePod",), (), 1),
        (("ReadWriteOnce",), (MANY_WRITERS,), 7), (("ReadWriteOncePod",), (MANY_WRITERS,), 6),
    ],
)  # fmt: skip
def test_access_modes_are_numbers(modes: tuple[str, ...], abilities: tuple[int, ...], number: int) -> None:
    found = wanted.capability(persistent(*modes), frozenset(abilities), None)

    assert found.access_mode.mode == number
    assert list(found.mount.mount_flags) == ["noatime"]
    assert found.mount.volume_mount_group == ""


def test_a_driver_may_give_the_volume_to_the_group_itself() -> None:
    assert wanted.capability(persistent(), frozenset({GROUPS}), 3000).mount.volume_mount_group == "3000"
    assert not wanted.gives_group(persistent(), driver(fs_group_policy="File"), frozenset({GROUPS}))


@pytest.mark.parametrize(
    ("policy", "volume", "given"),
    [
        ("", persistent(), True), ("", persistent("ReadWriteMany"), False), ("", persistent(fs_type=""), False),
        ("", inline(), True), ("File", persistent("ReadWriteMany", fs_type=""), True), ("None", persistent(), False),
        ("File", persistent(read_only=True), False),
    ],
)  # fmt: skip
def test_whether_the_group_gets_the_volume_is_the_drivers_policy(
    policy: str, volume: wanted.Wanted, given: bool
) -> None:
    assert wanted.gives_group(volume, driver(fs_group_policy=policy), frozenset()) is given


def test_attachments_are_needed_unless_the_driver_says_otherwise() -> None:
    assert wanted.needs_attachment(persistent(), None)
    assert not wanted.needs_attachment(persistent(), driver(attach_required=False))
    assert not wanted.needs_attachment(inline(), None)


def test_a_driver_says_for_how_long_volumes_may_live() -> None:
    with pytest.raises(CannotMount, match='volume mode "Ephemeral" not supported by driver d'):
        wanted.check_mode(inline(), None)
    wanted.check_mode(inline(), driver(volume_lifecycle_modes=("Persistent", "Ephemeral")))
    wanted.check_mode(persistent(), None)


def test_a_driver_learns_of_the_pod_what_it_asks_for() -> None:
    body = base64.urlsafe_b64encode(json.dumps({"exp": 3600}).encode()).decode().rstrip("=")

    quiet = wanted.context(persistent(), driver(), pod())
    told = wanted.context(persistent(), driver(pod_info_on_mount=True), pod())
    tokens = wanted.tokens({"hub": f"x.{body}.y"})

    assert quiet == {"a": "1"}
    assert told["csi.storage.k8s.io/ephemeral"] == "false"
    assert wanted.tokens({}) == {}
    assert json.loads(tokens["csi.storage.k8s.io/serviceAccount.tokens"]) == {
        "hub": {"token": f"x.{body}.y", "expirationTimestamp": "1970-01-01T01:00:00Z"}
    }


def test_names_are_those_that_controllers_look_for() -> None:
    # sha256 of "vol" + "driver" + "node", as the attacher computes it.
    assert names.attachment_name("vol", "driver", "node") == (
        "csi-4af94228ee9d441e02225497584706bfc975bdb4d2db3571d8c5db2668c1e969"
    )


def test_records_are_found_again(tmp_path: Path) -> None:
    record = Record("d", "h", "pv", "n1", attachment="csi-x")
    home = tmp_path / "pods/u1"
    names.write(home / "volumes/kubernetes.io~csi/pv", record)
    names.write(names.staging(tmp_path, "d", "h"), record)
    (home / "volumes/kubernetes.io~csi/broken").mkdir()

    assert [found for _directory, found in names.of_pod(home)] == [record]
    assert list(names.of_pods(tmp_path)) == [record]
    ((directory, _record),) = names.staged(tmp_path)
    names.forget(directory)
    assert list(names.staged(tmp_path)) == []


def test_a_driver_is_listed_once() -> None:
    before = (CSINodeDriver(name="d", node_id="old"), CSINodeDriver(name="other", node_id="x"))

    found = with_driver(before, "d", Info("new", 3, {"zone": "a"}))

    assert [(one.name, one.node_id) for one in found] == [("other", "x"), ("d", "new")]
    assert found[1].topology_keys == ("zone",)
    assert found[1].allocatable is not None


@pytest.mark.parametrize(
    ("now", "period", "full", "asked"),
    [
        (9.0, 10, False, False),
        (10.0, 10, False, True),
        (1.0, 10, True, True),
        (99.0, None, False, False),
        (1.0, None, True, False),
    ],
)
def test_a_driver_is_asked_again_when_it_wants_to_be(
    now: float, period: int | None, full: bool, asked: bool
) -> None:
    assert due(now, 0.0, period, full=full) is asked


def test_only_the_number_of_one_driver_changes() -> None:
    before = (
        CSINodeDriver(name="d", node_id="n", topology_keys=("zone",)),
        CSINodeDriver(name="e", node_id="n"),
    )

    more, any_number = with_count(before, "d", 5), with_count(before, "d", 0)

    assert more[0].allocatable == VolumeNodeResources(count=5)
    assert (more[0].topology_keys, more[1]) == (("zone",), before[1])
    assert any_number == before


def test_a_tree_is_given_to_the_group_but_not_what_links_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(mode=0o600)
    volume = tmp_path / "volume"
    (volume / "below").mkdir(parents=True)
    (volume / "below/file").touch(mode=0o600)
    (volume / "link").symlink_to(outside)

    own_tree(volume, 3000)

    assert [path.stat().st_gid for path in (volume, volume / "below/file")] == [3000, 3000]
    assert (volume / "below").stat().st_mode & 0o7777 == 0o2775
    assert (volume / "below/file").stat().st_mode & 0o777 == 0o660
    assert outside.stat().st_gid != 3000


def test_a_tree_whose_root_is_the_groups_may_be_left_alone(tmp_path: Path) -> None:
    own_tree(tmp_path, 3000)
    (tmp_path / "later").touch(mode=0o600)
    (tmp_path / "later").chmod(0o600)

    own_tree(tmp_path, 3000, "OnRootMismatch")
    assert (tmp_path / "later").stat().st_mode & 0o777 == 0o600
    own_tree(tmp_path, 3000, "Always")
    assert (tmp_path / "later").stat().st_mode & 0o777 == 0o660
