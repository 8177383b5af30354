"""Our daemons on the machine, and a link to the release that is in use.

Needs system. Leaves /opt/kybern/package-DIGEST and /opt/kybern/dependencies-DIGEST, complete or not at all, and
/opt/kybern/current. What is there is not sent again. Units name the release by its digest, so that a new one restarts them.
Two releases stay: the one in use, and the one before with its files (see ``way_back``). ``old_releases`` takes away the
others, once nothing runs from them any more.
"""

from collections.abc import Generator, Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FileUploadCommand, StringCommand, deploy, operation

from kybern.machines.control_plane import CTR, MANIFESTS
from kybern.machines.control_plane_image import REPOSITORY
from kybern.machines.topology import Cluster, Machine
from roles.bundled import bundle_of
from roles.control_plane import image_of
from roles.facts import Succeeds
from roles.nature import nature
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, bundle, waiting
from roles.record import change, digest, planned
from roles.release import TARGET, Archive, Release, release
from roles.templates import render
from roles.tree import Directory, Link
from roles.way_back import kept

SOCKET = "/run/containerd/containerd.sock"
PATIENCE = 60  # seconds for an image to go


@deploy("package")
def package() -> None:
    found = here()
    bundle(name="Place", files=[Directory(TARGET)])
    unpacked(name="Dependencies", archive=found.dependencies)
    unpacked(name="Daemons", archive=found.package)
    kept(name="Way back kept", release=found)
    bundle(name="In use", files=[Link(f"{TARGET}/current", found.package.target)])


@deploy("package")
def old_releases(cluster: Cluster, machine: Machine) -> None:
    """With the images of pods that there are not any more."""
    wanted = image_of(cluster).names if machine.is_master and cluster.has_static_pods else ()
    pruned(name="Old releases removed", release=here(), images=wanted, master=machine.is_master)


def here() -> Release:
    """The release for this machine's Python."""
    return release(nature().python, bundle_of(host.data.get("cluster")))


@operation()
def unpacked(archive: Archive) -> Generator[StringCommand | FileUploadCommand]:
    """The archive's directory, complete: it is unpacked beside its place and then moved there."""
    if host.get_fact(Succeeds, f"test -d {archive.target}", _timeout=FACT_SECONDS):
        host.noop(f"{archive.target} is there")
        return
    yield from planned(change("release", archive.target, "unpack"))
    staged, beside = f"/var/tmp/{archive.source.name}", f"{archive.target}.new"  # noqa: S108  # checked by its digest below
    yield FileUploadCommand(str(archive.source), staged, _sudo=False)
    script = (
        f"set -eu; trap 'rm -rf {beside} {staged}' EXIT; rm -rf {beside}; mkdir -p {beside}; "
        f"tar -C {beside} -xzf {staged} --no-same-owner; sync -f {beside}; mv -T {beside} {archive.target}"
    )
    yield StringCommand(script, _timeout=COMMAND_SECONDS)


@operation()
def pruned(release: Release, images: Sequence[str], master: bool) -> Generator[StringCommand]:
    """Nothing of ours below /opt/kybern but the release in use, the one before, and the latter's files.

    On a master, no image of the control plane's but ``images``, and those that a manifest or a kept file names.
    """
    names = tuple(Path(archive.target).name for archive in (release.package, release.dependencies))
    listed = surplus(names, images, master=master)
    if not host.get_fact(Succeeds, f"({listed}) | grep -q .", _timeout=FACT_SECONDS):
        host.noop("there is no old release")
        return
    yield from planned(change("release", "old ones", "remove", digest(" ".join((*names, *images)))))
    yield StringCommand(removal(listed), _timeout=COMMAND_SECONDS)


def surplus(kept: Sequence[str], images: Sequence[str], *, master: bool) -> str:
    """A script that prints what shall go: "path PATH" and "image NAME", a line each.

    Or "unknown images", of a containerd that runs and does not tell. One that never ran has none.
    """
    text = render(
        "release/surplus.sh",
        target=TARGET,
        kept=kept,
        images=images,
        master=master,
        repository=REPOSITORY,
        manifests=MANIFESTS,
        ctr=CTR,
        socket=SOCKET,
    )
    return text.decode()


def removal(listed: str) -> str:
    """Takes away what a script prints as ``surplus`` does. Fails when images could not be asked for, or do not go."""
    image = waiting(f"{CTR} images rm $each", PATIENCE)
    why = (
        "cannot remove the images of an old release: containerd does not answer; see journalctl -u containerd"
    )
    failed = f'{{ echo "{why}, and deploy again" >&2; exit 1; }}'
    return (
        f"({listed}) | while read -r kind each; do case $kind in unknown) {failed};; "
        f"image) {image} || {failed};; *) rm -rf $each;; esac; done"
    )
