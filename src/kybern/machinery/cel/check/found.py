"""What is found out about the nodes of an expression, kept beside its tree."""

from dataclasses import dataclass, field

from kybern.machinery.cel.check.scope import Named
from kybern.machinery.cel.functions import Overload
from kybern.machinery.cel.syntax.tree import Node
from kybern.machinery.cel.types import Type


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a call may be at run time. ``target`` is none where it turned out to be part of the function's name."""

    function: str
    overloads: tuple[Overload, ...]
    target: Node | None


@dataclass(frozen=True, slots=True)
class Checked:
    root: Node
    types: dict[Node, Type] = field(default_factory=dict)
    names: dict[Node, Named] = field(default_factory=dict)
    calls: dict[Node, Chosen] = field(default_factory=dict)

    @property
    def result(self) -> Type:
        return self.types[self.root]
