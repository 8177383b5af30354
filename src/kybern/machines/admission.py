"""The topology's ``admission``: plugins of the API server that are off by default, such as [DenyServiceExternalIPs]."""

import yaml

from kybern.machines.fields import Fields, Place

PLUGINS = ("AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit")


def admission_plugins(top: Fields) -> tuple[str, ...]:
    """In the order of ``PLUGINS``; none where the topology has no such list. Raises TopologyError with its line."""
    if top.node("admission") is None:
        return ()
    found = []
    for node in top.items("admission"):
        if not isinstance(node, yaml.ScalarNode) or node.value not in PLUGINS:
            raise Place(top.at.file, node.start_mark.line + 1).error(
                f'"admission" may have {", ".join(PLUGINS)}, and not "{node.value}"'
            )
        found.append(node.value)
    return tuple(name for name in PLUGINS if name in found)
