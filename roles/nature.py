"""What a machine is by itself, whatever the topology says: asked once a run, for all roles.

Needs nothing. Leaves nothing: the trial is made by a process that ends with it.
"""

from pyinfra import host

from roles.facts import Nature, NatureOfMachine
from roles.operations import FACT_SECONDS


def nature() -> Nature:
    known = host.connector_data
    if "kybern_nature" not in known:
        known["kybern_nature"] = host.get_fact(NatureOfMachine, _timeout=FACT_SECONDS)
    found: Nature = known["kybern_nature"]
    return found
