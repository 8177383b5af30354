from dataclasses import replace
from pathlib import Path

import pytest

from kybern.machines.errors import MachineError
from kybern.machines.preflight import host as preflight
from kybern.machines.topology import Cluster


@pytest.mark.parametrize(
    "release", ['ID=debian\nVERSION_ID="12"', 'ID=debian\nVERSION_ID="13"', "ID=ubuntu\nVERSION_ID=24.04"]
)
def test_supported_distributions_pass(release: str) -> None:
    preflight.distribution(release)


@pytest.mark.parametrize("release", ['ID=debian\nVERSION_ID="11"', "ID=fedora\nVERSION_ID=42", ""])
def test_another_distribution_is_named_with_those_that_work(release: str) -> None:
    with pytest.raises(MachineError, match=r"is not supported; use Debian 12 or 13, or Ubuntu 24.04"):
        preflight.distribution(release)


def test_too_little_memory_is_told_with_both_numbers(cluster: Cluster) -> None:
    preflight.memory(cluster, 768)
    with pytest.raises(
        MachineError, match="767 MiB of memory are available, and cluster small needs about 768"
    ):
        preflight.memory(cluster, 767)


def test_a_virtual_machine_takes_all_of_its_memory(cluster: Cluster) -> None:
    with pytest.raises(MachineError, match="needs about 3072"):
        preflight.memory(replace(cluster, driver="qemu"), 3000)


def test_too_little_disk_is_told_with_its_place(cluster: Cluster) -> None:
    with pytest.raises(
        MachineError, match=r"/var has 100 MiB free, and cluster small needs about 3072; make room there"
    ):
        preflight.disk(cluster, Path("/var"), 100)


def test_available_memory_is_what_programs_may_take() -> None:
    assert preflight.available("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n") == 2
