"""The machines that ``vagrant up`` has made of a topology: KYBERN_TOPOLOGY, or lab."""

import os

from kybern.machines.inventory import inventory

masters, workers, etcd = inventory(os.environ.get("KYBERN_TOPOLOGY", "lab"))
