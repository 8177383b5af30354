"""Set etcd back to the snapshot that ``kybern restore`` or ``kybern recover`` has chosen, on all members that are left.

deploys/cluster.py does the rest.
"""

from kybern.machines.restoring import Restoring
from roles.cluster import here, state
from roles.firewall import firewall
from roles.pki import pki
from roles.restore import member_started, restored, writes_go_on, writes_stopped
from roles.system import system

cluster, machine = here()
run = Restoring.current(state(cluster))

system(cluster, machine)
firewall(cluster, machine)
pki(cluster, machine)
writes_stopped(machine)
if run.is_for(machine):
    restored(cluster, machine, run)
if run.is_for(machine):
    member_started()
writes_go_on(machine)
