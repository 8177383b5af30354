"""A master and a worker whose own network is of IPv6, on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("six-only")
