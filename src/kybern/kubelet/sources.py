"""What the kubelet has been told so far: by whom, and of its own node."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node


@dataclass(slots=True)
class Sources:
    """Who has told all of its pods at least once."""

    api: bool = False
    files: bool = False


@dataclass(slots=True)
class Self:
    """This node's own object, as the API server has it."""

    node: Node | None = None
    changed: list[Callable[[], None]] = field(default_factory=list)
