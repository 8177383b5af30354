"""What differs between kinds of machines, as one interface: their storage, their XML, and how they really end."""

from pathlib import Path
from typing import Protocol

from kybern.machines.moments import Keeper
from kybern.machines.plan import Defined, Wanted
from kybern.machines.state import File
from kybern.machines.topology import Cluster

STORE = Path("/var/lib/kybern/machines")
CONSOLE = "console.log"
"""What a machine's console says, beside its disk, where libvirt writes it down."""


class Driver(Protocol):
    """One kind of machine. Every step may be done twice: an interrupted run is simply run again."""

    uri: str
    patience: float  # seconds until a machine must answer after its start

    def image(self, offered: Path | None = None) -> None:
        """Make sure that the image is there, before several machines want it at once.

        ``offered`` is a directory that is a repository of packages, to make it of when it is not.
        """

    def create(self, wanted: Wanted, files: tuple[File, ...]) -> None:
        """Make the storage of a machine that is not defined, from nothing, with its settings in it."""

    def resize(self, wanted: Wanted) -> None:
        """Make the storage of a machine that is off as large as wanted; what is on it stays."""

    def xml(self, wanted: Wanted) -> str:
        """The domain's definition."""

    def remove(self, cluster: str, machine: str) -> None:
        """Remove the storage of a machine that is not defined any more."""

    def before_start(self, wanted_name: str, directory: Path) -> None:
        """What must be there when the domain starts, and may have gone with a reboot of the host."""

    def power_button(self, name: str) -> bool:
        """Ask the machine to shut down, where libvirt cannot; False to let libvirt do it."""

    def anchor(self, name: str) -> int | None:
        """The process whose end is the machine's end, while it runs; None where libvirt's word is enough."""

    def after_stop(self, name: str, directory: Path) -> None:
        """Undo ``before_start``, and remove what a machine leaves on the host when it ends."""


class Provider(Protocol):
    """What machines need of a hypervisor. ``libvirt.Libvirt`` gives it, and a dictionary in tests."""

    def defined(self, cluster: str = "") -> tuple[Defined, ...]: ...
    def ensure_network(self, cluster: Cluster) -> None: ...
    def remove_rest(self, cluster: str) -> None: ...
    def define(self, wanted: Wanted, files: tuple[File, ...]) -> None: ...
    def redefine(self, wanted: Wanted) -> None: ...
    def start(self, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def kill(self, name: str) -> None: ...
    def undefine(self, name: str) -> None: ...
    def console(self, name: str) -> list[str]: ...
    def said(self, name: str) -> bytes | None: ...


class Hypervisor(Provider, Keeper, Protocol):
    """All that a real one can do: ``libvirt.Libvirt``."""


def directory(cluster: str, machine: str) -> Path:
    """Where a machine's storage is."""
    return STORE / cluster / machine
