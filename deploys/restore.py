"""Set etcd back to the snapshot that ``kybern restore`` has chosen, on all members. deploys/cluster.py starts it again."""

from kybern.machines.restoring import Restoring
from roles.cluster import here, state
from roles.firewall import firewall
from roles.pki import pki
from roles.restore import restored, writes_stopped
from roles.system import system

cluster, machine = here()
run = Restoring.current(state(cluster))

system(cluster, machine)
firewall(cluster, machine)
pki(cluster, machine)
writes_stopped(machine)
if machine.is_etcd:
    restored(cluster, machine, run)
