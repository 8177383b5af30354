"""A master and two workers with IPv4 and IPv6, on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("dual")
