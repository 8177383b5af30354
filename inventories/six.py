"""A master and a worker with IPv6 alone for pods and services, on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("six")
