"""Bring bare machines to a Ready cluster, or a running one to what the inventory says. Safe to run again.

    pyinfra inventories/lab.py deploys/cluster.py

Each call is a line of its own: pyinfra knows an operation by the lines it was called from. After each operation it
waits for all machines, so what stands above is done everywhere before what stands below begins anywhere.
"""

from roles.cluster import here
from roles.etcd import etcd
from roles.firewall import firewall
from roles.loadbalancer import loadbalancer
from roles.pki import pki
from roles.system import system

cluster, machine = here()

system(cluster, machine)
firewall(cluster, machine)
pki(cluster, machine)
if machine.is_etcd:
    etcd(cluster, machine)
if machine.is_node:
    loadbalancer(cluster, machine)
