"""What machines are called. Nodes are named by the topology; what a machine is called itself should not mislead. Pure."""

import re

from kybern.machines.preflight.record import Looked, Outcome, failure, passed, warning

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def hostnames(looked: Looked) -> Outcome:
    own, name = looked.facts["hostname"], looked.machine.name
    taken = [each.name for each in looked.others() if each.name == own]
    if taken:
        return failure(
            f"is called {own}, which is another machine of the topology",
            f"hostnamectl set-hostname {name}, or exchange the two in the topology",
        )
    same = [each.name for each, facts in looked.others().items() if own and facts["hostname"] == own]
    if same:
        return warning(f"is called {own}, as {', '.join(same)} is", f"hostnamectl set-hostname {name}")
    if not LABEL.fullmatch(own.partition(".")[0]):
        return warning(f'is called "{own}", which is no DNS name', f"hostnamectl set-hostname {name}")
    if own.partition(".")[0] != name:
        return warning(f"is called {own}, and its node {name}", f"hostnamectl set-hostname {name}")
    return passed(f"is called {own}")
