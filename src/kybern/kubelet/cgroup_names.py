"""How the cgroups of pods are called: as directories (driver cgroupfs), or as systemd's slices (driver systemd). Pure.

A slice's name holds the names of all above it, with ``-`` between: kubepods-burstable-podUID.slice lies in
kubepods-burstable.slice, which lies in kubepods.slice. A ``-`` of a part's own is written ``_`` (upstream: ToSystemd). Which
driver a name is of is seen in it.
"""

_SLICE = ".slice"


def root_of(driver: str, above: str) -> str:
    """The cgroup of all pods. ``above`` is upstream's --cgroup-root: "/", or the path (or slice) of another."""
    if driver != "systemd":
        return f"{above.rstrip('/')}/kubepods"
    last = above.rstrip("/").rsplit("/", 1)[-1].removesuffix(_SLICE)
    return path_of("-".join(filter(None, (last, "kubepods"))) + _SLICE)


def path_of(unit: str) -> str:
    """Where systemd puts a slice: kubepods-burstable.slice is /kubepods.slice/kubepods-burstable.slice."""
    parts = unit.removesuffix(_SLICE).split("-")
    return "".join(f"/{'-'.join(parts[: count + 1])}{_SLICE}" for count in range(len(parts)))


def unit_of(name: str) -> str:
    """The slice that a cgroup is; "" when it is none."""
    last = name.rsplit("/", 1)[-1]
    return last if last.endswith(_SLICE) else ""


def below(parent: str, part: str) -> str:
    """A cgroup within another, named as that one is."""
    unit = unit_of(parent)
    if not unit:
        return f"{parent}/{part}"
    return f"{parent}/{unit.removesuffix(_SLICE)}-{part.replace('-', '_')}{_SLICE}"


def of_container(pod: str, identity: str) -> str:
    """The cgroup that containerd makes for a container in its pod's; "" for a pod without one."""
    if not pod:
        return ""
    return f"{pod}/cri-containerd-{identity}.scope" if unit_of(pod) else f"{pod}/{identity}"


def uid_of(name: str) -> str:
    """Whose cgroup it is: the uid of a pod; "" for one that is not a pod's. ``name`` may be a path."""
    last = name.rsplit("/", 1)[-1]
    if last.endswith(_SLICE):
        part = last.removesuffix(_SLICE).rsplit("-", 1)[-1]
        return part.removeprefix("pod").replace("_", "-") if part.startswith("pod") else ""
    return last.removeprefix("pod") if last.startswith("pod") else ""
