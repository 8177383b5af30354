"""What only one machine may have, and what only this machine may have. Pure."""

from kybern.machines.preflight.ports import listeners, wanted
from kybern.machines.preflight.record import Looked, Outcome, failure, passed


def machine_id(looked: Looked) -> Outcome:
    own = looked.facts["machine-id"]
    same = [each.name for each, facts in looked.others().items() if own and facts["machine-id"] == own]
    if same:
        return failure(
            f"the machine-id is that of {', '.join(same)}, too",
            "rm /etc/machine-id && systemd-machine-id-setup, and start it again",
        )
    return passed("a machine-id of its own")


def macs(looked: Looked) -> Outcome:
    own = set(looked.facts.lines("macs"))
    for each, facts in looked.others().items():
        if shared := own & set(facts.lines("macs")):
            return failure(
                f"the hardware address {min(shared)} is that of {each.name}, too",
                "give one of the two another hardware address",
            )
    return passed("hardware addresses of its own")


def address(looked: Looked) -> Outcome:
    has = {line.partition("/")[0] for line in looked.facts.lines("addresses")}
    if str(looked.machine.address) in has:
        return passed(f"has {looked.machine.address}")
    return failure(
        f"does not have {looked.machine.address}, but {', '.join(sorted(has)) or 'none'}",
        "write the machine's own address into the topology",
    )


def ports(looked: Looked) -> Outcome:
    found = list(listeners(looked.facts.lines("sockets"), looked.facts.lines("processes")))
    taken = {
        f"{port.protocol} {port.number} for {port.user} by {each.process or 'another program'}"
        for port in wanted(looked.cluster, looked.machine)
        for each in found
        if port.meets(each) and each.unit not in looked.facts.ours
    }
    if taken:
        return failure(f"in use: {'; '.join(sorted(taken))}", "stop that program, or move it to another port")
    held = any(each.unit in looked.facts.ours for each in found)
    return passed("ports are in use by this cluster's own daemons" if held else "ports are free")


def peers(looked: Looked) -> Outcome:
    """A machine that does not answer us either has its own line in the report, and needs none from each other one."""
    answer = {str(each.address) for each in looked.others()}
    silent = [each for each in looked.facts.lines("unreachable") if each in answer]
    if not silent:
        return passed("reaches the other machines")
    return failure(
        f"does not reach {', '.join(silent)} on port 22", "look at routes, and at firewalls between them"
    )
