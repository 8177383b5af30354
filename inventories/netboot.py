"""The machine that installs those of a topology over the network: of KYBERN_TOPOLOGY, a name or a file."""

import os

from kybern.machines.inventory import netboot_host

netboot = [netboot_host(os.environ["KYBERN_TOPOLOGY"])]
