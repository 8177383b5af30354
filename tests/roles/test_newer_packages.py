"""Packages brought to their newest: only when that is wanted, and with a restart of what runs their programs."""

from kybern.machines.packages import wanted_packages
from kybern.machines.topology import Cluster
from roles.bundled import apt
from roles.facts import Upgradable
from roles.operations import packages
from roles.system import FROM_PACKAGES
from roles.way_back import ORDER
from tests.roles.harness import FakeMachine, Run


def installed(newest: bool, fake: FakeMachine) -> list[str]:
    def role() -> None:
        packages(name="Packages", names=sorted(fake.packages), newest=newest, units=FROM_PACKAGES)

    run = Run([fake])
    run.prepare(role, CLUSTER, [None])
    run.execute()
    return run.changed()


CLUSTER: Cluster = None  # type: ignore[assignment]  # the role is one operation, and asks for none


def test_newer_packages_come_only_when_they_are_wanted() -> None:
    fake = FakeMachine(packages={"containerd", "socat"}, newer={"containerd", "unrelated"})

    assert installed(False, fake) == []
    assert installed(True, fake) == ["Packages"]
    (command,) = fake.commands
    assert "--no-install-recommends" in command
    assert "--force-confold containerd " in command
    assert "unrelated" not in command


def test_what_runs_a_package_s_program_is_restarted_by_its_role_because_its_note_is_gone_first() -> None:
    fake = FakeMachine(packages={"etcd-server", "socat"}, newer={"etcd-server"})
    installed(True, fake)

    (command,) = fake.commands
    assert command.index("rm -f /run/kybern/etcd.service.sha256") < command.index("$apt install")


def test_the_units_of_packages_are_ours(cluster: Cluster) -> None:
    assert {unit for units in FROM_PACKAGES.values() for unit in units} <= set(ORDER)
    everything = {name for machine in cluster.machines for name in wanted_packages(cluster, machine)}
    assert set(FROM_PACKAGES) <= everything


def test_what_apt_would_install_is_read_line_by_line() -> None:
    fact = Upgradable()

    assert "$apt -s" in fact.command(["socat", "runc"], apt(offline=False))
    assert fact.process(["KYBERN socat", "Reading package lists...", "KYBERN libc6"]) == {"socat", "libc6"}


def test_a_deploy_asks_apt_nothing() -> None:
    """A run asks twice, once while it is prepared and once in its turn."""
    fake = FakeMachine(packages={"socat"})
    installed(False, fake)
    asked = fake.questions
    installed(True, fake)

    assert (asked, fake.questions - asked) == (2, 4)
