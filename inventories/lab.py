"""Three masters and two workers on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("lab")
