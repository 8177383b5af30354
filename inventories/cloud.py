"""A master and two workers, on this host, with libvirt as their cloud."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("cloud")
