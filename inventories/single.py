"""One machine that is everything."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("single")
