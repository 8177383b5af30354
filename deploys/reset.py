"""Take the cluster off its machines; what remains is what deploys/cluster.py starts from. All its data are lost.

pyinfra inventories/lab.py deploys/reset.py
"""

from roles.cluster import here
from roles.reset import reset

cluster, machine = here()

reset(cluster, machine)
