"""The virtual machine of the test suite."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("vm")
