"""What a machine gets out of a bundle instead of from a network: packages by a repository of its own, sent over SSH.

Only the index is sent whole. apt of the machine tells which of its packages it lacks; they are sent, checked against
the checksums of the lock, installed, and removed again as apt removes what it has fetched. Without a bundle nothing
here happens.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api.exceptions import OperationError

from kybern.machines.bundle import contents, debian
from kybern.machines.bundle.opened import Bundle, opened
from kybern.machines.errors import MachineError
from kybern.machines.recipe import SUITE
from kybern.machines.topology import Cluster
from roles.tree import Directory, Entry, File, Upload

PLACE = "/var/lib/kybern/packages"
LIST = "/etc/kybern/packages.list"
APT = "apt-get -q"


@dataclass(frozen=True, slots=True)
class Repository:
    """The packages of a bundle, as a machine sees them."""

    bundle: Bundle

    @property
    def index(self) -> tuple[Entry, ...]:
        """What apt has to find on the machine before it can be asked."""
        source = f"deb [trusted=yes] file:{PLACE} ./\n"
        return (
            Directory(PLACE),
            File(LIST, source.encode()),
            *(self._sent(name) for name in (debian.INDEX, debian.RELEASE)),
        )

    def archives(self, names: Iterable[str]) -> Sequence[Entry]:
        """The files of packages, by their names in the repository."""
        return [self._sent(name) for name in sorted(names)]

    def _sent(self, name: str) -> Entry:
        try:
            return Upload(f"{PLACE}/{name}", source=self.bundle.file(f"{contents.MACHINES}/{name}"))
        except MachineError as error:
            raise OperationError(str(error)) from error


def bundle_of(cluster: Cluster | None) -> Bundle | None:
    """The bundle that a topology names. Raises OperationError when it is not there."""
    if cluster is None or not cluster.bundle:
        return None
    try:
        return opened(Path(cluster.bundle))
    except MachineError as error:
        raise OperationError(str(error)) from error


def repository(cluster: Cluster) -> Repository | None:
    bundle = bundle_of(cluster)
    return Repository(bundle) if bundle else None


def images(cluster: Cluster) -> Path | None:
    """The archive with the images that a cluster starts with, verified."""
    bundle = bundle_of(cluster)
    if bundle is None:
        return None
    try:
        (path,) = bundle.files(contents.IMAGES)
    except MachineError as error:
        raise OperationError(str(error)) from error
    return path


def apt(*, offline: bool) -> str:
    """A shell's beginning, after which ``$apt`` is apt: over the machine's own sources, or over the repository of a bundle.

    Lists of the repository are read anew each time, into a directory that goes with the shell: they are small, and
    nothing on the machine has to be kept in step.
    """
    if not offline:
        return f"apt={shlex.quote(APT)}"
    options = f"-o Dir::Etc::SourceList={LIST} -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root"
    refusal = f"the bundle has packages of Debian {SUITE}, and this machine is $PRETTY_NAME"
    return (
        f'. /etc/os-release; [ "$VERSION_CODENAME" = {SUITE} ] || {{ echo "{refusal}" >&2; exit 1; }}; '
        'lists=$(mktemp -d); trap "rm -rf $lists" EXIT; '
        f'apt="{APT} {options} -o Dir::State::Lists=$lists"; $apt update >&2'
    )
