"""Give etcd's unused space back to the disk, a member at a time, and end an alarm for want of space.

Needs etcd. Leaves every member's file no larger than what it holds asks for, the API served all along: the others answer
meanwhile, and a member that leads hands the lead on first. Does nothing where it is not worth it.
"""

from pyinfra import host
from pyinfra.api import StringCommand, deploy, operation

from kybern.machines.topology import Machine
from roles import facts
from roles.etcd import ALL_HEALTHY, UNIT
from roles.fragments import CORRUPT, NOSPACE, alarms, space
from roles.membership import etcdctl, refused
from roles.operations import COMMAND_SECONDS, FACT_SECONDS, Commands
from roles.templates import render

DEFRAGMENT_SECONDS = 300


@deploy("defragment")
def defragment(machine: Machine) -> None:
    compact(name="History forgotten, if there is no space for more", machine=machine, _serial=True)
    give_back(name="Unused space given back, one member at a time", machine=machine, _serial=True)
    quiet(name="Alarm ended", _serial=True)


@operation()
def compact(machine: Machine) -> Commands:
    """The history of objects up to now is forgotten when the quota is used up, since nothing is written before."""
    found = alarms(host.get_fact(facts.Answer, f"{etcdctl()} alarm list -w json", _timeout=FACT_SECONDS))
    here = space(host.get_fact(facts.Answer, f"{etcdctl()} endpoint status -w json", _timeout=FACT_SECONDS))
    if here is None:
        yield refused(f"cannot defragment {machine.name}: its member of etcd does not answer")
    elif CORRUPT in found:
        yield refused(
            f"cannot defragment {machine.name}: a member of etcd differs from the others (alarm CORRUPT); "
            "find it with etcdctl endpoint hashkv --cluster, remove that machine and deploy again"
        )
    elif NOSPACE in found:
        # That somebody else has compacted as far is no failure.
        yield StringCommand(
            f"said=$({etcdctl()} compact --physical {here.revision} 2>&1) || "
            'case "$said" in *"has been compacted"*) ;; *) echo "$said" >&2; exit 1 ;; esac',
            _timeout=COMMAND_SECONDS,
        )
    else:
        host.noop("there is space")


@operation()
def give_back(machine: Machine) -> Commands:
    """The file of this member is written anew without what is unused. Its turn comes when all others are well."""
    status = f"{etcdctl()} endpoint status -w json"
    here = space(host.get_fact(facts.Answer, status, _timeout=FACT_SECONDS))
    full = NOSPACE in alarms(
        host.get_fact(facts.Answer, f"{etcdctl()} alarm list -w json", _timeout=FACT_SECONDS)
    )
    if here is None:
        yield refused(
            f"cannot defragment {machine.name}: its member of etcd does not answer; see journalctl -u {UNIT}"
        )
        return
    if not here.worth_it and not full:
        host.noop(f"{here.unused // 2**20} MiB of {here.size // 2**20} are unused")
        return
    script = render(
        "etcd/defragment.sh",
        all_healthy=ALL_HEALTHY,
        etcdctl=etcdctl(),
        patient=etcdctl(seconds=DEFRAGMENT_SECONDS),
        name=machine.name,
        unit=UNIT,
        seconds=COMMAND_SECONDS // 2,
    )
    yield StringCommand(script.decode(), _timeout=DEFRAGMENT_SECONDS + COMMAND_SECONDS)


@operation()
def quiet() -> Commands:
    """The alarm for want of space ends, as every member has some again."""
    found = alarms(host.get_fact(facts.Answer, f"{etcdctl()} alarm list -w json", _timeout=FACT_SECONDS))
    if NOSPACE not in found:
        host.noop("no alarm is on")
        return
    yield StringCommand(f"{etcdctl()} alarm disarm >/dev/null", _timeout=COMMAND_SECONDS)
