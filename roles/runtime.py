"""containerd with runc, and the images that a cluster starts with, loaded without a registry.

Needs system. Leaves containerd answering on its socket, with the pause image and busybox.
"""

from pyinfra.api import deploy

from kybern.machines import oci
from kybern.machines.topology import Cluster
from roles.bundled import images as bundled
from roles.nature import nature
from roles.operations import bundle, once, units
from roles.templates import render
from roles.tree import Directory, File, Service, Upload

UNIT = "containerd.service"
ARCHIVES = "/var/lib/kybern/images"


@deploy("runtime")
def runtime(cluster: Cluster) -> None:
    service = containerd(cluster, restricted=nature().restricted)
    source = bundled(cluster) or oci.bundle()
    images = Upload(f"{ARCHIVES}/{source.name}", source=source)
    # The CNI directory has to be there before containerd starts, which watches it from then on.
    places = [Directory("/etc/cni/net.d"), Directory("/etc/kubernetes/manifests"), Directory(ARCHIVES)]
    bundle(name="Files", files=[*places, images, *service.files], prune=(ARCHIVES,))
    units(name="Running", services=[service])
    here = " ".join(f"name=={name}" for name in names())
    listed = f"[ $(ctr -n k8s.io images ls -q {here} | wc -l) = {len(names())} ]"
    once(
        name="Images loaded",
        probe=listed,
        command=f"ctr -n k8s.io images import --all-platforms {images.path}",
    )


def names() -> tuple[str, ...]:
    return (oci.PAUSE, *(f"{oci.BUSYBOX}:{version}" for version in oci.BUSYBOX_VERSIONS))


def containerd(cluster: Cluster, *, restricted: bool) -> Service:
    """``restricted``: the machine may not lower what its kernel ends it by, as containers' hosts have it."""
    config = render("runtime/config.toml", cluster=cluster, pause=oci.PAUSE, restricted=restricted)
    return Service(
        UNIT,
        (
            File("/etc/containerd/config.toml", config),
            File(f"/etc/systemd/system/{UNIT}", render("runtime/containerd.service")),
        ),
    )
