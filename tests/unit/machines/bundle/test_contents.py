"""What a bundle has to hold for a topology, and what a deploy looks at before it begins."""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kybern.machines.bundle import contents, lock, taking, wheels
from kybern.machines.bundle.lock import Lock, Part
from kybern.machines.errors import MachineError
from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster, Netboot

ROOT = Path(__file__).parents[4]


def test_all_that_a_role_installs_is_in_it(cluster: Cluster) -> None:
    own = contents.packages(replace(cluster, driver="none"))
    made_here = contents.packages(cluster)

    for machine in cluster.machines:
        assert {*wanted_packages(cluster, machine)} <= set(own) < set(made_here)
    assert "linux-image-amd64" in contents.packages(replace(cluster, driver="qemu"))
    booted = replace(cluster, driver="none", netboot=Netboot(IPv4Address("10.9.0.5")))
    assert {"grub-pc-bin", "linux-image-amd64", "dnsmasq-base", "etcd-server"} <= set(
        contents.packages(booted)
    )
    assert "apt" in contents.asked(booted), "an image is made for them"
    assert "linux-image-amd64" not in made_here
    assert set(contents.BASE) <= set(contents.asked(cluster))


def test_another_topology_asks_for_something_else(cluster: Cluster) -> None:
    ipvs = replace(cluster, proxy_mode="ipvs", driver="none")

    assert contents.digest(contents.asked(ipvs)) != contents.digest(
        contents.asked(replace(ipvs, proxy_mode="nftables"))
    )


def test_the_packages_of_the_operator_s_computer_are_those_that_setup_installs() -> None:
    names = contents.listed((ROOT / "requirements/operator.packages").read_text())

    assert {"libvirt-dev", "python3", "ca-certificates"} <= set(names)
    assert all(name.replace("-", "").replace(".", "").replace("+", "").isalnum() for name in names)
    assert "requirements/operator.packages" in (ROOT / "scripts/setup").read_text()


def test_the_uv_of_setup_is_the_one_of_the_bundle() -> None:
    wanted = next(
        line.partition("=")[2]
        for line in (ROOT / "scripts/setup").read_text().splitlines()
        if line.startswith("uv_version=")
    )
    assert f"\nuv=={wanted} " in (ROOT / "requirements/build.lock").read_text()


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("zope_interface-8.0-cp313-cp313-manylinux_2_17_x86_64.whl", "zope-interface", "8.0"),
        ("libvirt_python-12.8.0.tar.gz", "libvirt-python", "12.8.0"),
        ("pytest-8.4.2-py3-none-any.whl", "pytest", "8.4.2"),
    ],
)
def test_a_package_is_known_by_its_file(file: str, name: str, version: str) -> None:
    assert wheels.named(file) == (name, version)


def test_a_package_that_the_bundle_lacks_is_told_before_anything_is_touched(
    cluster: Cluster, tmp_path: Path
) -> None:
    empty = Lock((Part(contents.MACHINES, "0" * 16, ()),))
    (tmp_path / lock.NAME).write_text(lock.text(empty))

    with pytest.raises(MachineError, match="it has no package busybox-static, which small wants"):
        taking.check(replace(cluster, bundle=str(tmp_path)))
    taking.check(cluster)
