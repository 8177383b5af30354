"""What a topology takes out of its bundle, looked at before anything is touched."""

from pathlib import Path

from kybern.machines.bundle import contents, lock
from kybern.machines.bundle.opened import Bundle, opened
from kybern.machines.topology import Cluster


def bundle_of(cluster: Cluster) -> Bundle | None:
    """The bundle of a topology; None when it names none. Raises MachineError when it is not there."""
    return opened(Path(cluster.bundle)) if cluster.bundle else None


def check(cluster: Cluster) -> None:
    """Everything that a deploy takes is there as the lock says. Raises MachineError, which names the artefact."""
    bundle = bundle_of(cluster)
    if bundle is None:
        return
    lacking = lock.missing_names(bundle.part(contents.MACHINES), contents.packages(cluster))
    if lacking:
        raise bundle.error(f"it has no package {lacking[0]}, which {cluster.name} wants")
    for part in (contents.MACHINES, contents.IMAGES, contents.WHEELS):
        bundle.files(part)


def packages(cluster: Cluster) -> Path | None:
    """The repository of packages that machine images are made of; None where they come from a network."""
    bundle = bundle_of(cluster)
    return bundle.folder(contents.MACHINES) if bundle else None
