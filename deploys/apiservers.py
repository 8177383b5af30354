"""Bring the API servers of --limit to this release, and nothing else: the first part of ``kybern upgrade`` to another minor.

No control loop and no kubelet may be newer than an API server that it talks to.

pyinfra --limit master-1 inventories/lab.py deploys/apiservers.py
"""

from roles.apiserver import apiserver, apiserver_restarts
from roles.cluster import here
from roles.control_plane import control_plane_images
from roles.firewall import firewall
from roles.kubeconfig import kubeconfigs
from roles.package import package
from roles.pki import pki
from roles.second_family import second_family
from roles.settled import settled
from roles.system import system

cluster, machine = here()

settled(cluster, machine)
system(cluster, machine)
firewall(cluster, machine)
second_family(cluster, machine)
pki(cluster, machine)
kubeconfigs(cluster, machine)
package()
if machine.is_master and cluster.has_static_pods:
    control_plane_images(cluster)
if machine.is_master:
    apiserver(cluster, machine)
    apiserver_restarts(cluster, machine)
