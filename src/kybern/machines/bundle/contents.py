"""What a bundle has to hold for a topology; pure.

The parts are named after what takes from them: machines take ``debian-SUITE`` and ``images``, whoever deploys takes
``operator-SUITE`` and ``wheels``, of which the release is made on the spot: so it is always that of the sources that
are there.
"""

import hashlib
from collections.abc import Iterable

from kybern.machines.packages import wanted_packages
from kybern.machines.recipe import METAL_PACKAGES, PACKAGES, SUITE, VM_PACKAGES
from kybern.machines.topology import Cluster

MACHINES = f"debian-{SUITE}"
IMAGES = "images"
WHEELS = "wheels"
# The programs of the images that a cluster starts with.
PROGRAMS = ("busybox-static", "catatonit")
# Of the machine that installs others over the network.
SERVER = "dnsmasq-base"
# What mmdebstrap makes an image of, before it takes the packages that it is told.
BASE = ("?essential", "?priority(required)", "apt")


def operator(suite: str) -> str:
    """The part with packages for a host of this release of its distribution."""
    return f"operator-{suite}"


def has_image(cluster: Cluster) -> bool:
    """Whether the operator makes a machine image: for machines, or for a control plane of pods, which is cut out of it."""
    return cluster.driver != "none" or cluster.has_static_pods or cluster.netboot is not None


def packages(cluster: Cluster) -> tuple[str, ...]:
    """What the machines of a topology want, and the machine image when they are made here."""
    names = {name for machine in cluster.machines for name in wanted_packages(cluster, machine)}
    names |= {*PROGRAMS, "python3"}
    if has_image(cluster):
        names |= {*PACKAGES, *(VM_PACKAGES if cluster.driver == "qemu" else ())}
    if cluster.netboot:
        names |= {*VM_PACKAGES, *METAL_PACKAGES, SERVER}
    return tuple(sorted(names))


def asked(cluster: Cluster) -> tuple[str, ...]:
    """What apt is asked for: packages, and patterns of apt's for what an image begins with."""
    return (*packages(cluster), *(BASE if has_image(cluster) else ()))


def listed(content: str) -> tuple[str, ...]:
    """The packages of a file of requirements/: names, with comments behind #."""
    return tuple(name for line in content.splitlines() for name in line.partition("#")[0].split())


def digest(values: Iterable[str]) -> str:
    """Of what is asked for."""
    return hashlib.sha256("\n".join(sorted(values)).encode()).hexdigest()[:16]
