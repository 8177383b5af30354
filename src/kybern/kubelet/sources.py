"""What the kubelet has been told so far: by whom, and of its own node."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kybern.api.core_v1 import Node


@dataclass(slots=True)
class Sources:
    """Who has told all of its pods at least once."""

    api: bool = False
    static: bool = False
    """The directory, and the URL, of static pods, as far as there are any."""

    @property
    def all(self) -> bool:
        return self.api and self.static


@dataclass(slots=True)
class Self:
    """This node's own object, as the API server has it."""

    node: Node | None = None
    changed: list[Callable[[], None]] = field(default_factory=list)
