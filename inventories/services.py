"""A master and two workers with both families of IP and addresses for load balancers, on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("services")
