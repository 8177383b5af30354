"""Providers are found by entry point, ours as a foreign one; the daemon says in a line what is wrong."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kybern.cli.cloud_controller_manager import chosen, opened
from kybern.cli.cloud_flags import flags
from kybern.cloud.controllers import NAMES
from kybern.cloud.libvirt.provider import open_provider
from kybern.cloud.provider import BadConfig
from kybern.cloud.providers import GROUP, find
from kybern.daemon.run import Fatal
from tests.unit.cloud.making import FakeCloud, open_fake

FAKE = "tests.unit.cloud.making:open_fake"


def installed(folder: Path, package: str, name: str, value: str) -> None:
    """What an installer leaves of a package with one entry point."""
    made = folder / f"{package}-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_with_an_entry_point_is_a_provider(packages: Path) -> None:
    installed(packages, "cloud-of-ours", "fake", FAKE)

    assert find("fake") is open_fake
    cloud = opened(flags().read(["--cloud-provider=fake"]))
    assert {one.name for one in chosen(flags().read([]), cloud)} == {*NAMES} - {"node-route-controller"}


def test_libvirt_is_registered_in_the_same_way() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    value = project["entry-points"][GROUP]["libvirt"]
    assert EntryPoint("libvirt", value, GROUP).load() is open_provider


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], 'unknown cloud provider "fake"; installed: '),
        ([FAKE, "kybern.cloud.libvirt.provider:open_provider"], 'cloud provider "fake" is two things'),
        (["no.such.module:it"], 'cannot load cloud provider "fake" .*No module named'),
    ],
)
def test_what_cannot_be_found_is_told(packages: Path, entries: list[str], why: str) -> None:
    for number, value in enumerate(entries):
        installed(packages, f"package_{number}", "fake", value)
    with pytest.raises(BadConfig, match=why):
        find("fake")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "--cloud-provider cannot be empty"),
        (("--cloud-provider=nope",), 'cannot use --cloud-provider=nope .*unknown cloud provider "nope"'),
        (
            ("--cloud-provider=x", "--cloud-config=/no/such"),
            "cannot read --cloud-config /no/such: No such file",
        ),
    ],
)
def test_a_daemon_without_its_cloud_ends_with_a_line(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(Fatal, match=why):
        opened(flags().read(arguments))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), {*NAMES} - {"node-route-controller"}),
        (("--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8"), {*NAMES}),
        (("--allocate-node-cidrs", "--configure-cloud-routes=false"), {*NAMES} - {"node-route-controller"}),
        (("--controllers=*,-service",), {"cloud-node-controller", "cloud-node-lifecycle-controller"}),
        (("--controllers=cloud-node",), {"cloud-node-controller"}),
    ],
)
def test_which_controllers_run(arguments: tuple[str, ...], names: set[str]) -> None:
    assert {one.name for one in chosen(flags().read(arguments), FakeCloud())} == names


def test_a_cloud_without_balancers_and_routes_runs_what_is_left() -> None:
    cloud = open_provider("cluster: lab\nhypervisors: {h: test:///default}")
    arguments = ["--allocate-node-cidrs", "--cluster-cidr=10.0.0.0/8"]
    found = {one.name for one in chosen(flags().read(arguments), cloud)}
    assert found == {"cloud-node-controller", "cloud-node-lifecycle-controller"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--controllers=*,nope",), '"nope" is not in the list of known controllers'),
        (("--allocate-node-cidrs",), "--configure-cloud-routes needs --cluster-cidr"),
        (("--cluster-cidr=10",), "invalid CIDR in --cluster-cidr"),
    ],
)
def test_what_is_asked_for_and_cannot_be_is_told(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(Fatal, match=why):
        chosen(flags().read(arguments), FakeCloud())
