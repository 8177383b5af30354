"""Have a machine install others over the network, or no longer: ``kybern machines netboot``.

KYBERN_TOPOLOGY=baremetal pyinfra inventories/netboot.py deploys/netboot.py [--data off=yes]
"""

from pyinfra import host

from roles.cluster import here
from roles.netboot import netboot, netboot_off
from roles.package import package

cluster, machine = here()

if host.data.get("off"):
    netboot_off()
if not host.data.get("off"):
    package()
if not host.data.get("off"):
    netboot(cluster, machine)
