"""What the driver is called."""

DRIVER = "local.kybern.io"
NODE_KEY = "local.kybern.io/node"
"""The label of a node that its volumes are bound to: the topology key, with the node's name as value."""
