"""Which device of a virtual machine a volume is: by its serial number, as udev has it, or as the kernel has it."""

from pathlib import Path

import pytest

from kybern.cloud.volumes import devices


def test_udev_s_name_leads_to_the_disk(tmp_path: Path) -> None:
    (tmp_path / "dev/disk/by-id").mkdir(parents=True)
    (tmp_path / "dev/vdc").touch()
    (tmp_path / "dev/disk/by-id/virtio-abc").symlink_to("../../vdc")

    assert devices.find({"serial": "abc"}, tmp_path) == tmp_path / "dev/vdc"


def test_without_udev_the_kernel_is_asked(tmp_path: Path) -> None:
    for name, serial in (("vda", "other"), ("vdd", "abc")):
        (tmp_path / "sys/block" / name).mkdir(parents=True)
        (tmp_path / "sys/block" / name / "serial").write_text(f"{serial}\n")

    assert devices.find({"serial": "abc"}, tmp_path) == tmp_path / "dev/vdd"
    with pytest.raises(FileNotFoundError, match="has the serial number ab"):
        devices.find({"serial": "ab", "device": "/dev/vda"}, tmp_path)
