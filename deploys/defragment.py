"""Give the unused space of etcd's files back, one member at a time: ``kybern defragment``.

pyinfra inventories/lab.py deploys/defragment.py
"""

from roles.cluster import here
from roles.defragment import defragment

_, machine = here()

if machine.is_etcd:
    defragment(machine)
