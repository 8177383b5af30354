"""Have the members of etcd that stay forget one that leaves: a part of ``kybern remove``, which does the rest.

pyinfra --data leaving=master-1 --limit master-2,master-3 inventories/lab.py deploys/remove.py
"""

from pyinfra import host

from roles.cluster import here
from roles.etcd import forgotten

cluster, machine = here()

if machine.is_etcd:
    forgotten(cluster, str(host.data.leaving))
