"""Machines that you have: copy topology/baremetal.example.yaml to topology/baremetal.yaml first."""

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory("baremetal")
