"""Three masters, five etcd members, two workers."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("ha5")
