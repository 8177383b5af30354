"""Two machines with a pod network of somebody else, on this host."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("bridge")
