"""What holds for every run of pyinfra here. Nothing else belongs in this file."""

from pyinfra import config
from pyinfra.api import Host, Inventory

config.REQUIRE_PYINFRA_VERSION = ">=3.10,<4"

# A cluster with one machine that differs from the others is worse than a run that stops.
config.FAIL_PERCENT = 0


def _ordered(inventory: Inventory) -> list[Host]:
    return [host for host in inventory if host in inventory.state.active_hosts]


# pyinfra keeps the active hosts in a set, so that _serial and _run_once take another order in every run. Ours is the
# inventory's.
Inventory.get_active_hosts = _ordered  # type: ignore[assignment, method-assign]
