"""Take a snapshot of etcd on the machines of --limit and bring it to .kybern/CLUSTER/backups: ``kybern backup``.

pyinfra --limit master-1 inventories/lab.py deploys/backup.py
pyinfra --data folder=/backups/lab --limit master-1 inventories/lab.py deploys/backup.py
pyinfra --data check=/backups/lab/20261126T101500Z.db --limit master-1 inventories/lab.py deploys/backup.py
"""

from pathlib import Path

from pyinfra import host

from kybern.machines import backups
from roles.cluster import here
from roles.snapshots import checked, snapshot_here

cluster, machine = here()
folder, check = host.data.get("folder"), host.data.get("check")

if machine.is_etcd and check:
    checked(backups.read(Path(check)), cluster.etcd_quota)
if machine.is_etcd and not check:
    snapshot_here(Path(folder) if folder else backups.folder(cluster.name))
