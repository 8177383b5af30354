"""Bring bare machines to a Ready cluster, or a running one to what the inventory says. Safe to run again.

    pyinfra inventories/lab.py deploys/cluster.py

Each call is a line of its own: pyinfra knows an operation by the lines it was called from. After each operation it
waits for all machines, so what stands above is done everywhere before what stands below begins anywhere.
"""

from roles.apiserver import apiserver, apiserver_restarts
from roles.balancers import balancer_rights, balancers
from roles.cloud import cloud, cloud_rights
from roles.cloud_volumes import cloud_volume_class, cloud_volumes
from roles.cluster import here
from roles.cluster_dns import cluster_dns, dns_service
from roles.cluster_metrics import cluster_metrics, metrics_service
from roles.control_plane import control_plane_images
from roles.controller_manager import controller_manager
from roles.etcd import etcd
from roles.firewall import firewall
from roles.ingress import ingress, ingress_class
from roles.kube_proxy import kube_proxy
from roles.kubeconfig import kubeconfigs
from roles.kubelet import kubelet, nodes_ready, role_label
from roles.loadbalancer import loadbalancer
from roles.local_volumes import local_volumes, storage_class
from roles.network_policies import network_policies, policy_rights
from roles.node_dns import node_dns, node_dns_left
from roles.package import old_releases, package
from roles.pki import pki
from roles.pod_network import pod_network
from roles.runtime import runtime
from roles.scheduler import scheduler
from roles.second_family import second_family
from roles.settled import settled
from roles.snapshots import snapshots
from roles.system import system

cluster, machine = here()

settled(cluster, machine)
system(cluster, machine)
firewall(cluster, machine)
second_family(cluster, machine)
pki(cluster, machine)
kubeconfigs(cluster, machine)
package()
if machine.is_etcd:
    etcd(cluster, machine)
if machine.is_etcd:
    snapshots()
# What runs the control plane's pods comes before them.
if machine.is_master and cluster.has_static_pods:
    runtime(cluster)
if machine.is_master and cluster.has_static_pods:
    kubelet(cluster, machine)
if machine.is_master and cluster.has_static_pods:
    control_plane_images(cluster)
if machine.is_master:
    apiserver(cluster, machine)
if machine.is_node:
    loadbalancer(cluster, machine)
if machine.is_master:
    apiserver_restarts(cluster, machine)
if machine.is_master:
    controller_manager(cluster, machine)
if machine.is_master:
    scheduler(cluster, machine)
if machine.is_master and cluster.cloud:
    cloud_rights(cluster)
if machine.is_master:
    cloud(cluster)
if machine.is_master and cluster.cloud_volumes:
    cloud_volume_class(cluster)
if machine.is_master:
    dns_service(cluster)
if machine.is_master:
    cluster_dns(cluster, machine)
if machine.is_master:
    metrics_service(cluster, machine)
if machine.is_master:
    cluster_metrics(cluster, machine)
if machine.is_master and cluster.storage == "local":
    storage_class(cluster)
if machine.is_node and not (machine.is_master and cluster.has_static_pods):
    runtime(cluster)
if machine.is_node and cluster.node_local_dns:
    node_dns(cluster, machine)
if machine.is_node and not (machine.is_master and cluster.has_static_pods):
    kubelet(cluster, machine)
if machine.is_master and cluster.has_static_pods:
    role_label(cluster, machine)
if machine.is_node and not cluster.node_local_dns:
    node_dns_left(cluster, machine)
if machine.is_node:
    pod_network(cluster, machine)
if machine.is_node:
    kube_proxy(cluster, machine)
if machine.is_node and cluster.storage == "local":
    local_volumes(machine)
if machine.is_node and cluster.cloud:
    cloud_volumes(cluster, machine)
if machine.is_master:
    policy_rights(cluster)
if machine.is_node:
    network_policies(cluster, machine)
if machine.is_master and cluster.load_balancer:
    balancer_rights(cluster)
if machine.is_node:
    balancers(cluster, machine)
if machine.is_master and cluster.ingress:
    ingress_class(cluster)
if machine in cluster.workers:
    ingress(cluster)
nodes_ready(cluster, machine)
old_releases(cluster, machine)
