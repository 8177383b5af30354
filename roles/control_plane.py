"""The control plane's image in containerd, on masters whose API server, controller manager and scheduler are pods.

Needs runtime, package. Leaves the image there, pinned, so that the kubelet's collector passes it over. It is there on all
masters before anything of them is stopped. It goes once no manifest, and none of the files that are kept for a way back,
names it: see ``package.old_releases``.
"""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FileUploadCommand, StringCommand, deploy, operation

from kybern.machines.control_plane import CTR
from kybern.machines.topology import Cluster
from roles import facts
from roles.bundled import bundle_of
from roles.control_plane_image import Archive, ControlPlaneImage, control_plane_image
from roles.operations import COMMAND_SECONDS, FACT_SECONDS
from roles.record import change, planned

PINNED = "io.cri-containerd.pinned"


@deploy("control plane")
def control_plane_images(cluster: Cluster) -> None:
    imported(name="Image", image=image_of(cluster))


def image_of(cluster: Cluster) -> ControlPlaneImage:
    return control_plane_image(bundle_of(cluster))


@operation()
def imported(image: ControlPlaneImage) -> Generator[StringCommand | FileUploadCommand]:
    """Both names there and pinned, which is done last: what was cut off is imported again."""
    there = host.get_fact(facts.Images, image.names, PINNED, _timeout=FACT_SECONDS)
    due = lacking(image, there)
    if not due:
        host.noop(f"{image.own.image} is there")
        return
    yield from planned(*(change("image", archive.image, "import") for archive in due))
    for archive in due:
        yield FileUploadCommand(str(archive.source), staged(archive), _sudo=False)
        yield StringCommand(script(archive), _timeout=COMMAND_SECONDS)


def lacking(image: ControlPlaneImage, there: frozenset[str]) -> tuple[Archive, ...]:
    """What has to be sent, in this order: the second names layers of the first. Pure."""
    if image.own.image in there:
        return ()
    return (image.own,) if image.base.image in there else (image.base, image.own)


def staged(archive: Archive) -> str:
    return f"/var/tmp/{archive.source.name}"  # noqa: S108  # its content is checked by the digests that it names


def script(archive: Archive) -> str:
    path = staged(archive)
    load = f"timeout {COMMAND_SECONDS - 30} ctr -n k8s.io images import --all-platforms {path}"
    return f"set -eu; trap 'rm -f {path}' EXIT; {load}; {CTR} images label {archive.image} {PINNED}=pinned"
