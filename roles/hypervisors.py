"""What daemons that speak to hypervisors have on a machine: keys, and a relay in a container; and how they go again."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from kybern.machines.clouds import SOCKETS
from kybern.machines.topology import Cluster
from roles.cluster import state
from roles.templates import render
from roles.tree import File, Service

UNITS = "/etc/systemd/system"


def relay(template: str, unit: str, socket: str, user: str) -> Service:
    """The way to the libvirt of a container's host, which is nothing that others see; for this user alone."""
    text = render(
        template, user=user, folder=PurePosixPath(socket).parent.name, socket=socket, sockets=SOCKETS
    )
    return Service(unit, (File(f"{UNITS}/{unit}", text),))


def keys(cluster: Cluster, folder: str, place: str, user: str) -> tuple[File, ...]:
    """The files of an operator's directory beside ``pki``, under the names that the topology's URIs use."""
    own = state(cluster) / folder
    found = sorted(one for one in own.glob("*") if one.is_file()) if own.is_dir() else []
    return tuple(
        File(f"{place}/{one.name}", one.read_bytes(), mode="600", user=user, secret=True) for one in found
    )


def absent(units: Sequence[str], *paths: str) -> str:
    """Succeeds where there is none of them."""
    return " && ".join(f"[ ! -e {one} ]" for one in (*(f"{UNITS}/{unit}" for unit in units), *paths))


def removal(units: Sequence[str], *paths: str) -> str:
    """Stops units and takes them away, with other files and directories."""
    files = " ".join([*(f"{UNITS}/{unit} {UNITS}/{unit}.d" for unit in units), *paths])
    stop = (
        f"for unit in {' '.join(units)}; do "
        f"if [ -e {UNITS}/$unit ]; then systemctl disable --now --quiet $unit; fi; done"
    )
    return f"{stop}; rm -rf {files} && systemctl daemon-reload"
