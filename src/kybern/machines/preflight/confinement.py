"""What confines programs: SELinux, which Kybern's packages have no policy for, and AppArmor, which containerd uses. Pure."""

from kybern.machines.preflight.record import Looked, Outcome, failure, passed

ASKED = (
    '[ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" = 1 ] && echo selinux; '
    '[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && echo apparmor; true'
)


def confinement(looked: Looked) -> Outcome:
    found = looked.facts.lines("confinement")
    if "selinux" in found:
        return failure("SELinux is enforcing", "setenforce 0, and SELINUX=permissive in /etc/selinux/config")
    return passed(
        "AppArmor, which containerd uses" if "apparmor" in found else "neither SELinux nor AppArmor"
    )
