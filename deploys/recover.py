"""A single step of ``kybern recover`` on the machines of --limit. That command decides which, and does the rest.

pyinfra --data step=start --limit master-1 inventories/lab.py deploys/recover.py
pyinfra --data step=aside --limit master-1 inventories/lab.py deploys/recover.py
pyinfra --data step=salvage --limit master-1 inventories/lab.py deploys/recover.py
pyinfra --data step=bring --data snapshot=20261126T101500Z --limit master-1 inventories/lab.py deploys/recover.py
"""

from pyinfra import host

from kybern.machines import backups
from roles.cluster import here
from roles.recover import data_set_aside, salvaged, started
from roles.snapshots import brought

cluster, machine = here()
step = host.data.step

if step == "start":
    started()
if step == "aside":
    data_set_aside()
if step == "salvage":
    salvaged(cluster, machine, backups.folder(cluster.name))
if step == "bring":
    brought(backups.folder(cluster.name), str(host.data.snapshot))
