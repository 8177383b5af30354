"""Take a snapshot of etcd on the machines of --limit and bring it to .kybern/CLUSTER/backups: ``kybern backup``.

pyinfra --limit master-1 inventories/lab.py deploys/backup.py
"""

from kybern.machines import backups
from roles.cluster import here
from roles.snapshots import snapshot_here

cluster, machine = here()

if machine.is_etcd:
    snapshot_here(backups.folder(cluster.name))
