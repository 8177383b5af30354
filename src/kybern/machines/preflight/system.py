"""The machine's system: distribution, Python, kernel, control groups, swap. Pure."""

import re

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning

SUPPORTED = {"debian": (13,), "ubuntu": (24, 25, 26)}
KERNEL = (4, 19)  # the oldest that upstream's kubeadm takes
PYTHON = (3, 12)
CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})


def distribution(looked: Looked) -> Outcome:
    fields = dict(line.split("=", 1) for line in looked.facts.lines("release") if "=" in line)
    name, version = fields.get("ID", "?").strip('"'), fields.get("VERSION_ID", "?").strip('"')
    major = version.partition(".")[0]
    if major.isdigit() and int(major) in SUPPORTED.get(name, ()):
        return passed(f"{name} {version}")
    return failure(f"{name} {version} is not supported", "install Debian 13, or Ubuntu 24.04 or later")


def python(looked: Looked) -> Outcome:
    said = looked.facts["python"]
    if version(said) >= PYTHON:
        return passed(f"Python {said}")
    told = f"Python {said} is too old" if version(said) else "there is no python3"
    return failure(told, "install python3, 3.12 or newer")


def kernel(looked: Looked) -> Outcome:
    said = looked.facts["kernel"]
    if version(said) >= KERNEL:
        return passed(f"kernel {said}")
    return failure(f"kernel {said or '?'} is older than 4.19", "install the distribution's newest kernel")


def cgroups(looked: Looked) -> Outcome:
    missing = CONTROLLERS - set(looked.facts["controllers"].split())
    if missing:
        names = ", ".join(sorted(missing))
        return failure(f"control groups without {names}", "boot the kernel with these controllers enabled")
    if looked.facts["cgroups"] == "cgroup2fs":
        return passed("control groups, version 2")
    boots = "its host" if looked.facts.contained else "it"
    return warning("control groups, version 1", f"boot {boots} with systemd.unified_cgroup_hierarchy=1")


def swap(looked: Looked) -> Outcome:
    used = [line.split()[0] for line in looked.facts.lines("swaps")]
    if not used:
        return passed("no swap")
    return warning(f"swap is on: {', '.join(used)}", "swapoff -a, and take it out of /etc/fstab")


def version(text: str) -> tuple[int, ...]:
    """Major and minor; empty when the text has none."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()
