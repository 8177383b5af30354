"""Volumes of iSCSI targets: what open-iscsi is asked, what is read of the system, who is the last that uses a target.

The programs answer in the shapes that open-iscsi 2.1 and util-linux have; no target is there.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kybern.api.core_v1 import (
    ISCSIPersistentVolumeSource,
    ISCSIVolumeSource,
    LocalObjectReference,
    PersistentVolume,
    PersistentVolumeSpec,
    Secret,
    Volume,
)
from kybern.api.meta_v1 import ObjectMeta
from kybern.daemon import mounts as mounts_of_daemon
from kybern.kubelet.volumes import file_system, iscsi, kernel
from kybern.kubelet.volumes.open_iscsi import OpenIscsi, Target, chap, with_values
from kybern.kubelet.volumes.plugin import CannotMount, Site
from tests.unit.kubelet.making import pod

IQN, PORTAL, SECOND = "iqn.2001-04.com.example:disk", "10.0.2.15:3260", "10.0.2.16:3260"
RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2001-04.com.example:disk
node.session.auth.authmethod = None
# END RECORD
"""


class Machine:
    """open-iscsi with a target, as far as it shows: records, /sys, and names of disks. ``refuses``: words that fail."""

    def __init__(self, at: Path, *refuses: str) -> None:
        self.at = at
        self.refuses = refuses
        self.asked: list[str] = []
        self.blkid = (0, "DEVNAME=/dev/sda\nTYPE=ext4\n")
        self.secrets_when_logging_in = ""
        scan = at / "sys/class/scsi_host/host3"
        scan.mkdir(parents=True)
        (scan / "scan").touch()
        (at / "by-path").mkdir()
        (at / "dev").mkdir()

    def logged_in(self, portal: str, number: int = 1) -> None:
        session = self.at / f"sys/class/iscsi_host/host3/device/session{number}"
        about = session / f"iscsi_session/session{number}"
        connection = session / f"connection{number}:0/iscsi_connection/connection{number}:0"
        for directory in (about, connection):
            directory.mkdir(parents=True, exist_ok=True)
        (about / "targetname").write_text(f"{IQN}\n")
        host, _, port = portal.rpartition(":")
        (connection / "persistent_address").write_text(f"{host}\n")
        (connection / "persistent_port").write_text(f"{port}\n")
        device = self.at / f"dev/sd{'abc'[number - 1]}"
        device.touch()
        delete = self.at / f"sys/block/{device.name}/device/delete"
        delete.parent.mkdir(parents=True, exist_ok=True)
        delete.touch()
        link = self.at / f"by-path/ip-{portal}-iscsi-{IQN}-lun-0"
        if not link.is_symlink():
            link.symlink_to(device)

    async def run(self, words: Sequence[str]) -> tuple[int, str]:
        said = " ".join(words)
        self.asked.append(said)
        if any(part in said for part in self.refuses):
            return 8, "iscsiadm: connection timed out\n"
        if words[0] == "blkid":
            return self.blkid
        if said.startswith("iscsiadm -m iface"):
            return (
                0,
                "# BEGIN RECORD 2.1.8\niface.iscsi_ifacename = default\niface.transport_name = tcp\n# END RECORD\n",
            )
        portal = words[words.index("-p") + 1] if "-p" in words else ""
        place = portal.replace(":", ",")
        if said.endswith("-o new"):
            self._record(f"etc/send_targets/{place}/st_config")
        if said.endswith("--discover"):
            self._record(f"etc/nodes/{IQN}/{place},1/default")
            return 0, f"{portal},1 {IQN}\n"
        if said.endswith("--login"):
            record = self.at / f"etc/nodes/{IQN}/{place},1/default"
            self.secrets_when_logging_in = record.read_text()
            self.logged_in(portal, 1 + (portal == SECOND))
        return 0, ""

    def _record(self, where: str) -> None:
        (self.at / where).parent.mkdir(parents=True, exist_ok=True)
        (self.at / where).write_text(RECORD)

    def iscsi(self) -> OpenIscsi:
        return OpenIscsi(self.run, self.at / "sys", self.at / "by-path", (self.at / "etc",))


class Objects:
    def __init__(self, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.found = Secret(metadata=ObjectMeta(name="chap", namespace="default"), data=encoded)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        return self.found if (namespace, name) == ("default", "chap") else None


class Mounts:
    """The kernel's, by target."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[Path, tuple[str, str, tuple[str, ...]]] = {}
        monkeypatch.setattr(kernel, "is_mounted", self.there.__contains__)
        monkeypatch.setattr(kernel, "mount", self.mount)
        monkeypatch.setattr(kernel, "unmount", lambda target: self.there.pop(target, None))
        monkeypatch.setattr(mounts_of_daemon, "mounts", self.listed)

    def mount(self, source: str, target: Path, kind: str, options: tuple[str, ...]) -> None:
        self.there[target] = (source, kind, options)

    def listed(self) -> list[Any]:
        return [SimpleNamespace(device="8:0", point=target) for target in self.there]


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    return Mounts(monkeypatch)


def site(root: Path, uid: str = "u1", *, block: bool = False, objects: Any = None, **source: Any) -> Site:
    given: dict[str, Any] = {"target_portal": "10.0.2.15", "iqn": IQN, "lun": 0, "fs_type": "ext4"} | source
    kind = "volumeDevices" if block else "volumes"
    directory = root / "pods" / uid / kind / "kubernetes.io~iscsi/v"
    where: Any = None
    api: Any = objects or Objects()
    return Site(pod(), Volume(name="v", iscsi=ISCSIVolumeSource(**given)), directory, api, where)


def test_a_target_is_read_with_its_ports() -> None:
    found = iscsi.target_of(
        ISCSIVolumeSource(
            target_portal="10.0.2.15", portals=("[fd00::1]", "10.0.2.15:3260", "h:1"), iqn=IQN, lun=2
        )
    )

    assert found.portals == ("10.0.2.15:3260", "[fd00::1]:3260", "h:1")
    assert (found.lun, found.interface) == (2, "default")
    with pytest.raises(CannotMount, match="initiatorName"):
        iscsi.target_of(ISCSIVolumeSource(target_portal="a", iqn=IQN, lun=0, initiator_name="iqn.x"))
    for odd in ("iqn.2001-04.com.example:../../etc", "-p", "iqn.x:a b"):
        with pytest.raises(CannotMount, match="is no name of a target"):
            iscsi.target_of(ISCSIVolumeSource(target_portal="a", iqn=odd, lun=0))
    with pytest.raises(CannotMount, match="are needed"):
        iscsi.target_of(ISCSIVolumeSource(target_portal="a", iqn=IQN))


def test_the_volume_may_be_a_persistent_one(tmp_path: Path) -> None:
    spec = PersistentVolumeSpec(iscsi=ISCSIPersistentVolumeSource(target_portal="a", iqn=IQN, lun=0))
    where: Any = None
    objects: Any = Objects()
    found = Site(pod(), Volume(name="v"), tmp_path, objects, where, PersistentVolume(spec=spec))

    assert iscsi.source_of(found).iqn == IQN


async def test_a_file_system_is_mounted_once_a_node_and_shown_to_each_pod(
    tmp_path: Path, mounts: Mounts
) -> None:
    machine = Machine(tmp_path)
    disks = iscsi.Disks(machine.iscsi(), machine.run)

    one = await disks.set_up(site(tmp_path))
    two = await disks.set_up(site(tmp_path, "u2", read_only=True))
    await disks.set_up(site(tmp_path))

    whole = tmp_path / f"plugins/kubernetes.io/iscsi/iface-default/{PORTAL}-{IQN}-lun-0"
    device = str(tmp_path / f"by-path/ip-{PORTAL}-iscsi-{IQN}-lun-0")
    assert mounts.there == {
        whole: (device, "ext4", ()),
        one: (str(whole), "none", ("bind",)),
        two: (str(whole), "none", ("bind", "ro")),
    }
    assert [words for words in machine.asked if words.startswith("iscsiadm")] == [
        "iscsiadm -m iface -I default -o show",
        f"iscsiadm -m discoverydb -t sendtargets -p {PORTAL} -I default -o new",
        f"iscsiadm -m discoverydb -t sendtargets -p {PORTAL} -I default --discover",
        f"iscsiadm -m node -p {PORTAL} -T {IQN} -I default --login",
        f"iscsiadm -m node -p {PORTAL} -T {IQN} -I default -o update -n node.startup -v manual",
    ]
    assert (tmp_path / "sys/class/scsi_host/host3/scan").read_text() == "0 0 0"


async def test_the_session_ends_with_the_last_pod(tmp_path: Path, mounts: Mounts) -> None:
    machine = Machine(tmp_path)
    disks = iscsi.Disks(machine.iscsi(), machine.run)
    one, two = await disks.set_up(site(tmp_path)), await disks.set_up(site(tmp_path, "u2"))
    machine.asked.clear()

    del mounts.there[one]
    await disks.tidy(tmp_path)
    assert machine.asked == []
    del mounts.there[two]
    await disks.tidy(tmp_path)

    assert machine.asked == [
        f"iscsiadm -m node -p {PORTAL} -T {IQN} -I default --logout",
        f"iscsiadm -m node -p {PORTAL} -T {IQN} -I default -o delete",
    ]
    assert mounts.there == {}
    assert (tmp_path / "sys/block/sda/device/delete").read_text() == "1"
    assert list((tmp_path / "plugins").rglob("*lun*")) == []
    machine.asked.clear()
    await disks.tidy(tmp_path)
    assert machine.asked == []


async def test_another_lun_of_the_target_keeps_the_session(
    tmp_path: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    (tmp_path / f"by-path/ip-{PORTAL}-iscsi-{IQN}-lun-1").symlink_to(tmp_path / "dev/sdb")
    disks = iscsi.Disks(machine.iscsi(), machine.run)
    one = await disks.set_up(site(tmp_path))
    await disks.set_up(site(tmp_path, "u2", lun=1))
    machine.asked.clear()

    del mounts.there[one]
    # Each LUN is a device of its own.
    second = {target for target in mounts.there if "u2" in target.parts or target.name.endswith("lun-1")}
    there = [SimpleNamespace(device="8:16" if at in second else "8:0", point=at) for at in mounts.there]
    monkeypatch.setattr(mounts_of_daemon, "mounts", lambda: there)
    await disks.tidy(tmp_path)

    assert machine.asked == []
    assert [path.name for path in (tmp_path / "plugins").rglob("*.json")] == [f"{PORTAL}-{IQN}-lun-1.json"]


async def test_secrets_are_in_records_and_never_among_words(tmp_path: Path, mounts: Mounts) -> None:
    machine = Machine(tmp_path)
    secrets = {
        "discovery.sendtargets.auth.username": "finder", "discovery.sendtargets.auth.password": "hush-1",
        "node.session.auth.username": "user", "node.session.auth.password": "hush-2",
    }  # fmt: skip
    chapped = site(
        tmp_path, objects=Objects(**secrets), chap_auth_discovery=True, chap_auth_session=True,
        secret_ref=LocalObjectReference(name="chap"),
    )  # fmt: skip

    await iscsi.Disks(machine.iscsi(), machine.run).set_up(chapped)

    assert not any("hush" in words for words in machine.asked)
    assert "node.session.auth.authmethod = CHAP" in machine.secrets_when_logging_in
    assert "node.session.auth.password = hush-2" in machine.secrets_when_logging_in
    assert "authmethod = None" not in machine.secrets_when_logging_in
    (record,) = (tmp_path / "etc/send_targets").rglob("st_config")
    assert "discovery.sendtargets.auth.password = hush-1" in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600
    (note,) = (tmp_path / "plugins").rglob("*.json")
    assert "hush" not in note.read_text()


async def test_a_secret_that_is_missing_is_told(tmp_path: Path, mounts: Mounts) -> None:
    disks = iscsi.Disks(Machine(tmp_path).iscsi())

    with pytest.raises(CannotMount, match="there is no secretRef"):
        await disks.set_up(site(tmp_path, chap_auth_session=True))
    with pytest.raises(CannotMount, match="failed to get secret"):
        await disks.set_up(
            site(tmp_path, chap_auth_session=True, secret_ref=LocalObjectReference(name="other"))
        )


def test_a_record_keeps_all_that_is_not_given() -> None:
    found = with_values(RECORD, chap("node.session.auth", {"node.session.auth.username": "me"}))

    assert found.splitlines() == [
        "# BEGIN RECORD 2.1.8", f"node.name = {IQN}", "node.session.auth.authmethod = CHAP",
        "node.session.auth.username = me", "# END RECORD",
    ]  # fmt: skip
    with pytest.raises(CannotMount, match="more than one line"):
        with_values(RECORD, {"node.session.auth.password": "a\nnode.startup = automatic"})


async def test_a_portal_that_is_away_is_no_harm_while_another_answers(tmp_path: Path) -> None:
    machine = Machine(tmp_path, f"-p {PORTAL} -I default --discover")
    wanted = Target((PORTAL, SECOND), IQN, 0)

    found = await machine.iscsi().attach(wanted)

    assert found == (tmp_path / f"by-path/ip-{SECOND}-iscsi-{IQN}-lun-0",)
    assert f"iscsiadm -m discoverydb -t sendtargets -p {PORTAL} -I default -o delete" in machine.asked


async def test_a_target_that_does_not_answer_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "--login")

    with pytest.raises(CannotMount, match="failed to attach disk: Error: iscsiadm: connection timed out"):
        await machine.iscsi().attach(Target((PORTAL,), IQN, 0))

    assert machine.asked[-1] == f"iscsiadm -m node -p {PORTAL} -T {IQN} -I default -o delete"


async def test_paths_that_are_joined_are_one_device(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    paths = await machine.iscsi().attach(Target((PORTAL, SECOND), IQN, 0))
    (tmp_path / "sys/block/sdb/holders/dm-4").mkdir(parents=True)
    (tmp_path / "sys/block/dm-4/dm").mkdir(parents=True)
    (tmp_path / "sys/block/dm-4/dm/uuid").write_text("mpath-36001405\n")

    assert len(paths) == 2
    assert await machine.iscsi().multipath(paths) == Path("/dev/dm-4")
    assert await machine.iscsi().multipath(paths[:1]) == paths[0]


async def test_a_device_is_shown_by_links(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    disks = iscsi.Disks(machine.iscsi(), machine.run)

    link = await disks.map(site(tmp_path, block=True))

    assert link.resolve() == tmp_path / "dev/sda"
    await disks.tidy(tmp_path)
    assert not any("--logout" in words for words in machine.asked)
    link.unlink()
    await disks.tidy(tmp_path)
    assert any("--logout" in words for words in machine.asked)
    assert list((tmp_path / "plugins").rglob("*lun*")) == []


@pytest.mark.parametrize(
    ("blkid", "options", "words"),
    [
        ((2, ""), (), "mkfs.ext4 -F -m0 /dev/x"),
        ((0, "TYPE=ext4\n"), (), "fsck -a /dev/x"),
        ((0, "TYPE=ext4\n"), ("ro",), "blkid"),
    ],
)
async def test_a_file_system_is_made_only_on_an_empty_disk(
    tmp_path: Path, mounts: Mounts, blkid: tuple[int, str], options: tuple[str, ...], words: str
) -> None:
    machine = Machine(tmp_path)
    machine.blkid = blkid

    await file_system.mounted(machine.run, Path("/dev/x"), tmp_path / "at", "ext4", options)

    assert machine.asked[-1].startswith(words)
    assert mounts.there == {tmp_path / "at": ("/dev/x", "ext4", options)}


@pytest.mark.parametrize(
    ("blkid", "options", "complaint"),
    [
        ((0, "TYPE=xfs\n"), (), "failed to mount the volume as ext4, it already contains xfs"),
        ((0, "PTTYPE=gpt\n"), (), "it already contains unknown data, probably partitions"),
        ((2, ""), ("ro",), "cannot mount unformatted disk /dev/x"),
        ((4, "blkid: error"), (), "blkid ended with 4"),
    ],
)
async def test_data_is_never_written_over(
    tmp_path: Path, mounts: Mounts, blkid: tuple[int, str], options: tuple[str, ...], complaint: str
) -> None:
    machine = Machine(tmp_path)
    machine.blkid = blkid

    with pytest.raises(CannotMount, match=complaint):
        await file_system.mounted(machine.run, Path("/dev/x"), tmp_path / "at", "ext4", options)

    assert mounts.there == {}
    assert not any("mkfs" in words for words in machine.asked)
